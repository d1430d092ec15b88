"""A pytest plugin that has python-tuf's own tests of its client try ours: `edge_runtime.trust` over a store, as a device uses it.

`make conformance` fetches those tests, which come with python-tuf's source distribution, and runs them with this. What they bend is a
repository in memory; it is asked here as a device's store is, by ranges, and fails as a store does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote

import pytest
import tuf.ngclient
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, UpdaterConfig

from edge_runtime import trust
from edge_runtime.targets import verify
from edgeloop.errors import EdgeloopError, NotFound, StoreError, TrustError
from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS

NOT_OURS = {
    "test_cached_root_missing_without_bootstrap": "a device is born with a root, and always begins with it",
    "test_intermediate_root_cache": "asks which of its own files python-tuf opens",
    "test_load_metadata_from_cache": "asks which of its own files python-tuf opens",
    "test_not_loading_targets_twice": "asks which of its own files python-tuf opens",
    "test_download_targets": "also asks for targets that are not named by their digest; ours always are",
}
"""Tests that are not asked, and why."""


class SimulatedStore:
    """Their repository, as far as a device reads it; it tells no versions, as a stick does not."""

    def __init__(self, simulator: FetcherInterface) -> None:
        self._simulator = simulator

    def create(self, path: str, content: bytes) -> None:
        raise NotImplementedError

    replace = create

    def read_range(self, path: str, start: int, length: int) -> bytes:
        kind, folder = (
            ("metadata", RELEASE_METADATA) if path.startswith(RELEASE_METADATA) else ("targets", RELEASE_TARGETS)
        )
        url = f"https://example.com/{kind}/{path.removeprefix(folder).lstrip('/')}"
        try:
            return b"".join(self._simulator.fetch(url))[start : start + length]
        except DownloadHTTPError as error:
            raise NotFound(path) from error
        except DownloadError as error:
            raise StoreError(path) from error

    def read_unless(self, path: str, _version: str, length: int) -> tuple[bytes, str]:
        return self.read_range(path, 0, length), ""


class OurClient:
    """Our client, called as theirs is; what it raises is what made it refuse."""

    def __init__(
        self,
        metadata_dir: str,
        _metadata_url: str,
        target_dir: str = "",
        _target_url: str = "",
        fetcher: FetcherInterface | None = None,
        config: UpdaterConfig | None = None,
        bootstrap: bytes = b"",
    ) -> None:
        assert fetcher is not None
        self._store, self._root, self._targets = SimulatedStore(fetcher), bootstrap, Path(target_dir)
        self.config = config or UpdaterConfig()
        self._home = Path(f"{metadata_dir}.home")
        for folder in (Path(metadata_dir), self._home, self._targets):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self._home / "trust").exists():
            (self._home / "trust").symlink_to(metadata_dir)
        self._trusted: trust.Trusted | None = None

    def refresh(self) -> None:
        # Some tests set other limits than the defaults, which are a device's.
        with _their_errors(), patch.object(trust, "UpdaterConfig", lambda **_: self.config):
            self._trusted = trust.refresh(self._home, self._store, self._root, datetime.now(UTC))

    def get_targetinfo(self, path: str) -> TargetFile | None:
        if self._trusted is None:
            self.refresh()
        assert self._trusted is not None
        with _their_errors():
            return self._trusted.find(path)

    def download_target(self, target: TargetFile, path: str | None = None) -> str:
        assert self._trusted is not None
        place = Path(path or self._targets / quote(target.path, ""))
        with _their_errors():
            self._trusted.download(target, place)
        return str(place)

    def find_cached_target(self, target: TargetFile, path: str | None = None) -> str | None:
        place = Path(path or self._targets / quote(target.path, ""))
        try:
            verify(target, place.read_bytes())
        except (OSError, TrustError):
            return None
        return str(place)


@contextmanager
def _their_errors() -> Iterator[None]:
    try:
        yield
    except EdgeloopError as error:
        raise error.__cause__ or RepositoryError(str(error)) from error


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if reason := NOT_OURS.get(item.name):
            item.add_marker(pytest.mark.skip(reason=reason))


tuf.ngclient.Updater = OurClient  # before the tests import it, and after `edge_runtime.trust` has
