"""Batches for tests: sealed by the device's own code, then bent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from edge_runtime.aggregates import seal_aggregates
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import settings_of
from edge_runtime.spool import Event, SealedBatch
from edgeloop.events import LABELS
from edgeloop.layout import BatchName
from ingest.checks.words import PREFIX
from ingest.fetching import fetch
from ingest.lanes import WHOLE, Lane
from ingest.plan import PLAN_VERSION, Plan
from ingest.waiting import Waiting
from tests.site import START, Site

MICROSECONDS = 1_000_000


def events(first: int, count: int, **changes: object) -> list[Event]:
    start = int(START.timestamp()) * MICROSECONDS
    found = [
        Event(first + i, start + (first + i) * MICROSECONDS, None, "good", 0.9, 5.0, [1.0, math.nan, 0.0, 3.0])
        for i in range(count)
    ]
    for event in found:
        for name, value in changes.items():
            setattr(event, name, value)
    return found


def seal(site: Site, rows: list[Event], device: str = "d1", epoch: int = 7) -> tuple[str, bytes]:
    """Path and content of a batch as a device makes it."""
    return _sealed(site, seal_batch, rows, device, epoch)


def seal_aggregated(site: Site, rows: list[Event], device: str = "d1", epoch: int = 7) -> tuple[str, bytes]:
    """Path and content of a batch as a device makes it that ships aggregates."""
    return _sealed(site, seal_aggregates, rows, device, epoch)


def _sealed(
    site: Site, make: Callable[..., SealedBatch], rows: list[Event], device: str, epoch: int
) -> tuple[str, bytes]:
    config = site.config
    settings = settings_of(config, device, "memory://")
    batch = make(rows, settings, epoch, 0, START + timedelta(hours=1))
    return f"{config.layout.inbox}/{device}/{batch.name}", batch.content


def planned(site: Site, now: datetime, number: int = 1, lane: Lane = WHOLE, others: Sequence[Plan] = ()) -> Plan:
    """The plan of an ingest into an empty lake, which is not written."""
    from ingest.judging import judge, look  # with DuckDB, which a device's tests of what it seals go without

    waiting = Waiting(site.store, site.config.layout, lane)
    looked = look(site.config, fetch(site.store, site.config, waiting), now)
    return judge(looked, {}, others, Plan(PLAN_VERSION, number, site.config.name, now, lane=lane.number))


def told(event: float, label: str, hours: float, device: str = "d1") -> dict[str, Any]:
    """A row of a label file: of the event `event` seconds after the start, known `hours` after it."""
    return {
        "device": device,
        "ts": START + timedelta(seconds=event),
        "label": label,
        "known_at": START + timedelta(hours=hours),
    }


def put_labels(site: Site, source: str, *rows: dict[str, Any]) -> None:
    """Put down a label file with these rows."""
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=LABELS), content)
    site.store.create(site.config.layout.label_file(source, uuid4().hex), content.getvalue().to_pybytes())


def rewrite(
    site: Site, content: bytes, change: object = None, words: dict[str, str] | None = None, first: int = 1
) -> tuple[str, bytes]:
    """The batch with its table or its words changed, said as its version does, and a name that fits the new bytes."""
    file = pq.ParquetFile(pa.BufferReader(content))
    table = file.read()
    kept = {k.decode().removeprefix(PREFIX): v.decode() for k, v in file.metadata.metadata.items()}
    kept |= {k.removeprefix(PREFIX): v for k, v in (words or {}).items()}
    said = {k if k != "schema" and kept["schema"] != "1" else f"{PREFIX}{k}": v for k, v in kept.items() if v}
    table = (change(table) if callable(change) else table).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(said)
    return named(site, sink.getvalue().to_pybytes(), first)


def named(site: Site, content: bytes, first: int = 1, device: str = "d1") -> tuple[str, bytes]:
    return f"{site.config.layout.inbox}/{device}/{BatchName(7, first, sha256(content).hexdigest())}", content


def column(name: str, values: object, kind: pa.DataType) -> object:
    return lambda table: table.set_column(table.schema.get_field_index(name), name, pa.array(values, kind))


def lying(content: bytes, true: int, count: int = -1) -> bytes:
    """The file with a number of its footer told as 100, wherever it is or in its first places."""
    place, footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little"), varint(true)
    return content[:place] + content[place:].replace(footer, varint(100, len(footer)), count)


def varint(number: int, length: int = 0) -> bytes:
    """A number as Thrift's compact protocol has it, in so many bytes at least."""
    coded, found = 2 * number, bytearray()
    while coded or len(found) < max(length, 1):
        found.append(coded & 127 | 128)
        coded >>= 7
    found[-1] &= 127
    return bytes(found)
