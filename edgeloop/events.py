"""The columns of events and labels, as Arrow schemas (docs/formats.md).

For the centre: Arrow would be half of a device's memory, so `edge_runtime.sealing` has the columns of a batch in its own words.
"""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

from edgeloop.schema import FeatureSchema

TIME = pa.timestamp("us", tz="UTC")

EVENT_FIELDS: tuple[pa.Field, ...] = (
    pa.field("seq", pa.int64(), nullable=False),
    pa.field("ts", TIME, nullable=False),
    pa.field("release", pa.string()),
    pa.field("prediction", pa.string()),
    pa.field("confidence", pa.float32()),
    pa.field("latency_us", pa.float32()),
    pa.field("weight", pa.float32(), nullable=False),
)
"""What every event carries. `release` (manifest digest), `prediction` and `confidence` are null before a device's
first release; `weight` is 1 divided by the probability that the event survived shedding."""

AGGREGATE_FIELDS: tuple[pa.Field, ...] = (
    pa.field("hour", TIME, nullable=False),
    pa.field("until", TIME, nullable=False),
    pa.field("release", pa.string()),
    pa.field("measure", pa.string(), nullable=False),
    pa.field("value", pa.string()),
    pa.field("events", pa.int64(), nullable=False),
    pa.field("weight", pa.int64(), nullable=False),
    pa.field("sketch", pa.binary()),
)
"""What a batch of aggregates has instead: for each window, release and measure how many events have a value. The value itself
is a class in `value`, or is in `sketch` (DataSketches, KLL of floats); without either there was none."""

LABELS = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),
        pa.field("ts", TIME, nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("known_at", TIME, nullable=False),
    ]
)
"""A label file: the truth for the event of `device` at `ts`, and since when it is known."""


def batch_schema(features: FeatureSchema) -> pa.Schema:
    """The columns of a batch: `EVENT_FIELDS`, then one nullable float32 a feature."""
    return _batch_schema(features.columns)


@lru_cache(maxsize=16)
def _batch_schema(columns: tuple[str, ...]) -> pa.Schema:
    return pa.schema([*EVENT_FIELDS, *(pa.field(c, pa.float32()) for c in columns)])


def lake_schema(features: FeatureSchema) -> pa.Schema:
    """The columns of the `events` table: who, then a batch's columns, then which batch brought it and when."""
    return pa.schema(
        [
            pa.field("device", pa.string(), nullable=False),
            pa.field("epoch", pa.int32(), nullable=False),
            *batch_schema(features),
            pa.field("batch", pa.string(), nullable=False),
            pa.field("ingested_at", TIME, nullable=False),
            pa.field("month", pa.string(), nullable=False),
        ]
    )
