from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.budget import Budget
from edgeloop.config import DeviceSection
from edgeloop.window import Window
from tests.site import START

DAY = timedelta(days=1)
BATCH = 100_000
SECTION = DeviceSection(upload_mb_per_day=1.0)


def sent(budget: Budget, now: datetime) -> int:
    """Send as much as may go; how much that was."""
    total = 0
    while not budget.closed(now):
        budget.spend(BATCH, now)
        total += BATCH
    return total


@given(st.lists(st.floats(1, 100_000), min_size=1, max_size=50))
def test_no_more_goes_than_its_share_a_day_and_a_batch(pauses: list[float]) -> None:
    budget, now, total = Budget(SECTION, "", START), START, 0
    for pause in pauses:
        total += sent(budget, now)
        now += timedelta(seconds=pause)
        assert total <= 1e6 * (1 + (now - START) / DAY) + BATCH


@given(st.lists(st.tuples(st.sampled_from([-1, 1, 60]), st.booleans()), max_size=30))
def test_a_clock_that_falls_back_to_1970_at_each_start_gets_nothing_by_it(steps: list[tuple[int, bool]]) -> None:
    real, total, start_1970 = START, 0, datetime(1970, 1, 1, tzinfo=UTC)
    kept = Budget(SECTION, "", START).spend(0, START)
    for minutes, reboots in steps:
        if reboots:  # a minute in 1970, and then the right time comes
            budget = Budget(SECTION, kept, start_1970)
            total += sent(budget, start_1970)
            kept = budget.spend(0, start_1970)
        real += timedelta(minutes=abs(minutes))
        budget = Budget(SECTION, kept, real)
        total += sent(budget, real)
        kept = budget.spend(0, real)
    assert total <= 1e6 * (1 + (real - START) / DAY) + BATCH


def test_what_was_used_up_comes_back_evenly_and_it_says_when() -> None:
    budget = Budget(SECTION, "", START)
    assert sent(budget, START) == 1_000_000
    assert budget.closed(START) == "the 1 MB of a day are used up until 2024-01-01 00:00 UTC"
    budget.spend(500_000, START)  # it may owe
    assert budget.closed(START + DAY / 4) == "the 1 MB of a day are used up until 2024-01-01 12:00 UTC"
    again = Budget(SECTION, budget.spend(0, START), START)
    assert sent(again, START + DAY) == 500_000


def test_without_a_limit_nothing_is_held_back_and_a_limit_that_was_is_kept() -> None:
    limited = Budget(SECTION, "", START)
    sent(limited, START)
    kept = limited.spend(BATCH, START)
    free = Budget(DeviceSection(), kept, START)
    assert free.closed(START) == ""
    assert free.spend(10**9, START + DAY) == kept


def test_outside_the_window_nothing_goes() -> None:
    budget = Budget(DeviceSection(window=Window.parse("22:00-06:00")), "", START)
    assert budget.closed(START) == ""
    assert budget.closed(START.replace(hour=12)) == "waits for 22:00-06:00 UTC"
