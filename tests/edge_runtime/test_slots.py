"""The slots as a state machine under every order of events: there is always something to go back to, and what failed stays failed."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_runtime.slots import Slots
from edge_runtime.spool import Spool
from edgeloop.clock import SimulatedClock
from edgeloop.config import DeviceSection
from edgeloop.duration import Duration
from tests.site import START

SECTION = DeviceSection(probation_events=3, crash_limit=2, latency_budget_ms=0.1, refuse_for=Duration(days=10))


class PowerCut(Exception):
    """At an instant between two writes."""


def slots_over(spool: Spool) -> Slots:
    return Slots(spool, SECTION, SimulatedClock(START))


@pytest.mark.parametrize("transition", [
    lambda slots: slots.observe([math.nan], 1.0),
    lambda slots: slots.leave("by hand"),
    lambda slots: slots.return_to("r1"),
    lambda slots: [slots.observe([1.0], 1.0) for _ in range(SECTION.probation_events)],
    lambda slots: slots.forget("r2"),
])  # fmt: skip
def test_a_power_cut_in_a_transition_leaves_what_was_or_what_is_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transition: Callable[[Slots], object]
) -> None:
    spool = Spool(tmp_path / "state.sqlite", SECTION, START)
    slots = slots_over(spool)
    for release in ("r1", "r2"):
        slots.stage(release)
        [slots.observe([1.0], 1.0) for _ in range(SECTION.probation_events)]
    slots.stage("r3")
    before = slots.held
    writes, put = [], spool.put

    def once(**values: object) -> bool:
        if writes:
            raise PowerCut
        writes.append(put(**values))
        return True

    monkeypatch.setattr(spool, "put", once)
    with suppress(PowerCut):
        transition(slots)
    again = slots_over(spool)
    assert writes == [True]
    assert again.held == slots.held != before
    assert not {*again.held} & {*again.refusals.in_force(START)}
    spool.close()


class SlotsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.proven: set[str] = set()
        self.clock = SimulatedClock(START)
        self.reopen()

    def reopen(self) -> None:
        self.spool = Spool(Path(self.directory.name) / "state.sqlite", SECTION, START)
        self.slots = Slots(self.spool, SECTION, self.clock)

    def teardown(self) -> None:
        self.spool.close()
        self.directory.cleanup()

    @rule(release=st.sampled_from(["r1", "r2", "r3", "r4"]))
    def offered(self, release: str) -> None:
        if release in self.slots.proven:
            self.slots.return_to(release)
            assert self.slots.running == release
        elif not self.slots.refusals.why(release, self.clock.now) and release != self.slots.staged:
            self.slots.stage(release)

    @precondition(lambda self: self.slots.staged)
    @rule(latency=st.sampled_from([10.0, 10.0, 500.0]), broken=st.booleans())
    def predicted(self, latency: float, broken: bool) -> None:
        staged, before = self.slots.staged, self.slots.committed
        judgement = self.slots.observe([math.nan if broken else 1.0], latency)
        if judgement is None:
            return
        if judgement.state == "committed":
            self.proven.add(staged)
            assert self.slots.proven[:2] == tuple(filter(None, (staged, before)))
        else:
            assert self.slots.running == before
            assert self.slots.refusals.why(staged, self.clock.now)

    @rule()
    def crashed_and_started(self) -> None:
        self.spool._state.close()
        self.reopen()
        self.slots.on_start()

    @rule()
    def stopped_and_started(self) -> None:
        before = self.slots.running
        self.slots.on_stop()
        self.spool.close()
        self.reopen()
        assert self.slots.on_start() is None
        assert self.slots.running == before

    @rule(days=st.integers(1, 30))
    def time_passed(self, days: int) -> None:
        self.clock.now += timedelta(days=days)

    @precondition(lambda self: self.slots.way_back)
    @rule()
    def left_by_hand(self) -> None:
        left, back = self.slots.running, self.slots.way_back
        self.slots.leave("by hand")
        assert self.slots.running == back
        assert self.slots.refusals.why(left, self.clock.now + timedelta(days=10_000))

    @precondition(lambda self: len(self.slots.proven) > 1)
    @rule(slot=st.sampled_from(["staged", "committed", "previous"]))
    def damaged(self, slot: str) -> None:
        self.slots.forget(getattr(self.slots, slot))

    @rule(release=st.sampled_from(["r1", "r2"]))
    def crashed_in_a_self_test_and_started(self, release: str) -> None:
        if self.slots.refusals.why(release, self.clock.now) or release in self.slots.held:
            return
        before = self.slots.running
        attempt = self.slots.attempt(release)  # kept, or it would be left, and so unmarked, at once
        attempt.__enter__()
        self.crashed_and_started()
        assert self.slots.running == before

    @invariant()
    def what_is_committed_was_proven_and_nothing_refused_runs(self) -> None:
        assert {*self.slots.proven} <= self.proven
        assert not {*self.slots.held} & {*self.slots.refusals.in_force(self.clock.now)}
        assert len({*self.slots.held}) == len(self.slots.held)
        assert not self.proven or self.slots.committed


SlotsMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestSlots = SlotsMachine.TestCase
