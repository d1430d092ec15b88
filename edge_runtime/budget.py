"""What a device may send, and when: so much a day, and hours of the day. Decides; has no clock, disk or store.

Rules:
1. The amount is a token bucket: full at first, filled evenly, never over a day's amount. A batch may go while anything is left
   in it, and may take more than that; what it took too much is filled up first. So in any length of time no more goes than its
   share, a day's amount and a batch.
2. A clock that goes back fills nothing in. When it then jumps to where it was (1970, and then NTP), only what is beyond the latest
   time that it has shown counts: a device that starts in 1970 every time gets no amount by it.
3. Only what was acknowledged is taken off.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from edgeloop.config import DeviceSection

_DAY = timedelta(days=1)


class Allowance(msgspec.Struct, frozen=True, array_like=True):
    """What is `left` at the time `at`, in bytes; `latest` is the latest time that the clock has shown."""

    left: float
    at: datetime
    latest: datetime

    def at_time(self, now: datetime, a_day: float) -> Allowance:
        """As it is at `now`, with `a_day` bytes a day."""
        since = self.latest if self.at < self.latest <= now else self.at
        filled = max(0.0, (now - since) / _DAY) * a_day
        return Allowance(min(a_day, self.left + filled), now, max(now, self.latest))


class Budget:
    """The budgets of a device, for as long as it has these settings.

    Args:
        kept: what `spend` gave last; empty at first.
    """

    def __init__(self, section: DeviceSection, kept: str, now: datetime) -> None:
        self._window, self._a_day = section.window, section.upload_mb_per_day * 1e6
        full = Allowance(self._a_day, now, now)
        self._allowance = msgspec.json.decode(kept, type=Allowance) if kept else full

    def closed(self, now: datetime) -> str:
        """Why no batch may go, in a sentence; empty if one may."""
        opens = self._window.opens(now)
        if opens > now:
            return f"waits for {self._window} UTC"
        allowance = self._allowance.at_time(now, self._a_day)
        if not self._a_day or allowance.left > 0:
            return ""
        more = now + -allowance.left / self._a_day * _DAY
        return f"the {self._a_day / 1e6:g} MB of a day are used up until {more:%Y-%m-%d %H:%M} UTC"

    def spend(self, sent: int, now: datetime) -> str:
        """Take `sent` bytes off, if there is a limit; what to keep."""
        if self._a_day:
            allowance = self._allowance.at_time(now, self._a_day)
            self._allowance = msgspec.structs.replace(allowance, left=allowance.left - sent)
        return msgspec.json.encode(self._allowance).decode()
