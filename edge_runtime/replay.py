"""A device process of a backtest: real devices fed from files, moved through simulated time by lines on stdin.

    python -m edge_runtime.replay SPECIFICATION.json

The specification is `{"devices": [{"home": …, "readings": …}]}`; readings are Parquet with `__ts`, strictly rising, and a column a
feature. Each line `{"now": …, "until": …, "online": [device, …]}` is answered by one line of statuses. A process that was
killed goes on, when started again and given the same line, behind the last event that its spool has: nothing twice, nothing left
out.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from edge_runtime.device import Device
from edgeloop.clock import SimulatedClock
from edgeloop.errors import EdgeloopError, StoreError

ROWS = 4096
PATIENCE = 60.0
"""Seconds of real time that a store may be away at a tick without the device missing it."""


class Replay:
    """One device and what is left of its readings."""

    def __init__(self, device: Device, clock: SimulatedClock, readings: Path) -> None:
        self._device, self._clock = device, clock
        self._rows = _read(readings, device.last_event)
        self._next = next(self._rows, None)

    @property
    def name(self) -> str:
        return self._device.settings.device

    def advance(self, now: datetime, until: datetime, online: bool) -> msgspec.Raw:
        """Live until `until`: poll at `now`, predict every reading before `until`, then ship and report; the status as JSON."""
        self._clock.now = now
        if online:
            _until_done(self._poll)
        device, clock = self._device, self._clock
        while self._next is not None and self._next[0] < until:
            ts, reading = self._next
            clock.now = ts
            device.predict(reading, ts=ts)
            self._next = next(self._rows, None)
        clock.now = until
        device.flush()
        if online:
            for step in (device.ship, device.report):
                _until_done(step)
        return msgspec.Raw(device.status().encode())

    def _poll(self) -> None:
        self._device.poll()
        update = self._device.status().update
        if update.state == "no-store":
            raise StoreError(update.reason)


def _until_done(step: Callable[[], None]) -> None:
    """Do `step` again while the store is away, as a device does between two ticks, which are days apart."""
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(EdgeloopError):
        while True:
            try:
                return step()
            except StoreError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


def _read(path: Path, after: datetime | None) -> Iterator[tuple[datetime, Mapping[str, Any]]]:
    for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS):
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        times = columns.pop("__ts")
        names = tuple(columns)
        for ts, values in zip(times, zip(*columns.values(), strict=True), strict=True):
            if after is None or ts > after:
                yield ts, dict(zip(names, values, strict=True))


def main(specification: Path) -> None:
    """Serve the lines on stdin until it ends."""
    with ExitStack() as stack:
        replays = []
        for entry in json.loads(specification.read_text())["devices"]:
            clock = SimulatedClock(datetime.fromisoformat(entry["start"]))
            device = stack.enter_context(Device.open(Path(entry["home"]), clock=clock))
            replays.append(Replay(device, clock, Path(entry["readings"])))
        for line in sys.stdin:
            command = json.loads(line)
            now, until = (datetime.fromisoformat(command[key]) for key in ("now", "until"))
            online = set(command["online"])
            found = {r.name: r.advance(now, until, r.name in online) for r in replays}
            sys.stdout.write(msgspec.json.encode({"devices": found}).decode() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
