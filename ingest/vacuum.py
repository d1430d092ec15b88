"""Vacuum: the files of a table that nobody can need any more.

Rules:
1. A file stays that is part of a version that is kept: the newest, one that was the newest at `since` or later, a pinned one.
2. A file stays that no commit knows and that was written after `unknown_since`: somebody may be about to commit it.
3. All others go. The store is listed before the log is read, so that what is committed meanwhile falls under the first rule.

deltalake has a vacuum too. It goes by its own clock, knows what was removed only as far back as a checkpoint remembers, and commits
two versions a time; here the log itself is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from edgeloop.commits import Commit
from edgeloop.errors import NotFound
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Entry, Store


@dataclass(frozen=True)
class Keep:
    """What a vacuum leaves of a table: `versions` (those that a release was trained on), every one that was the newest at `since`
    or later, and files that no commit knows and that were written after `unknown_since`."""

    since: datetime
    unknown_since: datetime
    versions: Collection[int] = ()


def vacuum(store: Store, layout: Layout, table: str, keep: Keep, *, dry_run: bool = False) -> list[Entry]:
    """Remove the files of `table` that `keep` does not ask for, and return them. It can be repeated after a kill at any of them."""
    entries = data_files(store, layout, table)
    lake = Lake(store, layout)
    recent = _commits_since(lake, table, min(keep.since, keep.unknown_since))
    versions = {*keep.versions, lake.version(table), _newest_at(recent, keep.since)} - {None}
    needed = {name for version in versions for name in lake.files(table, version)}
    needed |= {_name(f.path) for commit in recent if commit.time > keep.since for f in commit.added}
    known = {_name(f.path) for commit in recent for f in (*commit.added, *commit.removed)}
    found = judge(entries, needed, known, keep.unknown_since)
    for file in () if dry_run else found:
        store.delete(file.path)
    return found


def judge(
    entries: Iterable[Entry], needed: Collection[str], known: Collection[str], unknown_since: datetime
) -> list[Entry]:
    """Those of `entries` that can go; `needed` and `known` (to a commit of late) are names of files."""
    return [
        entry
        for entry in entries
        if _name(entry.path) not in needed and (_name(entry.path) in known or entry.modified <= unknown_since)
    ]


def data_files(store: Store, layout: Layout, table: str) -> list[Entry]:
    """The files in the folder of `table` that are not its log."""
    folder = layout.lake(table)
    log = f"{folder}/_"
    return [entry for entry in store.list(folder) if not entry.path.startswith(log)]


def _commits_since(lake: Lake, table: str, since: datetime) -> list[Commit]:
    """The commits after `since` and the one before them, the newest first."""
    found: list[Commit] = []
    for version in range(lake.version(table), -1, -1):
        try:
            found += lake.commits(table, version, version)
        except NotFound:
            break  # the log does not go back any further
        if found[-1].time <= since:
            break
    return found


def _newest_at(commits: Iterable[Commit], time: datetime) -> int | None:
    """The version that was the newest at `time`, of commits from the newest on; None before the first."""
    return next((commit.version for commit in commits if commit.time <= time), None)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
