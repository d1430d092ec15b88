"""The device as a process: readings in, predictions out, an exchange with the store every so often.

The calling thread predicts and does nothing else. Two more work beside it, so that neither a store that hangs delays a
prediction nor an input that is silent an exchange: one exchanges, the other has events written that waited long enough.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from edge_runtime.device import Device, Prediction
from edge_runtime.shipper import backoff
from edgeloop.errors import ConfigError, DataError

Reading = tuple[datetime | None, dict[str, Any]]

PATIENCE = 10.0
"""Seconds that the last exchange may go without a batch acknowledged; what is left then waits in the spool."""


def serve(
    device: Device,
    readings: Iterable[Reading],
    every: timedelta,
    answer: Callable[[Prediction], None],
    *,
    patience: float = PATIENCE,
) -> int:
    """Predict every reading until there are no more, exchanging with the store meanwhile and at the end.

    After a failed exchange the next waits longer, with full jitter. An exception, Ctrl-C too, ends it without a last exchange.
    Only a device that has no release yet, and so no predictions to give, waits for the first exchange.

    Args:
        every: how often to exchange.
        patience: seconds that the first exchange is waited for, and that the last may go without a batch acknowledged.

    Returns:
        how many readings were predicted.
    """
    exchange, writer = _Exchange(device, every), _Writer(device)
    count = 0
    try:
        exchange.start()
        writer.start()
        if not device.status().release:
            exchange.stepped.wait(patience)
        for ts, reading in readings:
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
        self._device = device
        self.stepped, self._ending = threading.Event(), threading.Event()
        self._stopped = False

    def step(self) -> float:
        raise NotImplementedError

    def run(self) -> None:
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
    def __init__(self, device: Device, every: timedelta) -> None:
        super().__init__(device)
        self._every, self._failures = every, 0

    def step(self) -> float:
        self._failures = 0 if self._device.exchange() else self._failures + 1
        return (backoff(self._failures) if self._failures else self._every).total_seconds()

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


def read_lines(stream: IO[str], bad: Callable[[str], None]) -> Iterator[Reading]:
    """Readings from lines of JSON: an object of values by feature name, with `ts` (ISO 8601) if it was not measured just now.

    `bad` is told of each line that is none; the others go on.
    """
    for line in stream:
        if not line.strip():
            continue
        try:
            reading = json.loads(line)
            ts = reading.pop("ts", None)
            yield None if ts is None else _aware(datetime.fromisoformat(ts)), reading
        except (ValueError, AttributeError, TypeError) as error:
            bad(f"no reading, skipped: {line.strip()[:80]!r} ({error})")


def read_file(path: Path) -> Iterator[Reading]:
    """Readings from a Parquet or CSV file with a column `ts` and columns by feature name.

    Raises:
        ConfigError: it has no column `ts`.
        DataError: it cannot be read, or a `ts` is no time.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        table = pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}.", remedy="Name a Parquet or CSV file.") from error
    if "ts" not in table.column_names:
        raise ConfigError(f"{path} has no column 'ts'.", remedy="Name the time of each reading 'ts'.")
    for number, row in enumerate(table.to_pylist(), start=1):
        ts = row.pop("ts")
        try:
            yield _aware(ts if isinstance(ts, datetime) else datetime.fromisoformat(str(ts))), row
        except ValueError as error:
            raise DataError(
                f"row {number} of {path} has ts {str(ts)[:80]!r}, which is no time.",
                remedy="Write ISO 8601, such as 2024-01-31T12:00:00Z.",
            ) from error


def _aware(ts: datetime) -> datetime:
    return ts if ts.tzinfo else ts.replace(tzinfo=UTC)
