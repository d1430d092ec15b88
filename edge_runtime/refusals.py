"""Releases that are not tried again on this device: which, why, and for how long.

1. A refusal lasts `[device] refuse_for`, and twice as long each time the same release is refused again: however bad it is,
   there is no loop of installing it.
2. Without `refuse_for`, or if it was made by hand, it lasts for ever; so does one of an older state, which has no time.
3. One that has ended is remembered for its count.

Time is handed in. The device's trusted time is meant, which falls back behind no verified one: a clock that jumps ahead ends a
refusal early, and then the self-test and the probation judge once more; one that falls back ends none.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

LONGEST = 200
"""Characters of a reason that are kept: it goes into the status, for every release."""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a release is refused, since when (None: for ever), and how often it was."""

    why: str
    at: datetime | None = None
    count: int = 1

    def holds(self, now: datetime, refuse_for: timedelta | None) -> bool:
        """Whether it has not ended yet."""
        if self.at is None or refuse_for is None:
            return True
        lasted: timedelta = (now - self.at) / 2 ** (self.count - 1)
        return lasted < refuse_for


class Refusals:
    """All refusals of one device, by manifest digest, the latest last.

    Args:
        known: what `encode` gave, or `{digest: why}` as older devices wrote it.
        refuse_for: how long the first refusal of a release lasts; None for ever.
    """

    def __init__(self, known: str, refuse_for: timedelta | None) -> None:
        found = msgspec.json.decode(known, type=dict[str, Refusal | str])
        self._known = {d: Refusal(r) if isinstance(r, str) else r for d, r in found.items()}
        self._refuse_for = refuse_for

    def add(self, release: str, why: str, at: datetime | None) -> None:
        """Refuse `release`, for ever if there is no `at`."""
        before = self._known.pop(release, None)
        self._known[release] = Refusal(why[:LONGEST], at, before.count + 1 if before else 1)

    def why(self, release: str, now: datetime) -> str:
        """Why `release` is refused; empty if it is not."""
        found = self._known.get(release)
        return found.why if found and found.holds(now, self._refuse_for) else ""

    def in_force(self, now: datetime) -> dict[str, str]:
        """Every release that is refused, and why; the latest last."""
        return {d: found.why for d, found in self._known.items() if found.holds(now, self._refuse_for)}

    def encode(self) -> str:
        """What a later `Refusals` is made from."""
        return msgspec.json.encode(self._known).decode()
