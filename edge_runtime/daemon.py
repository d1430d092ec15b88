"""The device as a process: readings in, predictions out, an exchange with the store every so often.

The calling thread predicts and does nothing else. Two more work beside it, so that neither a store that hangs delays a
prediction nor an input that is silent an exchange: one exchanges, the other has events written that waited long enough.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta

from edge_runtime.device import Device, Prediction
from edge_runtime.pulse import Pulse
from edge_runtime.readings import Reading
from edge_runtime.shipper import backoff

PATIENCE = 10.0
"""Seconds that the last exchange may go without a batch acknowledged; what is left then waits in the spool."""

JITTER = 0.2
"""The share of the time between two exchanges by which it differs from case to case: devices are not to fall into step."""


def serve(
    device: Device,
    readings: Iterable[Reading],
    every: timedelta,
    answer: Callable[[Prediction], None],
    *,
    pulse: Pulse | None = None,
    exchanged: Callable[[], None] = lambda: None,
    patience: float = PATIENCE,
) -> int:
    """Predict every reading until there are no more, exchanging with the store meanwhile and at the end.

    After a failed exchange the next waits longer, with full jitter. An exception, Ctrl-C too, ends it without a last exchange.
    A device that has no release yet, and so no predictions to give, exchanges first and waits for that; any other exchanges
    for the first time at a random moment of `every`, or a fleet that gets its power back would do so all at once.

    Args:
        every: how often to exchange; drawn anew each time, up to a fifth more or less.
        pulse: beats once a reading.
        exchanged: called after each exchange, on its thread.
        patience: seconds that the first exchange is waited for, and that the last may go without a batch acknowledged.

    Returns:
        how many readings were predicted.
    """
    exchange, writer = _Exchange(device, every, exchanged), _Writer(device)
    pulse = pulse or Pulse()
    count = 0
    try:
        exchange.start()
        writer.start()
        if not exchange.first_pause:
            exchange.stepped.wait(patience)
        for ts, reading in readings:
            with pulse.beat():
                answer(device.predict(reading, ts=ts))
            count += 1
        exchange.finish(patience)
    finally:
        exchange.stop()
        writer.stop()
    return count


class _Worker(threading.Thread):
    """Takes a step, pauses as many seconds as it says, and so on. A daemon: a process does not wait for a store that hangs."""

    def __init__(self, device: Device) -> None:
        super().__init__(name=type(self).__name__, daemon=True)
        self._device, self.first_pause = device, 0.0
        self.stepped, self._ending = threading.Event(), threading.Event()
        self._stopped = False

    def step(self) -> float:
        raise NotImplementedError

    def run(self) -> None:
        self._ending.wait(self.first_pause)
        while not self._stopped:
            last = self._ending.is_set()
            try:
                pause = self.step()
            except Exception:  # the outermost loop of this thread: nothing else would tell of it
                logging.getLogger("edgeloop").exception("%s failed, and goes on", self.name)
                pause = PATIENCE
            self.stepped.set()
            if last:
                return
            self._ending.wait(pause)

    def stop(self) -> None:
        """No more steps. One that waits for the store is left to itself."""
        self._stopped = True
        self._ending.set()


class _Exchange(_Worker):
    def __init__(self, device: Device, every: timedelta, exchanged: Callable[[], None]) -> None:
        super().__init__(device)
        self._every, self._exchanged, self._failures = every.total_seconds(), exchanged, 0
        self.first_pause = random.uniform(0, self._every) if device.status().release else 0.0

    def step(self) -> float:
        self._failures = 0 if self._device.exchange() else self._failures + 1
        self._exchanged()
        if self._failures:
            return backoff(self._failures).total_seconds()
        return self._every * random.uniform(1 - JITTER, 1 + JITTER)

    def finish(self, patience: float) -> None:
        """One more exchange, and wait for it while it gets on."""
        self._ending.set()
        before, acked = -1, self._device.status().acked
        while self.is_alive() and acked > before:
            self.join(patience)
            before, acked = acked, self._device.status().acked


class _Writer(_Worker):
    def step(self) -> float:
        self._device.flush_due()
        return max(0.05, self._device.settings.section.flush_every.total_seconds())
