from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.groups import Event
from edge_runtime.hours import ripe, windows
from edgeloop.clock import EPOCH_0
from edgeloop.sketches import HOUR
from tests.site import START

AT = int((START - EPOCH_0).total_seconds()) * 1_000_000

times = st.lists(st.integers(0, 6 * HOUR - 1), max_size=60)
leasts = st.integers(1, 12)


def at(offsets: list[int]) -> list[Event]:
    return [Event(i, AT + offset, None, None, None, None, []) for i, offset in enumerate(offsets, 1)]


@given(times, leasts)
def test_windows_hold_every_event_once_in_whole_hours_and_no_few(offsets: list[int], least: int) -> None:
    events = at(offsets)
    found = windows(events, least)
    assert sorted(e.seq for window in found for e in window) == [e.seq for e in events]
    assert all(len(window) >= least for window in found) or len(found) == 1
    spans = [{e.ts // HOUR for e in window} for window in found]
    assert all(max(before) < min(after) for before, after in pairwise(spans))


@given(times)
def test_an_hour_with_enough_is_a_window_of_its_own(offsets: list[int]) -> None:
    assert [len({e.ts // HOUR for e in window}) for window in windows(at(offsets), 1)] == [1] * len(
        {offset // HOUR for offset in offsets}
    )


@given(times, leasts, st.integers(0, 7))
def test_what_goes_is_the_beginning_up_to_the_last_whose_hour_is_over(
    offsets: list[int], least: int, hours: int
) -> None:
    events = at(offsets)
    found = list(ripe(events, START + timedelta(hours=hours, minutes=59), least))
    over = [e for e in events if e.ts < AT + hours * HOUR]
    assert found == events[: len(found)]
    if not over or over[-1].seq < least:
        assert not found
    else:
        assert found[-1] == over[-1]
