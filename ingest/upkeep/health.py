"""How the tables of a lake are: what they are made of, what waits for the upkeep, and how far back they can be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from deltalake import DeltaTable

from edgeloop.errors import NotFound
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.upkeep.compaction import ASIDE, LARGE, ORDERS, due
from ingest.upkeep.nightly import HISTORY
from ingest.upkeep.rearrange import table_files
from ingest.upkeep.vacuum import WRITING, data_files, kept_versions, unneeded


@dataclass(frozen=True)
class TableHealth:
    """A table as it is now.

    `rows`, `files`, `bytes` are of its newest version; of the files, `small` are under 32 MiB, and `due` would be joined by an upkeep.
    `past` are the bytes of older versions, of which `unused` would be freed by an upkeep. `oldest` is the oldest version that is kept,
    `unchecked` how many commits a reader has to take in one by one, `compacted` when files were last joined that are in use.
    """

    table: str
    version: int
    rows: int
    files: int
    bytes: int
    small: int
    due: int
    past: int
    unused: int
    oldest: int
    unchecked: int
    compacted: datetime | None


def lake_health(
    store: Store, layout: Layout, pinned: Mapping[str, Collection[int]], now: datetime
) -> list[TableHealth]:
    """Every table's health; `pinned` are the versions of each that an upkeep keeps."""
    lake = Lake(store, layout)
    tables = {name: table for name in ORDERS if (table := lake.table(name)) is not None}
    return [_health(store, layout, name, table, pinned.get(name, ()), now) for name, table in tables.items()]


def _health(
    store: Store, layout: Layout, name: str, table: DeltaTable, pinned: Collection[int], now: datetime
) -> TableHealth:
    files, entries, since = table_files(table), data_files(store, layout, name), now - HISTORY
    lake = Lake(store, layout)
    kept = kept_versions(lake, name, since, pinned)
    size = sum(file.bytes for file in files)
    joined = [file.modified for file in files if file.path.startswith(ASIDE)]
    return TableHealth(
        table=name,
        version=table.version(),
        rows=sum(file.rows for file in files),
        files=len(files),
        bytes=size,
        small=sum(file.bytes < LARGE for file in files),
        due=sum(map(len, due(table, now))),
        past=sum(entry.size for entry in entries) - size,
        unused=sum(entry.size for entry in unneeded(lake, name, entries, kept, since - WRITING)),
        oldest=min(kept),
        unchecked=table.version() - _checkpoint(store, layout, name),
        compacted=datetime.fromtimestamp(max(joined) / 1000, UTC) if joined else None,
    )


class _LastCheckpoint(msgspec.Struct):
    version: int


def _checkpoint(store: Store, layout: Layout, name: str) -> int:
    """The version of the table's latest checkpoint, -1 if it has none (Delta transaction log protocol, “Last Checkpoint File”)."""
    try:
        content = store.read(f"{layout.lake(name)}/_delta_log/_last_checkpoint")
    except NotFound:
        return -1
    return msgspec.json.decode(content, type=_LastCheckpoint).version
