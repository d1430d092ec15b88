"""The slots as a state machine under every order of events: there is always something to go back to, and what failed stays failed."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_runtime.slots import Slots
from edge_runtime.spool import Spool
from edgeloop.config import DeviceSection
from tests.site import START

NEEDED, CRASHES, BUDGET = 3, 2, 100.0


class SlotsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.proven: set[str] = set()
        self.reopen()

    def reopen(self) -> None:
        self.spool = Spool(Path(self.directory.name) / "state.sqlite", DeviceSection(), START)
        self.slots = Slots(self.spool, NEEDED, CRASHES, BUDGET)

    def teardown(self) -> None:
        self.spool.close()
        self.directory.cleanup()

    @rule(release=st.sampled_from(["r1", "r2", "r3", "r4"]))
    def offered(self, release: str) -> None:
        if release not in self.slots.refused and release != self.slots.running:
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
            assert self.slots.running == staged
        else:
            assert self.slots.running == before
            assert staged in self.slots.refused

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

    @rule(release=st.sampled_from(["r1", "r2"]))
    def crashed_in_a_self_test_and_started(self, release: str) -> None:
        if release in self.slots.refused or release == self.slots.running:
            return
        before = self.slots.running
        attempt = self.slots.attempt(release)  # kept, or it would be left, and so unmarked, at once
        attempt.__enter__()
        self.crashed_and_started()
        assert self.slots.running == before

    @invariant()
    def what_is_committed_was_proven_and_nothing_refused_runs(self) -> None:
        assert not self.slots.committed or self.slots.committed in self.proven
        assert self.slots.staged not in self.slots.refused
        assert not self.proven or self.slots.running


SlotsMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestSlots = SlotsMachine.TestCase
