"""The upkeep of a lake: what each night does to its tables. Rows that come meanwhile are no hindrance, and no row is changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from deltalake import DeltaTable

from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.upkeep.compaction import ORDERS, Compacted, compact, due
from ingest.upkeep.rearrange import Overtaken
from ingest.upkeep.trim import trim
from ingest.upkeep.vacuum import vacuum

HISTORY = timedelta(days=7)
"""For how long every older version of a table can be read; after that, pinned ones alone."""


@dataclass(frozen=True)
class Tended:
    """What was done to a table: its files that were joined, and how many they became; files that were removed, and their bytes; commits
    and checkpoints that were; why the compaction was put off, if it was."""

    table: str
    joined: int
    into: int
    removed: int
    freed: int
    log: int
    put_off: str = ""


def tend(
    store: Store, layout: Layout, pinned: Mapping[str, Collection[int]], now: datetime, *, dry_run: bool = False
) -> list[Tended]:
    """Compact and vacuum every table, and trim its log. It can be repeated, and killed, at any time.

    Args:
        pinned: the versions of each table that must stay readable.
        dry_run: only say what there is to do.
    """
    lake = Lake(store, layout)
    tables = {name: table for name in ORDERS if (table := lake.table(name)) is not None}
    return [_tend(store, layout, name, table, pinned.get(name, ()), now, dry_run) for name, table in tables.items()]


def _tend(
    store: Store, layout: Layout, name: str, table: DeltaTable, pinned: Collection[int], now: datetime, dry_run: bool
) -> Tended:
    done, put_off = Compacted(), ""
    try:
        done = _to_do(table, now) if dry_run else compact(store, layout, name, now)
    except Overtaken as error:
        put_off = error.message
    gone = vacuum(store, layout, name, now - HISTORY, pinned, dry_run=dry_run)
    log = trim(store, layout, name, now - HISTORY, pinned, dry_run=dry_run)
    return Tended(name, done.before, done.after, len(gone), sum(file.size for file in gone), len(log), put_off)


def _to_do(table: DeltaTable, now: datetime) -> Compacted:
    found = due(table, now)
    return Compacted(sum(map(len, found)), len(found))
