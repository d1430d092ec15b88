"""Time, handed in.

No event, label, document or decision gets its time from anything but a `Clock`, and only `system_clock` asks the machine,
so that a backtest can run four years in minutes and a test can set a device's clock to 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]

EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
"""From where microseconds are counted in events."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""What a clock shows before this is not the time: it was never set."""


def system_clock() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


class SimulatedClock:
    """A clock that moves when it is told to.

    Args:
        now: the first time it shows; must carry a time zone.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now
