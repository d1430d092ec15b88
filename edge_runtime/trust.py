"""Verified reading from the release repository: python-tuf's client over our store, on the device's own clock.

A read through `Trusted` gives bytes that a chain of signatures from the device's root vouches for, or raises
`TrustError`. Rules of the client: The Update Framework specification 1.0, section 5.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edgeloop.errors import NotFound, StoreError, TrustError
from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS
from edgeloop.store import DeviceStore

CHUNK = 256 * 1024


class StoreFetcher(FetcherInterface):
    """Fetches metadata for python-tuf from the store, never more than it allows; counts the bytes."""

    def __init__(self, store: DeviceStore) -> None:
        self._store = store
        self.fetched = 0

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """An object of at most `max_length` bytes, in one request. Raises python-tuf's `DownloadError`."""
        try:
            content = self._store.read_range(url.removeprefix("store:/"), 0, max_length + 1)
        except NotFound as error:
            raise DownloadHTTPError(str(error), 404) from error
        except StoreError as error:
            raise DownloadError(str(error)) from error
        self.fetched += len(content)
        if len(content) > max_length:
            raise DownloadLengthMismatchError(f"{url} is longer than the {max_length} bytes allowed")
        return content

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError("without a length there is no bound: see download_bytes")


class Trusted:
    """The repository as verified at one moment; made by `refresh`."""

    def __init__(self, updater: Updater, store: DeviceStore, fetcher: StoreFetcher) -> None:
        self._updater, self._store, self._fetcher = updater, store, fetcher

    @property
    def downloaded(self) -> int:
        """Bytes read from the store so far."""
        return self._fetcher.fetched

    def find(self, path: str) -> TargetFile | None:
        """The signed length and digest of a target; None if no role vouches for it."""
        with _own_errors():
            return self._updater.get_targetinfo(path)

    def read(self, target: TargetFile, *, kept: Path | None = None) -> bytes:
        """A small target's verified bytes.

        Args:
            kept: where they are kept on this device, verified each time, so that they are fetched only when they changed.
        """
        if kept is not None:
            with contextlib.suppress(OSError, TrustError):
                content = kept.read_bytes()
                _verify(target, content)
                return content
        content = self._store.read_range(_blob(target), 0, target.length)
        self._fetcher.fetched += len(content)
        _verify(target, content)
        if kept is not None:
            durable_write(kept, content)
        return content

    def download(self, target: TargetFile, destination: Path) -> None:
        """Bring a target to `destination`, resuming a part that an earlier try left; it appears there verified or not at all."""
        part = destination.with_suffix(destination.suffix + ".part")
        with part.open("ab") as file:
            while file.tell() < target.length:
                chunk = self._store.read_range(_blob(target), file.tell(), min(CHUNK, target.length - file.tell()))
                if not chunk:
                    break
                file.write(chunk)
                self._fetcher.fetched += len(chunk)
        try:
            _verify(target, part.read_bytes())
        except TrustError:
            part.unlink()  # resuming on wrong bytes would fail for ever
            raise
        durable_replace(part, destination)


def refresh(home: Path, store: DeviceStore, root: bytes, now: datetime) -> Trusted:
    """Verify the repository's newest metadata.

    Args:
        now: the time that expiries are held against.

    Raises:
        TrustError: metadata is expired, older than what was seen before, or not signed as it must be.
        StoreError: the store could not be read.
    """
    fetcher = StoreFetcher(store)
    folder = home / "trust"
    folder.mkdir(exist_ok=True)
    with _own_errors():
        updater = Updater(
            str(folder),
            f"store:/{RELEASE_METADATA}/",
            fetcher=fetcher,
            config=UpdaterConfig(app_user_agent="edgeloop"),
            bootstrap=root,
        )
        # python-tuf asks the machine for the time and offers no way to give it one. A device must give it its own: never
        # earlier than a time it has seen signed, or a clock that fell back to 1970 would accept what has long expired.
        updater._trusted_set.reference_time = now
        updater.refresh()
    return Trusted(updater, store, fetcher)


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    """Turn python-tuf's errors into ours."""
    try:
        yield
    except (RepositoryError, DownloadLengthMismatchError) as error:
        raise TrustError(f"the release metadata was refused: {error}.", remedy="The running model goes on.") from error
    except DownloadError as error:
        raise StoreError(f"the release metadata could not be read: {error}.", remedy="It is tried again.") from error
    except OSError as error:
        raise StoreError(f"the device's trust folder failed: {error}.", remedy="Check the disk.") from error


def durable_write(path: Path, content: bytes) -> None:
    """Write a file so that after a power cut it is whole, or as it was before."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    durable_replace(part, path)


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


def _blob(target: TargetFile) -> str:
    folder, _, name = target.path.rpartition("/")
    return f"{RELEASE_TARGETS}/{folder}/{target.hashes['sha256']}.{name}"


def _verify(target: TargetFile, content: bytes) -> None:
    try:
        target.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise TrustError(
            f"{target.path} is not what was signed: {error}.", remedy="The running model goes on."
        ) from error
