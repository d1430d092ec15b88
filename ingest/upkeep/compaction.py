"""Compaction: many small files of a table become few, sorted so that a reader can leave most of them out.

Rules:
1. Files of one partition are joined once there are `MANY` small ones; of a month that is over, any two. Large ones are left as they are, so
   what a night costs goes by what came since, not by the table.
2. The rows are sorted by day, then by device, then by time: for a span of time and for a device alike, the statistics of files and of row
   groups rule most of them out (`benchmarks/upkeep.py`).
3. The joined files are written aside, as a table of their own in the folder `compacted/` of the table, counted, and put in the place of
   the others by one commit (ingest/upkeep/rearrange.py). A kill before that leaves files that no version has, and a vacuum takes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake

from edgeloop.errors import StoreError
from edgeloop.lake import Lake, open_duckdb, own_errors
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.upkeep.rearrange import TableFile, rearrange, table_files

LARGE = 32 * 2**20
"""Bytes from which on a file is left alone."""

TARGET = 2 * LARGE
"""Bytes at which a new file is begun, and that are sorted at a time: in about a gigabyte of memory."""

MANY = 8
"""Small files of a month that goes on, from which on they are joined."""

ASIDE = "compacted"
"""The folder of a table that its joined files are in."""

ROW_GROUP = 100_000
"""Rows that are ruled out, or read, together."""

ORDERS = {
    "events": "date_trunc('day', ts), device, ts",
    "sketches": "date_trunc('day', hour), device, hour",
    "labels": "date_trunc('day', ts), device, ts",
    "batches": "date_trunc('day', ingested_at), device, epoch, first_seq",
    "device_hourly": "date_trunc('day', hour), device, hour",
    "release_hourly": "hour, release",
    "feature_hourly": "feature, hour",
    "decisions": "decided",
}
"""How the rows of each table are sorted. Tables that are not named here are not compacted."""


@dataclass(frozen=True)
class Compacted:
    """How many files of a table became how many."""

    before: int = 0
    after: int = 0

    def __add__(self, other: Compacted) -> Compacted:
        return Compacted(self.before + other.before, self.after + other.after)


def choose(files: Iterable[TableFile], month: str) -> list[list[TableFile]]:
    """What is to be joined of a table's files: those of each list. `month` is the present one, `YYYY-MM`."""
    partitions: dict[str, list[TableFile]] = defaultdict(list)
    for file in files:
        if file.bytes < LARGE:
            partitions[file.partition.get("month", month)].append(file)
    ripe = [small for of, small in sorted(partitions.items()) if len(small) >= (MANY if of >= month else 2)]
    return [part for small in ripe for part in _cut(small) if len(part) > 1]


def _cut(files: Iterable[TableFile]) -> list[list[TableFile]]:
    """The files in runs of up to `TARGET` bytes."""
    runs: list[list[TableFile]] = []
    room = 0
    for file in files:
        if file.bytes > room:
            runs.append([])
            room = TARGET
        runs[-1].append(file)
        room -= file.bytes
    return runs


def due(table: DeltaTable, now: datetime) -> list[list[TableFile]]:
    """What `compact` joins of a table."""
    return choose(table_files(table), f"{now:%Y-%m}")


def compact(store: Store, layout: Layout, name: str, now: datetime) -> Compacted:
    """Join small files of a table. Rows that come meanwhile are no hindrance.

    Raises:
        Overtaken: a delete or another compaction took some of the files; those that had not been joined by then are as they were.
    """
    table, done = Lake(store, layout).table(name), Compacted()
    assert table is not None, f"{name} has not been written yet"
    for files in due(table, now):
        new = _write_aside(store, layout, name, table, files)
        rearrange(store, layout, name, table.version(), files, new, now)
        done += Compacted(len(files), len(new))
    if done.before:
        with own_errors(name):
            table.update_incremental()
            table.create_checkpoint()
    return done


def _write_aside(
    store: Store, layout: Layout, name: str, table: DeltaTable, files: list[TableFile]
) -> list[dict[str, Any]]:
    """Write the rows of `files`, sorted; the `add` actions of the new files."""
    lake, folder = Lake(store, layout), f"{ASIDE}/{uuid4()}"
    uri, options = lake.location(f"{name}/{folder}")
    schema = pa.schema(table.schema().to_arrow())
    with ExitStack() as failed, own_errors(name), open_duckdb() as connection:
        failed.callback(_remove, store, f"{layout.lake(name)}/{folder}")
        lake.add_part(connection, name, table, [file.path for file in files], view="part")
        connection.register("shape", schema.empty_table())  # a file of an earlier version has fewer columns
        columns = ", ".join(f'"{column}"' for column in schema.names)
        query = f"SELECT {columns} FROM (FROM shape UNION ALL BY NAME FROM part) ORDER BY {ORDERS[name]}"
        batches = connection.sql(query).to_arrow_reader(ROW_GROUP)
        write_deltalake(
            uri,
            pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in batches)),
            partition_by=sorted(files[0].partition),
            storage_options=options or None,
            target_file_size=TARGET,
            writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP),
        )
        new = _adopt(store, layout, name, folder, sum(file.rows for file in files))
        failed.pop_all()
    return new


def _remove(store: Store, folder: str) -> None:
    store.delete_all([entry.path for entry in store.list(folder)])


def _adopt(store: Store, layout: Layout, table: str, folder: str, rows: int) -> list[dict[str, Any]]:
    """The files of the table in `folder` of `table` as files of `table`; the one in `folder` is a table no more."""
    log = layout.commit(f"{table}/{folder}", 0)
    actions = [msgspec.json.decode(line) for line in store.read(log).splitlines()]
    store.delete(log)
    new = [{**a["add"], "path": f"{folder}/{a['add']['path']}"} for a in actions if "add" in a]
    if (found := sum(msgspec.json.decode(file["stats"])["numRecords"] for file in new)) != rows:
        raise StoreError(
            f"table {table} has {rows} rows in files that were compacted, and {found} came out.",
            remedy="Nothing was changed. Look whether all files of the table can be read.",
        )
    return new
