"""How python-tuf gets metadata on a device: from our store, never more than is allowed, and the timestamp only if it is a new one.

The timestamp is the one object that every poll asks for. If the store says that it still is the version kept here, python-tuf gets
the bytes kept here, and verifies them as if they had come anew, their expiry included. A store that lies about that gains nothing
over one that goes on giving an old timestamp.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

from edgeloop.errors import NotFound, StoreError
from edgeloop.store import DeviceStore


class _Kept(msgspec.Struct):
    """Which version of the store's timestamp the bytes of that digest are."""

    version: str
    sha256: str


class StoreFetcher(FetcherInterface):
    """Fetches metadata for python-tuf from the store; counts the bytes.

    Args:
        trust: python-tuf's folder, where it keeps the last timestamp that it verified.
    """

    def __init__(self, store: DeviceStore, trust: Path) -> None:
        self._store, self._timestamp, self._note = store, trust / "timestamp.json", trust / "timestamp.version"
        self._came: _Kept | None = None
        self.fetched = 0

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """An object of at most `max_length` bytes, in one request. Raises python-tuf's `DownloadError`."""
        path = url.removeprefix("store:/")
        read = self._read_timestamp if path.endswith("/timestamp.json") else self._read
        try:
            content = read(path, max_length + 1)
        except NotFound as error:
            raise DownloadHTTPError(str(error), 404) from error
        except StoreError as error:
            raise DownloadError(str(error)) from error
        if len(content) > max_length:
            raise DownloadLengthMismatchError(f"{url} is longer than the {max_length} bytes allowed")
        return content

    def keep(self) -> None:
        """Note the version of the timestamp that came, now that it has been verified."""
        if self._came is not None and self._came.version and self._came.sha256 == self._digest_kept():
            # Not to last through a power cut: a note that is torn, or is about other bytes, is none.
            self._note.write_bytes(msgspec.json.encode(self._came))

    def _read(self, path: str, length: int) -> bytes:
        content = self._store.read_range(path, 0, length)
        self.fetched += len(content)
        return content

    def _read_timestamp(self, path: str, length: int) -> bytes:
        found = self._store.read_unless(path, self._version_kept(), length)
        if found is None:
            return self._timestamp.read_bytes()
        content, version = found
        self.fetched += len(content)
        self._came = _Kept(version, sha256(content).hexdigest())
        return content

    def _version_kept(self) -> str:
        """The version that is kept here whole; empty if there is none."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            kept = msgspec.json.decode(self._note.read_bytes(), type=_Kept)
            if kept.sha256 == self._digest_kept():
                return kept.version
        return ""

    def _digest_kept(self) -> str:
        with contextlib.suppress(OSError):
            return sha256(self._timestamp.read_bytes()).hexdigest()
        return ""

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError("without a length there is no bound: see download_bytes")
