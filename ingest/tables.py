"""The columns of the lake's tables that ingest writes beside `events` (docs/formats.md)."""

from __future__ import annotations

import pyarrow as pa

from edgeloop.events import AGGREGATE_FIELDS, LABELS, TIME

BATCHES = pa.schema(
    [
        ("path", pa.string()),
        ("device", pa.string()),
        ("epoch", pa.int32()),
        ("first_seq", pa.int64()),
        ("last_seq", pa.int64()),
        ("rows", pa.int64()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("shed", pa.int64()),
        ("sealed_at", TIME),
        ("plan", pa.int64()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("ingested_at", TIME),
        ("stored_at", TIME),
    ]
)
"""Every batch that came; of a rejected one only path, device, verdict, reason, plan and time are known.

`sealed_at` is by the device's clock, `stored_at` by the store's: over many batches the least difference is what the clock is off."""

SKETCHES = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        *AGGREGATE_FIELDS,
        pa.field("batch", pa.string(), nullable=False),
        pa.field("ingested_at", TIME, nullable=False),
        pa.field("month", pa.string(), nullable=False),
    ]
)
"""Every row of a batch of aggregates, by `month` of its `hour`: what `events` is to a batch of events."""

LABEL_ROWS = pa.schema([*LABELS, pa.field("source", pa.string()), pa.field("ingested_at", TIME)])
"""Every label that came, corrections and all; which one counts is a question of time and is asked at each use."""
