"""The updater's last steps: what it said, so that nothing between two exchanges with the store is unseen."""

from __future__ import annotations

import msgspec

from edge_runtime.spool import Spool
from edgeloop.clock import Clock
from edgeloop.status import UpdateState

KEPT = 8
"""Steps in a status."""

LONGEST = 400
"""Characters of a reason that are kept; a runtime's error can have any number."""


class History:
    """The steps of one device, durable in its spool.

    Args:
        first: what is said of a device that never took one.
    """

    def __init__(self, spool: Spool, clock: Clock, first: str) -> None:
        self._spool, self._clock = spool, clock
        said = spool.get("update", "")
        self.last = msgspec.json.decode(said, type=UpdateState) if said else UpdateState("idle", first, clock())
        self.steps = msgspec.json.decode(spool.get("steps", "[]"), type=tuple[UpdateState, ...])

    def say(self, state: str, reason: str, release: str = "") -> None:
        """Take a step; one that repeats the last is told anew, and stays one step."""
        self.note(state, reason, release)
        self.steps = _after(self.steps, self.last)
        self._spool.put(update=_text(self.last), steps=_text(self.steps))

    def note(self, state: str, reason: str, release: str = "") -> None:
        """Tell `last` for as long as this process goes on, and change nothing on disk."""
        self.last = UpdateState(state, reason[:LONGEST], self._clock(), release)


def _after(steps: tuple[UpdateState, ...], step: UpdateState) -> tuple[UpdateState, ...]:
    repeated = bool(steps) and (steps[-1].state, steps[-1].release) == (step.state, step.release)
    return steps if repeated else (*steps, step)[-KEPT:]


def _text(steps: UpdateState | tuple[UpdateState, ...]) -> str:
    return msgspec.json.encode(steps).decode()
