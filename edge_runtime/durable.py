"""A file written so that a power cut leaves it whole, or as it was before."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def durable_write(path: Path, content: bytes) -> None:
    """Write a file so that after a power cut it is whole, or as it was before."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        durable_replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):  # of a full disk: give the room back
            part.unlink(missing_ok=True)
        raise


def durable_replace(part: Path, destination: Path) -> None:
    """Move a finished file to its name so that after a power cut it is whole or not there."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(destination)
    folder = os.open(destination.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
