"""Vacuum: the files of a table that nobody can need any more.

Rules:
1. A file stays that is part of a version that is kept: the newest, the one that was the newest at `since`, those that releases pin.
2. A file stays that was written after `since`, or less than `WRITING` before: it is of a later version, or its commit is under way.
3. All others go: those of older versions, and what a write left that failed.

deltalake has a vacuum too. It goes by the machine's clock, learns what was removed only as far back as its latest checkpoint remembers, and
makes two versions a time; this one goes by versions alone, and makes none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from edgeloop.errors import NotFound
from edgeloop.lake import Lake, file_name
from edgeloop.layout import Layout
from edgeloop.store import Entry, Store

WRITING = timedelta(days=1)
"""From the writing of a file to its commit, at the most, with what two clocks may differ."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)


def vacuum(
    store: Store,
    layout: Layout,
    table: str,
    since: datetime,
    pinned: Collection[int] = (),
    *,
    writing: timedelta = WRITING,
    dry_run: bool = False,
) -> list[Entry]:
    """Remove the files of `table` that only versions from before `since` had, but for those that are `pinned`; return them.

    It can be repeated after a kill at any file. A version of before rows were deleted for good is pinned in vain.
    """
    entries = data_files(store, layout, table)  # before the log is read: what is committed meanwhile is not among them
    lake = Lake(store, layout)
    found = unneeded(lake, table, entries, kept_versions(lake, table, since, pinned), since - writing)
    if not dry_run:
        store.delete_all([file.path for file in found])
    return found


def unneeded(lake: Lake, table: str, entries: Iterable[Entry], kept: Iterable[int], until: datetime) -> list[Entry]:
    """Those of a table's files that no version of `kept` has, of what was written by `until`."""
    needed = {name for version in kept for name in lake.files(table, version)}
    return [entry for entry in entries if file_name(entry.path) not in needed and entry.modified <= until]


def kept_versions(lake: Lake, table: str, since: datetime, pinned: Collection[int] = ()) -> set[int]:
    """The versions whose files stay."""
    wanted = {*pinned, newest_at(lake, table, since), lake.version(table)}
    return {version for version in wanted if _made(lake, table, version) > LONG_AGO}


def data_files(store: Store, layout: Layout, table: str) -> list[Entry]:
    """The files in the folder of `table` that are not its log."""
    folder = layout.lake(table)
    return [entry for entry in store.list(folder) if not entry.path.startswith(f"{folder}/_")]


def newest_at(lake: Lake, table: str, time: datetime) -> int:
    """The version that was the newest at `time`; the first, if there was none yet."""
    low, high = 0, lake.version(table)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _made(lake, table, middle) <= time else (low, middle - 1)
    return low


def _made(lake: Lake, table: str, version: int) -> datetime:
    """When a version was made; long ago, if the log does not have it, or not any more."""
    try:
        (commit,) = lake.commits(table, version, version)
    except NotFound:
        return LONG_AGO
    return commit.time
