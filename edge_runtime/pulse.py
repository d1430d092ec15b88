"""The pulse of the loop that predicts, for whoever asks from another thread: does it get on, how many, how fast.

While it waits for a reading it is well, however long that takes; while it has one, it is to be done with it soon.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

RECENT = 1024
"""Of how many of the last predictions quantiles are."""


class Pulse:
    """Beaten by one thread, felt by any."""

    def __init__(self) -> None:
        self.beats, self.seconds, self.skipped = 0, 0.0, 0
        self._since: float | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)

    @contextmanager
    def beat(self) -> Iterator[None]:
        """Around all that is done for one reading."""
        self._since = began = time.monotonic()
        try:
            yield
        finally:
            self._since = None
        took = time.monotonic() - began
        self.beats += 1
        self.seconds += took
        self._recent.append(took)

    def skip(self) -> None:
        """Count what came and was no reading."""
        self.skipped += 1

    @property
    def stuck(self) -> float:
        """Seconds for which the reading in hand is in hand; 0 while there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def quantiles(self, *shares: float) -> list[float]:
        """Seconds that these shares of the recent predictions took at the most; none before the first one."""
        recent = sorted(self._recent)
        return [recent[min(len(recent) - 1, int(share * len(recent)))] for share in shares] if recent else []
