"""Verified reading from the release repository: python-tuf's client over our store, on the device's own clock.

A read through `Trusted` gives bytes that a chain of signatures from the device's root vouches for, or raises
`TrustError`. Rules of the client: The Update Framework specification 1.0, section 5.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater, UpdaterConfig

from edge_runtime.durable import durable_write
from edge_runtime.fetcher import StoreFetcher
from edge_runtime.targets import download, verify
from edge_runtime.wrong import read_wrong, write_wrong
from edgeloop.errors import MetadataRefused, StoreError, TrustError
from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS, is_digest
from edgeloop.manifest import DOCUMENT_LIMIT
from edgeloop.store import DeviceStore


class Trusted:
    """The repository as verified at one moment; made by `refresh`."""

    def __init__(self, updater: Updater, store: DeviceStore, fetcher: StoreFetcher, folder: Path) -> None:
        self._updater, self._store, self._fetcher = updater, store, fetcher
        self._wrong = folder / "wrong.json"

    @property
    def downloaded(self) -> int:
        """Bytes read from the store so far."""
        return self._fetcher.fetched

    def find(self, path: str) -> TargetFile | None:
        """The signed length and digest of a target; None if no role vouches for it. Raises as `refresh`, of a delegated role."""
        with _own_errors():
            target = self._updater.get_targetinfo(path)
        if target is not None and not is_digest(target.hashes.get("sha256", "")):  # it is to be part of a file's name
            raise TrustError(f"{path} is signed without a SHA-256 digest.", remedy="Publish it with edgeloop.")
        return target

    def read(self, target: TargetFile, kept: Path) -> bytes:
        """A document's verified bytes.

        Args:
            kept: where they are kept on this device, verified each time, so that they are fetched only when they changed.
        """
        if target.length > DOCUMENT_LIMIT:
            raise TrustError(
                f"{target.path} is signed with {target.length} bytes, {DOCUMENT_LIMIT} are the most it may have."
            )
        with contextlib.suppress(OSError, TrustError):
            content = kept.read_bytes()
            verify(target, content)
            return content
        content = self._read_range(target, 0, target.length)
        verify(target, content)
        durable_write(kept, content)
        return content

    def download(self, target: TargetFile, destination: Path) -> None:
        """Bring a target of any size to a file; it appears there verified or not at all.

        Raises:
            TrustError: also without a try, if the store still has what was wrong before, and it is too early for another.
            NoRoom, StoreError: as `targets.download`.
        """
        found = self._store.read_unless(_blob(target), "", 1)
        wrong = read_wrong(self._wrong).seen(target.hashes["sha256"], found[1] if found else "")
        try:
            if not wrong.due:
                raise TrustError(
                    f"{target.path} in the store still is what was not signed.",
                    remedy="It is fetched again once it has changed, and now and then before.",
                )
            download(lambda start, length: self._read_range(target, start, length), target, destination)
        except TrustError:
            write_wrong(self._wrong, wrong)
            raise

    def _read_range(self, target: TargetFile, start: int, length: int) -> bytes:
        content = self._store.read_range(_blob(target), start, length)
        self._fetcher.fetched += len(content)
        return content


def _blob(target: TargetFile) -> str:
    folder, _, name = target.path.rpartition("/")
    return f"{RELEASE_TARGETS}/{folder}/{target.hashes['sha256']}.{name}"


def refresh(home: Path, store: DeviceStore, root: bytes, now: datetime) -> Trusted:
    """Verify the repository's newest metadata.

    Args:
        now: the time that expiries are held against.

    Raises:
        MetadataRefused: it is expired, older than what was seen before, or not signed as it must be.
        StoreError: the store could not be read.
    """
    folder = home / "trust"
    fetcher = StoreFetcher(store, folder)
    with _own_errors():
        folder.mkdir(exist_ok=True)
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
        fetcher.keep()
    return Trusted(updater, store, fetcher, folder)


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    """Turn python-tuf's errors into ours."""
    try:
        yield
    except (RepositoryError, DownloadLengthMismatchError) as error:
        raise MetadataRefused(
            f"the release metadata was refused: {error}.", remedy="The running model goes on."
        ) from error
    except DownloadError as error:
        raise StoreError(f"the release metadata could not be read: {error}.", remedy="It is tried again.") from error
    except OSError as error:
        raise StoreError(f"the device's trust folder failed: {error}.", remedy="Check the disk.") from error
