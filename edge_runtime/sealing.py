"""From events to the bytes of a batch. The only module of a device that needs Arrow, so it is imported late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq

from edge_runtime.groups import Event
from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import SealedBatch
from edgeloop.events import batch_schema
from edgeloop.layout import BatchName
from edgeloop.schema import EVENT_SCHEMA, FeatureSchema

_TEXT = ("release", "prediction")


def seal_batch(events: Sequence[Event], settings: DeviceSettings, epoch: int, shed: int, now: datetime) -> SealedBatch:
    """Make the Parquet file of `events` (at least one, by sequence number), and name it by its digest.

    Args:
        shed: how many events of this epoch were shed so far; travels with the batch so that the books close without a status.
    """
    metadata = {
        "edgeloop.schema": str(EVENT_SCHEMA),
        "edgeloop.loop": settings.loop,
        "edgeloop.device": settings.device,
        "edgeloop.epoch": str(epoch),
        "edgeloop.features": settings.schema.digest,
        "edgeloop.shed": str(shed),
        "edgeloop.sealed_at": now.isoformat(),
    }
    table = _columns(events, settings.schema).cast(batch_schema(settings.schema))
    content = _parquet(table, metadata)
    name = BatchName(epoch, events[0].seq, sha256(content).hexdigest())
    return SealedBatch(str(name), len(events), content)


def _columns(events: Sequence[Event], features: FeatureSchema) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "seq": pa.array([e.seq for e in events], pa.int64()),
        "ts": pa.array([e.ts for e in events], pa.timestamp("us", tz="UTC")),
        "release": pa.array([e.release for e in events], pa.string()),
        "prediction": pa.array([e.prediction for e in events], pa.string()),
        "confidence": pa.array([e.confidence for e in events], pa.float32()),
        "latency_us": pa.array([e.latency_us for e in events], pa.float32()),
        "weight": pa.array([e.weight for e in events], pa.float32()),
    }
    for i, name in enumerate(features.columns):
        values = [e.inputs[i] for e in events]
        columns[name] = pa.array([None if v is None or v != v else v for v in values], pa.float32())
    return pa.table(columns)


def _parquet(table: pa.Table, metadata: dict[str, str]) -> bytes:
    # Byte-stream split makes small files of floats a quarter smaller; Arrow refuses it beside dictionaries unless both are
    # given column by column.
    numbers = {f.name: "BYTE_STREAM_SPLIT" for f in table.schema if pa.types.is_floating(f.type)}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=list(_TEXT),
        column_encoding={**numbers, "seq": "DELTA_BINARY_PACKED", "ts": "DELTA_BINARY_PACKED"},
        write_statistics=["seq", "ts"],
        store_schema=False,  # a kilobyte of Arrow's own in each file
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    content: bytes = sink.getvalue().to_pybytes()
    return content
