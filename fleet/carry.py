"""The release repository onto a stick: what the timestamp of this moment leads to, and nothing else.

It is copied in the order in which it is published, the timestamp last, so that a stick pulled out in the middle holds what it held
before, whole. Nothing is judged here, and no key is needed: the device verifies a stick as it does the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from edgeloop.errors import DataError, NotFound
from edgeloop.layout import RELEASE_METADATA
from edgeloop.stick import Stick
from edgeloop.store import Store
from fleet.metadata import PATHS, not_initialised
from fleet.repository import blob_path, latest_root_version

Signed = TypeVar("Signed", Snapshot, Targets, Timestamp)


@dataclass(frozen=True)
class Exported:
    """What an export did: files and bytes that were not on the stick, and until when devices take it."""

    files: int
    bytes: int
    timestamp: int
    expires: datetime


def export_releases(store: Store, stick: Stick, *, dry_run: bool = False) -> Exported:
    """Bring the repository on `stick` to what is published now. Can be repeated after a kill at any point.

    Args:
        dry_run: only look what is new.

    Raises:
        ConfigError: the repository has not been initialised.
        DataError: something in the store is not what the metadata names.
        StoreError: the store or the stick failed; do it again.
    """
    try:
        newest = store.read(f"{RELEASE_METADATA}/timestamp.json")
    except NotFound as error:
        raise not_initialised() from error
    timestamp = _signed(newest, Timestamp, "timestamp.json")
    files = size = 0
    for path, content in _published(store, timestamp, newest):
        new = not stick.holds(path, content) if dry_run else stick.put(path, content)
        files, size = files + new, size + new * len(content)
    return Exported(files, size, timestamp.version, timestamp.expires)


def _published(store: Store, timestamp: Timestamp, newest: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of everything that `timestamp`, with the bytes `newest`, leads to, in the order of publishing."""
    names = [f"{number}.root.json" for number in range(1, latest_root_version(store) + 1)]
    snapshot_name = f"{timestamp.snapshot_meta.version}.snapshot.json"
    snapshot_bytes = store.read(f"{RELEASE_METADATA}/{snapshot_name}")
    snapshot = _signed(snapshot_bytes, Snapshot, snapshot_name)
    names += [f"{meta.version}.{name}" for name, meta in snapshot.meta.items()]
    metadata = {name: store.read(f"{RELEASE_METADATA}/{name}") for name in names}
    for role in PATHS:
        name = f"{snapshot.meta[f'{role}.json'].version}.{role}.json"
        yield from _targets(store, _signed(metadata[name], Targets, name))
    yield from ((f"{RELEASE_METADATA}/{name}", content) for name, content in metadata.items())
    yield f"{RELEASE_METADATA}/{snapshot_name}", snapshot_bytes
    yield f"{RELEASE_METADATA}/timestamp.json", newest


def _targets(store: Store, role: Targets) -> Iterator[tuple[str, bytes]]:
    for target in role.targets.values():
        path = blob_path(target.path, target.hashes["sha256"])
        content = store.read(path)
        if sha256(content).hexdigest() != target.hashes["sha256"]:
            raise DataError(f"{path} in the store is not what was signed.", remedy="Restore it from a backup.")
        yield path, content


def _signed(content: bytes, kind: type[Signed], name: str) -> Signed:
    try:
        found: Metadata[Any] = Metadata.from_bytes(content)
    except RepositoryError as error:
        raise DataError(f"{name} in the store cannot be read: {error}.", remedy="Restore it from a backup.") from error
    if not isinstance(found.signed, kind):
        raise DataError(f"{name} in the store is of another kind.", remedy="Restore it from a backup.")
    return found.signed
