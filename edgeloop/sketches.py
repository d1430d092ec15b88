"""What both sides must know of a batch of aggregates (docs/formats.md). No Arrow and no sketches here: a device imports it at its start."""

from __future__ import annotations

from edgeloop.schema import FeatureSchema

EVENTS, AGGREGATES = "events", "aggregates"
"""What a device ships, by `[privacy] ship` and by a batch's `edgeloop.kind`."""

SKETCH_K = 200
"""The size of a sketch: its ranks are wrong by at most 1.33 % of the weight in it, in 99 of 100 cases (Apache DataSketches, KLL)."""

HOUR = 3_600_000_000
"""Of which windows are made, in µs, as `ts` is."""

EVENT = "event"
"""The measure that counts a window's events: every other of the window adds up to it."""

CLASS = "prediction"
"""The measure that counts them by the class that was predicted."""


ORDERED = ("number", "category", "hour", "weekday", "month")
"""The kinds of features that a quantile says something of; a sketch of any other would be a list of its values."""


def sketched_measures(features: FeatureSchema) -> tuple[str, ...]:
    """The measures of a window that have a sketch of their values."""
    return ("confidence", "latency_us", *(f.column for f in features.features if f.kind in ORDERED))
