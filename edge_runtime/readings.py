"""Readings, from lines or messages of JSON and from files: when one was measured, if not just now, and its values by feature name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from edgeloop.errors import ConfigError, DataError

Reading = tuple[datetime | None, dict[str, Any]]


def parse_reading(text: str | bytes | bytearray) -> Reading:
    """A reading from JSON: an object of values by feature name, with `ts` (ISO 8601) if it was not measured just now.

    Raises:
        DataError: it is none.
    """
    try:
        reading = json.loads(text)
        ts = reading.pop("ts", None)
        return None if ts is None else _aware(datetime.fromisoformat(ts)), reading
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"no reading, skipped: {text[:80]!r} ({error})") from error


def read_lines(stream: IO[str], bad: Callable[[str], None]) -> Iterator[Reading]:
    """Readings from lines as `parse_reading` takes them. `bad` is told of each line that is none; the others go on."""
    for line in stream:
        if not line.strip():
            continue
        try:
            reading = parse_reading(line.strip())
        except DataError as error:
            bad(error.message)
        else:
            yield reading


def read_file(path: Path) -> Iterator[Reading]:
    """Readings from a Parquet or CSV file with a column `ts` and columns by feature name.

    Raises:
        ConfigError: it has no column `ts`, or pyarrow is not installed.
        DataError: it cannot be read, or a `ts` is no time.
    """
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ConfigError(
            "readings from a file need pyarrow, which is not installed.", remedy="pip install 'edgeloop[replay]'"
        ) from error

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
