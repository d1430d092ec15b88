"""What the sketches in the lake come to, merged as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from edgeloop.events import TIME
from ingest.derived.sketches import merge, quantiles, samples

ROWS = 10_000
"""Sketches that are in memory at a time."""

_SAMPLES = pa.schema(
    [
        ("feature", pa.string()),
        ("hour", TIME),
        ("release", pa.string()),
        ("measure", pa.string()),
        ("samples", pa.list_(pa.float64())),
        ("weights", pa.list_(pa.int64())),
    ]
)
_DEVICES = pa.schema(
    [
        ("device", pa.string()),
        ("hour", TIME),
        ("release", pa.string()),
        ("mean_confidence", pa.float64()),
        ("confidence_p05", pa.float64()),
        ("confidence_p50", pa.float64()),
        ("latency_us_p50", pa.float64()),
        ("latency_us_p99", pa.float64()),
    ]
)


def by_device(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Confidence and latency of each device, hour and release, for device_hourly.sql."""
    rows, keys = [], ("device", "hour", "release")
    found = _merged(connection, (*keys, "measure"), "NOT starts_with(measure, 'f_')")
    for key, measures in groupby(found, key=lambda item: item[0][:3]):
        sketches = {measured[3]: content for measured, content in measures}
        rows.append({**dict(zip(keys, key, strict=True)), **_confidence_and_latency(sketches)})
    return pa.Table.from_pylist(rows, schema=_DEVICES)


def by_release(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The samples of confidence and latency of each hour and release, for release_hourly.sql."""
    return _samples(connection, ("hour", "release", "measure"), "NOT starts_with(measure, 'f_')")


def by_feature(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The samples of each feature and hour, for feature_hourly.sql."""
    return feature_samples(connection, ("feature", "hour"))


def feature_samples(
    connection: duckdb.DuckDBPyConnection,
    keys: tuple[str, ...],
    where: str = "true",
    parameters: dict[str, Any] | None = None,
) -> pa.Table:
    """What is left in the merged sketch of each value of `keys`: these, `samples` and `weights`, a list each."""
    return _samples(connection, keys, f"starts_with(measure, 'f_') AND {where}", parameters)


def _samples(
    connection: duckdb.DuckDBPyConnection,
    keys: tuple[str, ...],
    where: str,
    parameters: dict[str, Any] | None = None,
) -> pa.Table:
    rows = []
    for key, content in _merged(connection, keys, where, parameters):
        values, weights = samples(content)
        rows.append({**dict(zip(keys, key, strict=True)), "samples": values, "weights": weights})
    return pa.Table.from_pylist(rows, schema=pa.schema([_SAMPLES.field(n) for n in (*keys, "samples", "weights")]))


def _merged(
    connection: duckdb.DuckDBPyConnection, keys: tuple[str, ...], where: str, parameters: dict[str, Any] | None = None
) -> Iterator[tuple[tuple[Any, ...], bytes]]:
    """Each value of `keys` for which there are sketches, and the sketch of all of these."""
    names = ", ".join(keys)
    measured = "(SELECT *, measure AS feature FROM sketches)"
    query = f"SELECT {names}, sketch FROM {measured} WHERE sketch IS NOT NULL AND {where} ORDER BY {names}"
    reader = connection.sql(query, params=parameters).to_arrow_reader(ROWS)
    rows = (row for batch in reader for row in batch.to_pylist())
    for key, group in groupby(rows, key=lambda row: tuple(row[name] for name in keys)):
        yield key, merge(row["sketch"] for row in group)


def _confidence_and_latency(sketches: dict[str, bytes]) -> dict[str, float]:
    found = {}
    if content := sketches.get("confidence"):
        values, weights = samples(content)
        found["mean_confidence"] = float(np.average(values, weights=weights))
        found["confidence_p05"], found["confidence_p50"] = quantiles(content, [0.05, 0.5])
    if content := sketches.get("latency_us"):
        found["latency_us_p50"], found["latency_us_p99"] = quantiles(content, [0.5, 0.99])
    return found
