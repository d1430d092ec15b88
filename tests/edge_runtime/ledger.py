"""A ledger of one device's updates, kept beside it by reading its disk: what must hold from each step to the next.

It counts and reckons by itself, and does not take the device's word for how often a release was refused, nor until when; only, within
what is possible, for when it failed, since a disk that is full hears of that later.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path


@dataclass(frozen=True)
class OnDisk:
    """The slots as a power cut would leave them, read past the device."""

    staged: str = ""
    committed: str = ""
    previous: str = ""
    refused: dict[str, dict[str, str]] = field(default_factory=dict)
    verified_at: datetime | None = None

    @classmethod
    def of(cls, home: Path) -> OnDisk:
        with closing(sqlite3.connect(f"{(home / 'state.sqlite').as_uri()}?mode=ro", uri=True)) as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
        slots = (meta.get(slot, "") for slot in ("staged", "committed", "previous"))
        verified_at = datetime.fromisoformat(meta["verified_at"]) if "verified_at" in meta else None
        return cls(*slots, json.loads(meta.get("refused", "{}")), verified_at)

    @property
    def running(self) -> str:
        return self.staged or self.committed

    @property
    def held(self) -> list[str]:
        return [release for release in (self.staged, self.committed, self.previous) if release]


@dataclass
class Ledger:
    """All that was done to a device and what became of it, by manifest digest.

    Args:
        bad: what must never be committed, and `never_staged` not even be put on probation.
        refuse_for, crash_limit: the device's policy.
    """

    bad: frozenset[str]
    never_staged: frozenset[str]
    refuse_for: timedelta
    crash_limit: int
    disk: OnDisk = field(default_factory=OnDisk)
    offered: Counter[str] = field(default_factory=Counter)
    """How often there was a reason to install it: it was rolled out, or its files were damaged."""
    tried: Counter[str] = field(default_factory=Counter)
    failures: defaultdict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    by_hand: set[str] = field(default_factory=set)
    staged_at: dict[str, datetime] = field(default_factory=dict)
    ends: int = 0
    """How often the process ended otherwise than cleanly, and at the last failure of each release."""
    ends_before: Counter[str] = field(default_factory=Counter)
    killed_by: Counter[str] = field(default_factory=Counter)
    """How often a release ended the process since it was put on probation, or ever, if it never is."""

    def refuses(self, release: str, at: datetime) -> bool:
        """Whether it may not be tried: n failures take 1, 2, 4 … 2ⁿ⁻¹ times as long to be over."""
        failed = self.failures[release]
        over = bool(failed) and at - failed[-1] >= self.refuse_for * 2 ** (len(failed) - 1)
        return release in self.by_hand or (bool(failed) and not over)

    def take(self, now: OnDisk, at: datetime, *, asked: bool = False, left_by_hand: str = "") -> None:
        """Hold what is on disk after a step against what was before it.

        Args:
            at: the trusted time.
            asked: in this step the device asked the centre, which may have put another release in the place of the staged one.
            left_by_hand: what a person may have gone back from in this step.
        """
        before, self.disk = self.disk, now
        for release, refusal in now.refused.items():
            if refusal != before.refused.get(release):
                told = datetime.fromisoformat(refusal["at"]) if "at" in refusal else at
                assert self.staged_at.get(release, told) <= told <= at
                self._failed(release, told, by_hand=release == left_by_hand)
        if now.staged not in ("", before.staged):
            self._staged(now.staged, at)
        given_up = before.staged not in ("", now.staged, now.committed)
        assert not given_up or asked or self.refuses(before.staged, at), "it failed, and is not refused"
        assert now.committed or not before.committed, "there was a model that passed its probation, and is none now"
        assert now.committed not in self.bad
        if before.staged and now.committed == before.staged:
            assert now.previous == (before.committed or before.previous), "there is no way back any more"
        assert not any(self.refuses(release, at) for release in now.held), "a slot holds a release that is refused"
        self._nothing_is_tried_over_and_over()

    def _staged(self, release: str, at: datetime) -> None:
        assert not self.refuses(release, at), "it is tried before its refusal is over"
        assert release not in self.never_staged
        self.tried[release] += 1
        assert self.tried[release] <= self.offered[release] + len(self.failures[release])
        self.staged_at[release], self.killed_by[release] = at, 0

    def _failed(self, release: str, at: datetime, *, by_hand: bool) -> None:
        assert not self.refuses(release, at), "it was tried although it is refused"
        self.failures[release].append(at)
        if by_hand:
            self.by_hand.add(release)
        elif release not in self.bad:
            ends = self.ends - self.ends_before[release]
            assert ends >= self.crash_limit, "nothing was wrong with it"
        self.ends_before[release] = self.ends

    def _nothing_is_tried_over_and_over(self) -> None:
        assert self.killed_by[self.disk.staged] <= self.crash_limit
        for release in self.never_staged:
            assert self.killed_by[release] <= self.crash_limit - 1 + len(self.failures[release])
