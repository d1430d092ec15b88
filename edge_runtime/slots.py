"""Slots and probation: which release runs, which one to go back to, and which are never tried again.

A state machine over a few values kept in the spool's file; it decides, and does no I/O of its own but that.

    (none) ──stage──▶ probation ──enough good events──▶ committed
                          │
                          └─ NaN, too slow, crash loop ─▶ back to the committed release (or none), refused for ever

Rules:
1. The committed slot is never touched while another is on probation: there is always a release to go back to, once there was one.
2. Each start of the process on probation counts as a crash until a clean stop takes it back, or probation ends.
3. A self-test is marked before it begins and unmarked after it. A mark that is found at a start counts against the release that
   was tested, and not against the one on probation.
4. Good predictions count across clean stops, so that probation ends however few there are in a run.
5. A refused release is not staged again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from edge_runtime.spool import Spool


@dataclass(frozen=True)
class Judgement:
    """What probation found: `committed`, `rolled-back` or `probation` while it is open, and why."""

    state: str
    reason: str


class Slots:
    """The slots of one device, durable in its spool."""

    def __init__(self, spool: Spool, probation_events: int, crash_limit: int, latency_budget_us: float) -> None:
        self._spool = spool
        self._needed, self._crash_limit, self._budget_us = probation_events, crash_limit, latency_budget_us
        self.committed = spool.get("committed", "")
        self.staged = spool.get("staged", "")
        self.refused: dict[str, str] = json.loads(spool.get("refused", "{}"))
        self._starts = int(spool.get("starts", "0"))
        self._attempts: dict[str, int] = json.loads(spool.get("attempts", "{}"))
        self._latencies: list[float] = json.loads(spool.get("latencies", "[]"))

    @property
    def running(self) -> str:
        """The manifest digest of the release to run: the one on probation, else the committed one; empty if none."""
        return self.staged or self.committed

    def on_start(self) -> Judgement | None:
        """Count a start of the process while on probation; a crash loop, be it of self-tests, is ended here."""
        if self._spool.get("attempt", ""):
            return self.on_visit()
        if not self.staged:
            return None
        self._starts += 1
        self._spool.put(starts=self._starts)
        if self._starts > self._crash_limit:
            return self.roll_back(f"crash loop: started {self._starts} times on probation")
        return None

    def on_visit(self) -> Judgement | None:
        """A process that runs no release: only a self-test that ended the one before it is counted."""
        tested = self._spool.get("attempt", "")
        return self._count_attempt(tested) if tested else None

    def on_stop(self) -> None:
        """The process ends cleanly: its start was no crash, nor is a self-test that is cut off; probation goes on at the next."""
        self._starts = max(0, self._starts - 1)
        self._spool.put(starts=self._starts, attempt="", latencies=json.dumps(self._latencies))

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
        self._spool.put(attempt="", attempts=json.dumps(self._attempts))
        if count < self._crash_limit:
            return None
        reason = f"the self-test ended the process {count} times"
        self.refuse(release, reason)
        return Judgement("self-test-failed", reason)

    def stage(self, release: str) -> None:
        """Put a release on probation; `release` must not be refused."""
        assert release not in self.refused, "a refused release is never tried again"
        self.staged, self._starts, self._latencies, self._attempts = release, 0, [], {}
        self._spool.put(staged=release, starts=0, latencies="[]", attempts="{}")

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
        self._end_probation(self.staged)
        return Judgement("committed", f"{self._needed} good predictions, typically {typical / 1000:.2f} ms")

    def roll_back(self, reason: str) -> Judgement:
        """Give the staged release up for good and go back to the committed one."""
        self.refuse(self.staged, reason)
        self._end_probation(self.committed)
        return Judgement("rolled-back", reason)

    def return_to(self, release: str) -> None:
        """Run `release`, which was committed here before, without a probation: the centre took its candidate back."""
        self._end_probation(release)

    def forget(self, release: str) -> None:
        """Empty the slots that hold `release`, whose files here are damaged; it may be fetched again."""
        self.staged = "" if self.staged == release else self.staged
        self.committed = "" if self.committed == release else self.committed
        self._spool.put(staged=self.staged, committed=self.committed)

    def refuse(self, release: str, reason: str) -> None:
        """Never try `release` again."""
        self.refused[release] = reason
        self._spool.put(refused=json.dumps(self.refused))

    def _end_probation(self, committed: str) -> None:
        self.committed, self.staged, self._starts, self._latencies = committed, "", 0, []
        self._spool.put(committed=committed, staged="", starts=0, latencies="[]")
