"""The log of a table, only as far back as it is needed: else it grows by a file with each commit, for ever.

A version is read from the newest checkpoint that is not after it and the commits from there on (Delta transaction log protocol,
“Delta Log Entries”). What is before that of the oldest version that can be asked for goes, but for what pinned ones are read from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.upkeep.vacuum import WRITING, kept_versions, newest_at


def trim(
    store: Store,
    layout: Layout,
    table: str,
    since: datetime,
    pinned: Collection[int] = (),
    *,
    writing: timedelta = WRITING,
    dry_run: bool = False,
) -> list[str]:
    """Remove the files of the log of `table` that no version is read from but those that a vacuum has taken the files of; return them.

    The arguments are a vacuum's. It is for after one: of a version without a log nobody knows the files.
    """
    lake = Lake(store, layout)
    entries = log_files(store, layout, table)
    checkpoints = {version for path, version in entries.items() if ".checkpoint" in path}
    kept = kept_versions(lake, table, since, pinned)
    needed = spans(checkpoints, kept, newest_at(lake, table, since - writing))
    found = [p for p, version in entries.items() if not any(low <= version <= high for low, high in needed)]
    if not dry_run:
        store.delete_all(found)
    return found


def spans(checkpoints: Collection[int], kept: Iterable[int], first: int) -> list[tuple[int, float]]:
    """From which to which version the log is needed to read the versions `kept`, and every one from `first` on."""

    def beginning(version: int) -> int:
        return max((c for c in checkpoints if c <= version), default=0)

    return [(beginning(first), float("inf")), *((beginning(version), version) for version in kept)]


def log_files(store: Store, layout: Layout, table: str) -> dict[str, int]:
    """The commits and checkpoints of a table, by their paths, each with its version."""
    found = {}
    for entry in store.list(f"{layout.lake(table)}/_delta_log"):
        version = entry.path.rpartition("/")[2][:20]
        if version.isdigit() and len(version) == 20:
            found[entry.path] = int(version)
    return found
