"""What waits to be taken in, whatever it is called.

A device chooses the names in its inbox, and a store takes some, one with a line break say, for which every listing that they are in
fails. Then each sender's folder is listed by itself, and whoever made such a name waits alone until somebody removes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeloop.errors import UnlistableName
from edgeloop.layout import Layout
from edgeloop.store import Entry, Store


@dataclass(frozen=True)
class Waiting:
    """Batches and label files by path, and the folders of senders that cannot be listed (`hidden`)."""

    batches: list[Entry]
    labels: list[Entry]
    hidden: tuple[str, ...]


def list_waiting(store: Store, layout: Layout) -> Waiting:
    """List the inbox and the label files. Raises `StoreError` if the store is away."""
    hidden: list[str] = []
    batches, labels = (_listed(store, folder, hidden) for folder in (layout.inbox, layout.labels))
    return Waiting(batches, labels, tuple(hidden))


def _listed(store: Store, folder: str, hidden: list[str]) -> list[Entry]:
    found: list[Entry] = []
    try:
        found = list(store.list(folder))
    except UnlistableName:
        for inner in store.folders(folder):
            try:
                found += store.list(inner)
            except UnlistableName:
                hidden.append(inner)
    return sorted(found, key=lambda entry: entry.path)
