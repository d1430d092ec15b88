"""Who sends what is hostile: a device, or source of labels, with good files of its own and the tools to bend them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hostile.footers import Tree, bent
from edge_runtime.aggregates import seal_aggregates
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import DeviceSettings, settings_of
from edge_runtime.spool import Event
from edgeloop.config import LoopConfig
from edgeloop.events import LABELS
from edgeloop.layout import BatchName
from edgeloop.store import Store
from ingest.checks.words import PREFIX
from tests.site import START

NOW = START + timedelta(days=1)
MICROS = int(START.timestamp()) * 1_000_000
EPOCH = 7

FIRST, ROWS = 101, 5
"""What is hostile comes behind the good batches, which have the numbers 1 to 100."""

Files = Mapping[str, bytes]
"""What is sent: content by path."""

Hook = Callable[[str, str], None]
"""What happens to the store meanwhile: called with what the ingest is about to do, and to which path."""


@dataclass(frozen=True)
class Sender:
    """A device, or source of labels, called `name`."""

    config: LoopConfig
    name: str

    @property
    def settings(self) -> DeviceSettings:
        return settings_of(self.config, self.name, "memory://")

    def sealed(self, first: int = FIRST, count: int = ROWS, **changes: object) -> bytes:
        """A batch as a device seals it."""
        return seal_batch(events(first, count, **changes), self.settings, EPOCH, 0, START + timedelta(hours=1)).content

    @cached_property
    def good(self) -> bytes:
        return self.sealed()

    @cached_property
    def aggregated(self) -> bytes:
        """A batch of aggregates as a device seals it."""
        return seal_aggregates(events(FIRST, 30), self.settings, EPOCH, 0, START + timedelta(hours=1)).content

    def at(self, *parts: str, content: bytes) -> Files:
        """A file somewhere in the inbox."""
        return {"/".join((self.config.layout.inbox, *parts)): content}

    def named(self, content: bytes, first: int = FIRST, epoch: int = EPOCH) -> Files:
        """A file in this device's inbox, with the name that fits it."""
        return self.at(self.name, str(BatchName(epoch, first, sha256(content).hexdigest())), content=content)

    def footed(self, bend: Callable[[Tree], None]) -> Files:
        """The good batch with its footer bent in place."""
        return self.named(bent(self.good, bend))

    def wording(self, **words: str | None) -> Files:
        """The good batch that says something else of itself; None is to say nothing."""
        return self.named(rewritten(self.good, words=words))

    def rows(self, change: Callable[[pa.Table], pa.Table], first: int = FIRST, **options: Any) -> Files:
        """The good batch with its table changed."""
        return self.named(rewritten(self.good, change, **options), first)

    def column(self, name: str, values: Sequence[object], kind: pa.DataType, first: int = FIRST) -> Files:
        """The good batch with a column changed; one value is for every row."""
        return self.rows(changed(name, values, kind), first)

    def windows(self, change: Callable[[pa.Table], pa.Table]) -> Files:
        """The good batch of aggregates with its table changed."""
        return self.named(rewritten(self.aggregated, change))

    def cell(self, measure: str, name: str, value: object) -> Files:
        """The good batch of aggregates with one cell changed, in the first row of `measure`."""
        return self.windows(lambda table: _with_cell(table, measure, name, value))

    def summing(self, **words: str | None) -> Files:
        """The good batch of aggregates that says something else of itself."""
        return self.named(rewritten(self.aggregated, words=words))

    def labels(self, table: pa.Table | bytes) -> Files:
        """A label file."""
        content = table if isinstance(table, bytes) else parquet(table)
        return {self.config.layout.label_file(self.name, "today"): content}

    def label(self, **values: object) -> Files:
        """A label file of one row, with some values changed."""
        row = {"device": self.name, "ts": START, "label": "good", "known_at": START, **values}
        return self.labels(pa.table({name: pa.array([row[name]], LABELS.field(name).type) for name in LABELS.names}))


@dataclass(frozen=True)
class Kind:
    """One way to do harm: what it is, in a line; words of the reason that must be given; what is sent; what happens meanwhile."""

    name: str
    what: str
    reason: str
    make: Callable[[Sender], Files]
    meddle: Callable[[Store, Files], Hook] | None = None


def events(first: int, count: int, **changes: object) -> list[Event]:
    found = [
        Event(n, MICROS + n * 1_000_000, "a" * 64, "good", 0.9, 5.0, [n / 10, -1.5, 0.0, 3.0])
        for n in range(first, first + count)
    ]
    return [msgspec.structs.replace(event, **changes) for event in found]


def rewritten(
    content: bytes,
    change: Callable[[pa.Table], pa.Table] = lambda table: table,
    words: Mapping[str, str | None] | None = None,
    **options: Any,
) -> bytes:
    """The file as pyarrow writes it with `options`, with its table or its words changed."""
    file = pq.ParquetFile(pa.BufferReader(content))
    kept = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    said = {key.removeprefix(PREFIX): value for key, value in kept.items()} | dict(words or {})
    prefixed = said if said.get("schema") == "1" else ("schema",)
    named = {f"{PREFIX}{key}" if key in prefixed else key: value for key, value in said.items() if value is not None}
    return parquet(change(file.read()).replace_schema_metadata(None), named, **options)


def parquet(table: pa.Table, words: Mapping[str, str] | None = None, **options: Any) -> bytes:
    """A Parquet file of `table` as pyarrow writes it."""
    sink = pa.BufferOutputStream()
    rows = options.pop("row_group_size", None)
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        writer.write_table(table, rows)
        writer.add_key_value_metadata(dict(words or {}))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def floats(table: pa.Table) -> pa.Table:
    """The table with plain floats for the numbers that a device may have written as decimals."""
    fields = [
        f.with_type(pa.float32()) if pa.types.is_decimal(f.type) or f.type == pa.int32() else f for f in table.schema
    ]
    wide = [
        column.cast(pa.float64()) if f.type == pa.float32() else column
        for column, f in zip(table.columns, fields, strict=True)
    ]
    return pa.table(wide, table.column_names).cast(pa.schema(fields))


def changed(name: str, values: Sequence[object], kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        column = pa.array(list(values) * (table.num_rows if len(values) == 1 else 1), kind)
        return table.set_column(table.schema.get_field_index(name), name, column)

    return change


def _with_cell(table: pa.Table, measure: str, name: str, value: object) -> pa.Table:
    rows = table.to_pylist()
    next(row for row in rows if row["measure"] == measure)[name] = value
    return pa.Table.from_pylist(rows, table.schema)
