"""A signed target's bytes on this device: fetched by ranges, verified, and written so that a power cut leaves them whole or not there.

Rules of a download:
1. Its part is named by the target's digest, so that it is continued by a later poll or process, and never the part of another.
2. A range is 64 KiB at first, and twice the last one while the link holds, up to 1 MiB: a link that breaks costs little of what came.
3. Whatever a part's beginnings, the whole is hashed before it gets the target's name.
4. A link that breaks leaves the part. Bytes that are not those asked for, or not those signed, and a disk that is full remove it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from edge_runtime.durable import durable_replace
from edge_runtime.room import FULL
from edgeloop.errors import NoRoom, TrustError

FIRST_RANGE, LARGEST_RANGE = 64 * 1024, 1024 * 1024


def download(read: Callable[[int, int], bytes], target: TargetFile, destination: Path) -> None:
    """Bring a target to `destination`, by what is left of an earlier try and the ranges that are missing.

    Args:
        read: gives so many bytes of the target from a position.

    Raises:
        TrustError: what came is not what was signed.
        NoRoom: the disk is full.
        StoreError: as `read`.
    """
    part = part_of(target, destination)
    try:
        with part.open("ab") as file:
            _complete(file, read, target)
        with part.open("rb") as file:
            verify(target, file)
        durable_replace(part, destination)
    except TrustError:
        part.unlink()  # going on from wrong bytes would fail for ever
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise
        part.unlink(missing_ok=True)  # the events that are to come need the room more
        raise NoRoom(f"the disk is full: {target.path} was given up.", remedy="It is tried again.") from error


def part_of(target: TargetFile, destination: Path) -> Path:
    """Where a target that is to be `destination` is while it is not complete."""
    return destination.with_name(f"{target.hashes['sha256']}.part")


def _complete(file: IO[bytes], read: Callable[[int, int], bytes], target: TargetFile) -> None:
    size = FIRST_RANGE
    while (at := file.tell()) < target.length:
        asked = min(size, target.length - at)
        found = read(at, asked)
        if len(found) != asked:
            raise TrustError(
                f"the store has {len(found)} bytes of {target.path} where {asked} were signed, from byte {at} on.",
                remedy="Publish it again.",
            )
        file.write(found)
        file.flush()
        size = min(2 * size, LARGEST_RANGE)


def verify(target: TargetFile, content: bytes | IO[bytes]) -> None:
    """Demand that `content` is what was signed. Raises `TrustError`."""
    try:
        target.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise TrustError(
            f"{target.path} is not what was signed: {error}.", remedy="The running model goes on."
        ) from error
