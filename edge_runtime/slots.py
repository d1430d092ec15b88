"""Slots and probation: which release runs, which one to go back to, and which are never tried again.

A state machine over a few values kept in the spool's file; it decides, and does no I/O of its own but that.

    (none) ──stage──▶ probation ──enough good events──▶ committed
                          │
                          └─ NaN, too slow, crash loop ─▶ back to the committed release (or none), refused for ever

Rules:
1. The committed slot is never touched while another is on probation: there is always a release to go back to, once there was one.
2. Each start of the process on probation counts as a possible crash; only enough good events clear it.
3. A refused release is not staged again.
"""

from __future__ import annotations

import json
import math
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
        self._latencies: list[float] = []

    @property
    def running(self) -> str:
        """The manifest digest of the release to run: the one on probation, else the committed one; empty if none."""
        return self.staged or self.committed

    def on_start(self) -> Judgement | None:
        """Count a start of the process while on probation; a crash loop is ended here."""
        if not self.staged:
            return None
        self._starts += 1
        self._spool.put(starts=self._starts)
        if self._starts > self._crash_limit:
            return self.roll_back(f"crash loop: started {self._starts} times on probation")
        return None

    def stage(self, release: str) -> None:
        """Put a release on probation; `release` must not be refused."""
        assert release not in self.refused, "a refused release is never tried again"
        self.staged, self._starts, self._latencies = release, 0, []
        self._spool.put(staged=release, starts=0)

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
        self.committed, self.staged = self.staged, ""
        self._spool.put(committed=self.committed, staged="", starts=0)
        return Judgement("committed", f"{self._needed} good predictions, typically {typical / 1000:.2f} ms")

    def roll_back(self, reason: str) -> Judgement:
        """Give the staged release up for good and go back to the committed one."""
        self.refuse(self.staged, reason)
        self.staged = ""
        self._spool.put(staged="", starts=0)
        return Judgement("rolled-back", reason)

    def return_to(self, release: str) -> None:
        """Run `release`, which was committed here before, without a probation: the centre took its candidate back."""
        self.committed, self.staged = release, ""
        self._spool.put(committed=release, staged="", starts=0)

    def forget(self, release: str) -> None:
        """Empty the slots that hold `release`, whose files here are damaged; it may be fetched again."""
        self.staged = "" if self.staged == release else self.staged
        self.committed = "" if self.committed == release else self.committed
        self._spool.put(staged=self.staged, committed=self.committed)

    def refuse(self, release: str, reason: str) -> None:
        """Never try `release` again."""
        self.refused[release] = reason
        self._spool.put(refused=json.dumps(self.refused))
