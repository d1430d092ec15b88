"""What must hold of the windows of a batch of aggregates, which is hostile until checked."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.sketches import CLASS, EVENT, HOUR, sketched_measures
from ingest.derived.sketches import samples

HEAVIEST = 10**9
"""How many events one can stand for, as in a batch of events."""

Row = dict[str, Any]


def check_windows(table: pa.Table, config: LoopConfig, events: int) -> None:
    """Check the rows of `table`, whose columns, times and releases are as they should be, and that they are of `events` events.

    Raises:
        DataError: the first thing that is wrong.
    """
    _check_hours(table)
    rows: list[Row] = table.to_pylist()
    sketched = frozenset(sketched_measures(config.schema()))
    for row in rows:
        _check_row(row, sketched, frozenset(config.label.classes))
    _check_sums(rows, {CLASS, *sketched}, events)


def _check_hours(table: pa.Table) -> None:
    hour, until = (table[name].cast(pa.int64()).to_numpy() for name in ("hour", "until"))
    if (hour % HOUR).any() or (until % HOUR).any() or (hour >= until).any():
        raise DataError("it has windows that are no whole hours.")


def _check_row(row: Row, sketched: frozenset[str], classes: frozenset[str]) -> None:
    measure, value, content = row["measure"], row["value"], row["sketch"]
    if measure not in {EVENT, CLASS, *sketched}:
        raise DataError(f"it measures {measure[:80]!r}, which this loop does not.")
    if value is not None and (measure != CLASS or value not in classes):
        raise DataError(f"it predicts what is no class of the loop: {value[:80]!r}.")
    if not 1 <= row["events"] <= row["weight"] <= row["events"] * HEAVIEST:
        raise DataError(f"it counts {row['events']} events of weight {row['weight']}.")
    if content is None:
        return
    if measure not in sketched:
        raise DataError(f"it has a sketch of {measure!r}.")
    values, weights = samples(content)
    if weights.sum() != row["weight"]:
        raise DataError(f"a sketch holds {weights.sum()} values, its row says {row['weight']}.")
    if measure == "confidence" and (values.min() < 0 or values.max() > 1.0001):
        raise DataError("it has confidences outside 0 to 1.")


def _check_sums(rows: list[Row], measures: set[str], events: int) -> None:
    windows: dict[tuple[Any, ...], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in rows:
        window = windows[row["hour"], row["until"], row["release"]]
        window[row["measure"]].update(events=row["events"], weight=row["weight"])
    for found in windows.values():
        if found.keys() not in ({EVENT}, {EVENT, *measures}):
            raise DataError("it has a window without some of the loop's measures.")
        if any(sums != found[EVENT] for sums in found.values()):
            raise DataError("it has counts that do not add up to the events of their window.")
    if (total := sum(found[EVENT]["events"] for found in windows.values())) != events:
        raise DataError(f"it says that it is of {events} events, and counts {total}.")
