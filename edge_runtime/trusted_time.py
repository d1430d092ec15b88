"""The time that a device trusts: its clock, but never earlier than when metadata was verified last.

A clock that falls back, as one without a battery does to 1970, makes nothing fresh that has expired, and ends no refusal late.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from edge_runtime.spool import Spool
from edgeloop.clock import Clock

_DAY = timedelta(days=1)


class TrustedTime:
    """The trusted time of one device, durable in its spool. Is a `Clock`."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool, self._clock = spool, clock
        said = spool.get("verified_at", "")
        self.verified_at = datetime.fromisoformat(said) if said else None
        """When metadata was verified last; None if it never was."""

    def __call__(self) -> datetime:
        now = self._clock()
        return max(now, self.verified_at) if self.verified_at else now

    def verified(self, at: datetime) -> None:
        """Metadata was verified at the trusted time `at`; on disk with the step that is told next."""
        self.verified_at = at
        self._spool.put_with_next(verified_at=at.isoformat())

    def over(self, days: int) -> bool:
        """Whether the last verification is longer ago than `days`. Of a device that has none nothing is said."""
        return self.verified_at is not None and (self() - self.verified_at) / _DAY > days
