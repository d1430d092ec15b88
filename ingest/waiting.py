"""What waits to be taken in, whatever it is called.

It is listed as it is taken: of a hundred thousand files that wait, only those of one plan are in memory. A device chooses the names in its
inbox, and a store takes some, one with a line break say, for which every listing that they are in fails. Then each sender's folder is
listed by itself, and whoever made such a name waits alone until somebody removes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgeloop.errors import UnlistableName
from edgeloop.layout import Layout
from edgeloop.store import Entry, Store
from ingest.lanes import WHOLE, Lane


class Waiting:
    """Iterates over the batches and then the label files that wait for a lane; raises `StoreError` if the store is away. An entry may
    come twice. `hidden` are the folders of senders that cannot be listed, as far as it has come."""

    def __init__(self, store: Store, layout: Layout, lane: Lane = WHOLE) -> None:
        self._store, self._layout, self._lane = store, layout, lane
        self.hidden: list[str] = []

    def __iter__(self) -> Iterator[Entry]:
        for folder in (self._layout.inbox, self._layout.labels):
            yield from (e for e in self._listed(folder) if self._lane.takes(self._layout, e.path))

    def _listed(self, folder: str) -> Iterator[Entry]:
        try:
            yield from self._store.list(folder)
        except UnlistableName:
            for inner in self._store.folders(folder):
                try:
                    yield from self._store.list(inner)
                except UnlistableName:
                    self.hidden.append(inner)
