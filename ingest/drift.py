"""Drift: how far each feature has moved from what a release was trained on, by events and by sketches of events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from edgeloop.lake import Lake, run_sql
from edgeloop.manifest import Reference
from edgeloop.schema import FeatureSchema
from ingest.sketched import feature_samples
from ingest.tables import SKETCHES

SQL = Path(__file__).parent / "sql"
SMALLEST_SHARE = 1e-4
"""An empty bin counts as this share, or one would make the index infinite."""


def drift(
    lake: Lake, schema: FeatureSchema, reference: dict[str, Reference], now: datetime, window: timedelta
) -> pa.Table:
    """The population stability index of each feature over the `window` before `now`.

    Missing values are a bin of their own: a sensor that has died is the largest shift there is.

    Returns:
        feature (its name), psi, events (in the window, those that were shed included), missing (the share of them without a
        value); psi and missing are null where there was no event.
    """
    columns = {feature.column: feature.name for feature in schema.features if feature.name in reference}
    counts = _counts(lake, {c: reference[name].edges for c, name in columns.items()}, now, window)
    rows = []
    for column, name in columns.items():
        expected = _shares(reference[name])
        found = [counts.get(column, {}).get(k, 0) for k in range(len(expected))]
        total = sum(found)
        psi = stability_index(expected, [n / total for n in found]) if total else None
        rows.append(
            {"feature": name, "psi": psi, "events": round(total), "missing": found[-1] / total if total else None}
        )
    fields = [("feature", pa.string()), ("psi", pa.float64()), ("events", pa.int64()), ("missing", pa.float64())]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _shares(reference: Reference) -> list[float]:
    """The reference's share of all rows in each bin, and without a value."""
    return [*(share * (1 - reference.missing) for share in reference.shares), reference.missing]


def stability_index(expected: Sequence[float], found: Sequence[float]) -> float:
    """PSI = Σ (found − expected) · ln(found / expected) over bins' shares; over 0.25 is commonly taken as a shift.

    Source: Siddiqi, “Credit Risk Scorecards” (2006); it is the symmetrised Kullback–Leibler divergence.
    """
    pairs = ((max(e, SMALLEST_SHARE), max(f, SMALLEST_SHARE)) for e, f in zip(expected, found, strict=True))
    return sum((f - e) * math.log(f / e) for e, f in pairs)


def _counts(
    lake: Lake, edges: dict[str, Sequence[float]], now: datetime, window: timedelta
) -> dict[str, dict[int, float]]:
    if lake.table("events") is None or not edges:
        return {}
    lake.ensure("sketches", SKETCHES, ["month"])
    connection = lake.connect(events=None, sketches=None)
    bins = [{"feature": column, "edges": list(values)} for column, values in edges.items()]
    schema = pa.schema([("feature", pa.string()), ("edges", pa.list_(pa.float64()))])
    connection.register("bins", pa.Table.from_pylist(bins, schema=schema))
    since = now - window
    limits = {"since": since, "until": now, "month": f"{since:%Y-%m}"}
    within = "month >= $month AND hour >= $since AND hour < $until"
    connection.register("sketched", feature_samples(connection, ("feature",), within, limits))
    rows = run_sql(connection, SQL / "drift.sql", limits)
    counts: dict[str, dict[int, float]] = {}
    for row in rows.to_pylist():
        counts.setdefault(row["feature"], {})[row["bin"]] = row["events"]
    return counts
