"""Slots and probation: which release runs, which ones to go back to, and which are not tried again.

    (none) ──stage──▶ staged ──enough good predictions──▶ committed ──the next is committed──▶ previous
                        │                                    ▲                                    │
                        └─ NaN, too slow, crash loop: refused└── by hand, by the centre, damaged ─┘

A state machine over a few values kept in the spool's file; it decides, and does no I/O of its own but that. docs/updates.md
draws it with the polls around it.

Rules:
1. The committed slot is never touched while another is on probation: there is always a release to go back to, once there was one.
2. Each start of the process on probation counts as a crash until a clean stop takes it back, or probation ends.
3. A self-test is marked before it begins and unmarked after it. A mark that is found at a start counts against the release that
   was tested, and not against the one on probation.
4. Good predictions count across clean stops, so that probation ends however few there are in a run.
5. A refused release is not staged, and no slot holds one.
6. A transition is one write: after a crash it has happened, or not begun.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from edge_runtime.refusals import Refusals
from edge_runtime.spool import Spool
from edgeloop.clock import Clock
from edgeloop.config import DeviceSection


@dataclass(frozen=True)
class Judgement:
    """What probation found of `release`: `committed`, `rolled-back` or, by its self-tests, `self-test-failed`; and why."""

    state: str
    reason: str
    release: str


class Slots:
    """The slots of one device, durable in its spool.

    Args:
        now: the trusted time, for refusals.
    """

    def __init__(self, spool: Spool, section: DeviceSection, now: Clock) -> None:
        self._spool, self._now = spool, now
        self._needed, self._crash_limit = section.probation_events, section.crash_limit
        self._budget_us = section.latency_budget_ms * 1000
        self.committed = spool.get("committed", "")
        self.staged = spool.get("staged", "")
        self.previous = spool.get("previous", "")
        self.refusals = Refusals(spool.get("refused", "{}"), section.refuse_for)
        self._starts = int(spool.get("starts", "0"))
        self._attempts: dict[str, int] = json.loads(spool.get("attempts", "{}"))
        self._latencies: list[float] = json.loads(spool.get("latencies", "[]"))

    @property
    def running(self) -> str:
        """The manifest digest of the release to run: the one on probation, else the committed one; empty if none."""
        return self.staged or self.committed

    @property
    def held(self) -> tuple[str, ...]:
        """The digests in the slots, in the order in which one is run in another's place."""
        return tuple(filter(None, (self.staged, self.committed, self.previous)))

    @property
    def proven(self) -> tuple[str, ...]:
        """The digests of those that passed their probation here: they may be run again without one."""
        return tuple(filter(None, (self.committed, self.previous)))

    @property
    def way_back(self) -> str:
        """The release to go back to by hand; empty if there is none."""
        return self.committed if self.staged else self.previous

    def on_start(self) -> Judgement | None:
        """Count a start of the process while on probation; a crash loop, be it of self-tests, is ended here."""
        if self._spool.get("attempt", ""):
            return self.on_visit()
        if not self.staged:
            return None
        self._starts += 1
        if self._starts > self._crash_limit:
            return self.roll_back(f"crash loop: started {self._starts} times on probation")
        self._write()
        return None

    def on_visit(self) -> Judgement | None:
        """A process that runs no release: only a self-test that ended the one before it is counted."""
        tested = self._spool.get("attempt", "")
        return self._count_attempt(tested) if tested else None

    def on_stop(self) -> None:
        """The process ends cleanly: its start was no crash, nor is a self-test that is cut off; probation goes on at the next."""
        self._starts = max(0, self._starts - 1)
        self._write(attempt="")

    @contextmanager
    def attempt(self, release: str) -> Iterator[None]:
        """Around the self-test of `release`: should it end the process, the next start knows.

        Raises:
            OSError: that cannot be written down, so nothing may be tried.
        """
        if not self._spool.put(attempt=release):
            raise OSError(self._spool.fault)
        try:
            yield
        finally:
            self._spool.put(attempt="")

    def _count_attempt(self, release: str) -> Judgement | None:
        count = self._attempts[release] = self._attempts.get(release, 0) + 1
        if count < self._crash_limit:
            self._write(attempt="")
            return None
        reason = f"the self-test ended the process {count} times"
        self.refusals.add(release, reason, self._now())
        self._write(attempt="")
        return Judgement("self-test-failed", reason, release)

    def stage(self, release: str) -> None:
        """Put a release on probation; `release` must not be refused."""
        assert not self.refusals.why(release, self._now()), "a refused release is not tried again"
        self.staged, self._starts, self._latencies = release, 0, []
        self._attempts.pop(release, None)
        self._write()

    def observe(self, probabilities: list[float], latency_us: float) -> Judgement | None:
        """Take one prediction on probation into account; a judgement when it is over."""
        if not all(math.isfinite(p) for p in probabilities):
            return self.roll_back("a prediction was not a number")
        self._latencies.append(latency_us)
        if len(self._latencies) < self._needed:
            return None
        typical = median(self._latencies)
        if typical > self._budget_us:
            return self.roll_back(
                f"typical latency of {typical / 1000:.1f} ms is over the budget of {self._budget_us / 1000:g} ms"
            )
        passed = self.staged
        self.committed, self.previous = passed, self.committed or self.previous
        self._end_probation()
        return Judgement("committed", f"{self._needed} good predictions, typically {typical / 1000:.2f} ms", passed)

    def roll_back(self, reason: str) -> Judgement:
        """Give the staged release up and go back to the committed one."""
        left = self.staged
        self.refusals.add(left, reason, self._now())
        self._end_probation()
        return Judgement("rolled-back", reason, left)

    def leave(self, reason: str) -> Judgement:
        """A person goes back to `way_back`, which must be one, and refuses what runs for ever."""
        left = self.running
        self.refusals.add(left, reason, None)
        if not self.staged:
            self.committed, self.previous = self.previous, ""
        self._end_probation()
        return Judgement("rolled-back", reason, left)

    def return_to(self, release: str) -> None:
        """Run `release`, one of the proven, without a probation: the centre took its candidate back."""
        if release != self.committed:
            self.committed, self.previous = release, self.committed
        self._end_probation()

    def forget(self, release: str) -> None:
        """Empty the slots that hold `release`, whose files here are damaged; it may be fetched again."""
        self.staged = "" if self.staged == release else self.staged
        proven = [digest for digest in self.proven if digest != release]
        self.committed, self.previous = (*proven, "", "")[:2]
        self._write()

    def refuse(self, release: str, reason: str) -> None:
        """Do not try `release`, which no slot holds, again."""
        self.refusals.add(release, reason, self._now())
        self._write()

    def _end_probation(self) -> None:
        self.staged, self._starts, self._latencies = "", 0, []
        self._write()

    def _write(self, **also: str) -> None:
        """Rule 6."""
        self._spool.put(
            committed=self.committed,
            staged=self.staged,
            previous=self.previous,
            starts=self._starts,
            attempts=json.dumps(self._attempts),
            latencies=json.dumps(self._latencies),
            refused=self.refusals.encode(),
            **also,
        )
