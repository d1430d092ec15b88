"""Refusals over any length of time: a bad release is tried ever less often, one refused by hand never again."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.refusals import LONGEST, Refusals
from tests.site import START

DAY = timedelta(days=1)
spans = st.timedeltas(timedelta(0), 4000 * DAY)


@given(st.integers(1, 400).map(timedelta), st.lists(spans, max_size=30))
def test_a_release_that_fails_whenever_it_is_tried_is_tried_ever_less_often(
    refuse_for: timedelta, waits: list[timedelta]
) -> None:
    refusals, now, tries = Refusals("{}", refuse_for), START, 0
    for wait in waits:
        if not refusals.why("r", now):
            refusals.add("r", "it failed", now)
            tries += 1
            assert refusals.why("r", now) == "it failed"
        refusals = Refusals(refusals.encode(), refuse_for)  # over a restart
        now += wait
    # n tries take refuse_for · (1 + 2 + … + 2ⁿ⁻²)
    assert refuse_for * (2 ** max(0, tries - 1) - 1) <= now - START


@given(spans, st.none() | spans)
def test_by_hand_without_a_policy_and_of_an_older_state_is_for_ever(
    later: timedelta, refuse_for: timedelta | None
) -> None:
    refusals = Refusals('{"old":"why it was"}', refuse_for)
    refusals.add("hand", "by hand", None)
    refusals.add("failed", "it failed", START)
    refusals = Refusals(refusals.encode(), None)
    assert refusals.in_force(START + later) == {"old": "why it was", "hand": "by hand", "failed": "it failed"}


def test_a_clock_that_falls_back_ends_nothing_and_no_length_of_time_is_too_long() -> None:
    refusals = Refusals("{}", timedelta.max)
    for _ in range(100):
        refusals.add("r", "x" * 10_000, START)
    assert refusals.why("r", START - 20_000 * DAY) == "x" * LONGEST
    refusals = Refusals(refusals.encode(), DAY)
    assert refusals.why("r", START + 400_000 * DAY)
