"""Aggregates in the place of events: what leaves a device whose loop says `[privacy] ship = "aggregates"` (docs/formats.md).

Rules:
1. The windows are those of `hours.py`. Of one with fewer than `min_events` events nothing is said but how many they are.
2. A sketch takes values in rising order, never in that of the events: the third value of one feature would else be known to
   belong to the third of another.
3. An event that stands for others, because they were shed, is in a sketch as often as its `weight` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray

from edge_runtime.groups import Event
from edge_runtime.hours import windows
from edge_runtime.parquet import Column, write_parquet
from edge_runtime.sealing import describe
from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import SealedBatch
from edgeloop.layout import BatchName
from edgeloop.schema import FeatureSchema
from edgeloop.sketches import AGGREGATES, CLASS, EVENT, HOUR, SKETCH_K, sketched_measures


class Window(NamedTuple):
    """From `hour` until before `until`, both in µs since 1970 UTC and on the hour, of what `release` predicted."""

    hour: int
    until: int
    release: str | None


class Aggregate(NamedTuple):
    """How many events of a window have `value`, or a value that is in `sketch`, or, if there is neither, no value."""

    hour: int
    until: int
    release: str | None
    measure: str
    value: str | None
    events: int
    weight: int
    sketch: bytes | None


def seal_aggregates(
    events: Sequence[Event], settings: DeviceSettings, epoch: int, shed: int, now: datetime
) -> SealedBatch:
    """Make the Parquet file of what `events` (at least one, by sequence number) come to, and name it by its digest.

    Args: as `sealing.seal_batch`.
    """
    words = {
        **describe(settings, epoch, shed, now),
        "kind": AGGREGATES,
        "events": str(len(events)),
        "last_seq": str(events[-1].seq),
    }
    rows = list(aggregate(events, settings.schema, settings.privacy.min_events))
    content = write_parquet(_columns(rows), words)
    return SealedBatch(str(BatchName(epoch, events[0].seq, sha256(content).hexdigest())), len(events), content)


def aggregate(events: Sequence[Event], features: FeatureSchema, least: int) -> Iterator[Aggregate]:
    """What `events` come to, by release, window and measure."""
    releases: dict[str | None, list[Event]] = {}
    for event in events:
        releases.setdefault(event.release, []).append(event)
    for release, own in releases.items():
        for part in windows(own, least):
            window = Window(part[0].ts // HOUR * HOUR, (part[-1].ts // HOUR + 1) * HOUR, release)
            weights = np.array([event.weight for event in part], np.int64)
            yield Aggregate(*window, EVENT, None, len(part), int(weights.sum()), None)
            if len(part) >= least:
                yield from _by_class(window, part)
                yield from _by_value(window, part, weights, features)


def _by_class(window: Window, events: Sequence[Event]) -> Iterator[Aggregate]:
    for name in sorted({event.prediction for event in events}, key=str):
        weights = [int(event.weight) for event in events if event.prediction == name]
        yield Aggregate(*window, CLASS, name, len(weights), sum(weights), None)


def _by_value(
    window: Window, events: Sequence[Event], weights: NDArray[np.int64], features: FeatureSchema
) -> Iterator[Aggregate]:
    rows = [[event.confidence, event.latency_us, *event.inputs] for event in events]
    columns = dict(zip(("confidence", "latency_us", *features.columns), np.array(rows, np.float32).T, strict=True))
    for measure in sketched_measures(features):
        values = columns[measure]  # None has become NaN
        known = ~np.isnan(values)
        if known.any():
            content = sketch(values[known], weights[known])
            yield Aggregate(*window, measure, None, int(known.sum()), int(weights[known].sum()), content)
        if not known.all():
            yield Aggregate(*window, measure, None, int((~known).sum()), int(weights[~known].sum()), None)


def sketch(values: NDArray[np.float32], weights: NDArray[np.int64]) -> bytes:
    """A KLL sketch (Karnin, Lang and Liberty 2016) of `values` (n,), each as often as its weight (n,) says; no value is NaN."""
    found = kll_floats_sketch(SKETCH_K)
    for weight in np.unique(weights).tolist():
        found.merge(_repeated(np.sort(values[weights == weight]), weight))
    content: bytes = found.serialize()
    return content


def _repeated(values: NDArray[np.float32], times: int) -> kll_floats_sketch:
    # The library takes no weights. A sketch that is merged with its like stands for twice as much, at the same error; weights
    # reach to thousands after a long outage, and so many updates would take minutes.
    some, found = kll_floats_sketch(SKETCH_K), kll_floats_sketch(SKETCH_K)
    some.update(values)
    while times:
        if times & 1:
            found.merge(some)
        times >>= 1
        some.merge(kll_floats_sketch.deserialize(some.serialize()))
    return found


def _columns(rows: Sequence[Aggregate]) -> list[Column]:
    """The columns of `edgeloop.events.AGGREGATE_FIELDS`, which are said in Arrow and so not for a device."""
    hour, until, release, measure, value, events, weight, sketch = zip(*rows, strict=True)
    return [
        Column("hour", "time", hour),
        Column("until", "time", until),
        Column("release", "text", release),
        Column("measure", "text", measure),
        Column("value", "text", value),
        Column("events", "int64", events),
        Column("weight", "int64", weight),
        Column("sketch", "bytes", sketch),
    ]
