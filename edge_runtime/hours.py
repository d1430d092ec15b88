"""Which events may be aggregated by now, and into which windows of time. No event is told apart from at least `least` others of it.

Rules:
1. An hour (UTC, of `ts`) is aggregated once it is over; the events of the present one wait.
2. A batch stands for at least `least` events; fewer wait for more.
3. An hour of a release that has fewer is joined to the next that has any, the last one to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

from edge_runtime.groups import Event
from edgeloop.clock import EPOCH_0
from edgeloop.sketches import HOUR


def ripe(events: Sequence[Event], now: datetime, least: int) -> Sequence[Event]:
    """The first of `events` (by sequence number), up to the last whose hour is over at `now`; none if they are fewer than `least`.

    Up to the last, since a clock that was ahead for a while is no reason for what came after it to wait.
    """
    present = (now - EPOCH_0) // timedelta(microseconds=1) // HOUR
    count = max((i for i, event in enumerate(events, 1) if event.ts // HOUR < present), default=0)
    return events[:count] if count >= least else ()


def windows(events: Sequence[Event], least: int) -> list[list[Event]]:
    """`events` by whole hours, in the order of time, at least `least` in each; in one, if there are not as many in all."""
    found: list[list[Event]] = []
    for _, hour in groupby(sorted(events, key=lambda e: e.ts), key=lambda e: e.ts // HOUR):
        if found and len(found[-1]) < least:
            found[-1] += hour
        else:
            found.append(list(hour))
    if len(found) > 1 and len(found[-1]) < least:
        last = found.pop()
        found[-1] += last
    return found
