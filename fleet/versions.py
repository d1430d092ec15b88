"""What a bucket keeps of a store's objects that were overwritten or deleted: for who forgets somebody, it has to go too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from edgeloop.errors import NotFound
from fleet.bucket import Bucket, Unsupported, Version, open_bucket


class OldVersions:
    """Those of the store that is at `prefix` of `bucket`. Every method may raise `StoreError`."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._root = bucket, f"{prefix}/" if prefix else ""

    def read_old(self, path: str) -> Iterator[tuple[str, bytes]]:
        """Each under the folder or of the object `path`: its path in the store, and its bytes; none of a mark of a deletion."""
        for version in self._found(path):
            if version.mark or not version.current:
                with suppress(NotFound):
                    yield version.name.removeprefix(self._root), self._bucket.read_version(version)

    def remove_old(self, path: str, *, current: bool = False) -> int:
        """Remove each, with `current` also what is there now; how many. May be repeated.

        What is current goes last: an older version would take the place of a mark.
        """
        found = [version for version in self._found(path) if current or version.mark or not version.current]
        for last in (False, True):
            self._bucket.remove_versions(version for version in found if version.current == last)
        return len(found)

    def _found(self, path: str) -> Iterator[Version]:
        name = f"{self._root}{path}"
        return (v for v in self._bucket.versions(name) if v.name == name or v.name.startswith(f"{name}/"))


def open_versions(store: str) -> OldVersions | None:
    """Of the store at this URL; None if it keeps none, as a directory does.

    Raises:
        StoreError: it cannot be asked.
    """
    if not store.startswith("s3:"):
        return None
    bucket, prefix = open_bucket(store)
    with suppress(Unsupported):
        if bucket.versioning() is not None:
            return OldVersions(bucket, prefix)
    return None
