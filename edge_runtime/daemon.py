"""The device as a process: readings in, predictions out, an exchange with the store every so often."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from edge_runtime.device import Device, Prediction
from edge_runtime.shipper import backoff
from edgeloop.clock import Clock
from edgeloop.errors import ConfigError, DataError

Reading = tuple[datetime | None, dict[str, Any]]


def serve(
    device: Device, readings: Iterable[Reading], every: timedelta, clock: Clock, answer: Callable[[Prediction], None]
) -> int:
    """Predict every reading until there are no more, exchanging with the store `every` so often and at the end.

    After a failed exchange the next waits longer, with full jitter; inference does not wait for it.

    Returns:
        how many readings were predicted.
    """
    due, failures, count = clock(), 0, 0
    for ts, reading in readings:
        if clock() >= due:
            device.exchange()
            failures = failures + 1 if device.status().update.state == "no-store" else 0
            due = clock() + (backoff(failures) if failures else every)
        answer(device.predict(reading, ts=ts))
        count += 1
    device.exchange()
    return count


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
        DataError: the file cannot be read.
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
    for row in table.to_pylist():
        ts = row.pop("ts")
        yield (_aware(ts) if isinstance(ts, datetime) else _aware(datetime.fromisoformat(str(ts)))), row


def _aware(ts: datetime) -> datetime:
    return ts if ts.tzinfo else ts.replace(tzinfo=UTC)
