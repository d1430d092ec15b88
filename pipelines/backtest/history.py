"""A user's table of history, read and checked: who, when, the label, the features.

Without a device column, `table.devices = N` cuts the rows, in their order, into N blocks of equal length, each a device.
Without a time column, row order is time: the rows of each device lie `table.interval` apart, and every device begins at the
same moment, 2020-01-01.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.events import LABELS, TIME
from edgeloop.lake import open_duckdb
from edgeloop.layout import safe_id
from edgeloop.schema import FROM_TIME

START = datetime(2020, 1, 1, tzinfo=UTC)
NOT_A_VALUE = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""What stands for a missing value in a CSV."""


@dataclass(frozen=True)
class History:
    """A checked table, by device and time: `__device`, `__ts` (µs, UTC, strictly rising within a device), `__label` (a class or null),
    and the features under their own names, numbers as float64 and categories as text. `notes` says what was left out or changed."""

    table: pa.Table
    features: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def devices(self) -> list[str]:
        """The ids of all devices."""
        return sorted(pc.unique(self.table["__device"]).to_pylist())

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The first and the last time."""
        bounds = pc.min_max(self.table["__ts"]).as_py()
        return bounds["min"].astimezone(UTC), bounds["max"].astimezone(UTC)

    def labels(self, delay: timedelta) -> pa.Table:
        """The labels as a label file has them: each known `delay` after its event."""
        rows = self.table.filter(pc.is_valid(self.table["__label"])).select(["__device", "__ts", "__label"])
        known_at = pc.add(rows["__ts"], pa.scalar(delay, pa.duration("us")))
        return rows.append_column("known_at", known_at).rename_columns(LABELS.names).cast(LABELS)


def write_readings(history: History, directory: Path, joins: dict[str, datetime], end: datetime) -> dict[str, Path]:
    """Write the readings of each device to a file of its own, from when it joins until `end`; the files by device id."""
    directory.mkdir(parents=True, exist_ok=True)
    found = {}
    for device in history.devices:
        rows = history.table.filter(pc.equal(history.table["__device"], device))
        inside = pc.less(rows["__ts"], pa.scalar(end, TIME))
        if device in joins:
            inside = pc.and_(inside, pc.greater_equal(rows["__ts"], pa.scalar(joins[device], TIME)))
        rows = rows.filter(inside)
        if rows.num_rows:
            found[device] = directory / f"{device}.parquet"
            pq.write_table(rows.select(["__ts", *history.features]), found[device])
    return found


def open_table(paths: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """DuckDB with the files as the view `source`, their rows in order as `__row`.

    Raises:
        DataError: nothing matches, or a file cannot be read.
    """
    files = sorted({name for path in paths for name in _matching(path)})
    connection = open_duckdb()
    connection.execute("SET preserve_insertion_order = true")
    for file in files:
        if Path(file).is_dir():
            raise DataError(
                f"{file} is a directory.", remedy=f"Name its files with a glob, such as '{file}/*.parquet'."
            )
        if not Path(file).is_file():
            raise DataError(
                f"{file}: there is no such file, and nothing matches.",
                remedy="Name a Parquet file, a CSV, or a glob in quotes.",
            )
    parquet = [f for f in files if f.lower().endswith((".parquet", ".pq"))]
    nothing = f"nullstr = [{', '.join(map(text, NOT_A_VALUE))}]"
    parts = [
        f"SELECT * FROM {reader}([{', '.join(map(text, names))}], union_by_name = true{options})"
        for reader, names, options in (
            ("read_parquet", parquet, ""),
            ("read_csv", [f for f in files if f not in parquet], f", {nothing}"),
        )
        if names
    ]
    try:
        connection.execute(
            f"CREATE TABLE source AS SELECT *, row_number() OVER () - 1 AS __row FROM ({' UNION ALL BY NAME '.join(parts)})"
        )
    except duckdb.Error as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:3])
        raise DataError(
            f"{', '.join(files)} cannot be read: {reason[:400]}",
            remedy="It must be a whole Parquet or CSV file with a header.",
        ) from error
    if ours := [name for name in column_types(connection) if name.startswith("__")]:
        raise DataError(f"{ours[0]!r} cannot be a column's name.", remedy="Rename it: edgeloop's own begin with '__'.")
    if _count(connection, "SELECT count(*) FROM source") == 0:
        raise DataError(f"{', '.join(files)} holds no rows.", remedy="Name a file with data.")
    return connection


def _matching(path: str) -> list[str]:
    """The files that a name or a glob stands for; the name itself if none."""
    given = Path(path)
    if given.is_file() or not set(path) & set("*?["):
        return [path]
    return [str(found) for found in Path(given.anchor or ".").glob(str(given.relative_to(given.anchor)))] or [path]


def column_types(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The columns of `source` and their DuckDB types."""
    rows = connection.execute("DESCRIBE source").fetchall()
    return {name: kind for name, kind, *_ in rows if name != "__row"}


def read_history(paths: Sequence[str], config: LoopConfig) -> History:
    """Read the files as one table and check it against the loop.

    Raises:
        DataError: a column is missing or of the wrong kind, a label is no class; the message names it and the remedy.
    """
    connection = open_table(paths)
    types = column_types(connection)
    schema = config.schema()
    raw = [f for f in schema.features if f.kind not in FROM_TIME]
    _demand_columns(config, [f.name for f in raw], types)
    notes: list[str] = []
    device = _device_sql(config)
    selected = [
        f"{device} AS __device",
        f"{_time_sql(config, types, device)} AS __ts",
        f"{_label_sql(config, types)} AS __label",
    ]
    for feature in raw:
        selected.append(_feature_sql(feature.name, feature.kind, types))
    connection.execute(f"CREATE TABLE history AS SELECT __row, {', '.join(selected)} FROM source")
    _demand_labels(connection, config)
    dropped = _count(connection, "SELECT count(*) FROM history WHERE __device IS NULL OR __ts IS NULL")
    if dropped:
        notes.append(f"{dropped} rows without a device or a readable time were left out")
    found = connection.sql(_RISING).to_arrow_table()
    if not found.num_rows:
        raise DataError(
            "no row has both a device and a time that can be read.",
            remedy="Check table.device and table.time: a time is ISO text, or a number of seconds to nanoseconds since 1970.",
        )
    nudged = pc.sum(found["__nudged"]).as_py()
    if nudged:
        notes.append(
            f"{nudged} rows share device and time with another; each was moved on by a microsecond, in row order"
        )
    found = _with_safe_ids(found.drop_columns(["__nudged"]), notes)
    return History(found, tuple(f.name for f in raw), notes)


# Rows of one device and time are moved on by a microsecond each; the window over the whole device keeps that from running
# into the next reading, which would have to come within microseconds.
_RISING = """
SELECT
    __device::VARCHAR AS __device,
    (__ts + to_microseconds(__rank - 1))::TIMESTAMPTZ AS __ts,
    __label,
    COLUMNS(lambda c: NOT starts_with(c, '__')),
    (__rank > 1)::INTEGER AS __nudged
FROM (
    SELECT *, row_number() OVER (PARTITION BY __device, __ts ORDER BY __row) AS __rank
    FROM history
    WHERE __device IS NOT NULL AND __ts IS NOT NULL
)
ORDER BY __device, __ts, __row
"""


def text(value: str) -> str:
    """A text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def quote(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def _demand_columns(config: LoopConfig, features: list[str], types: dict[str, str]) -> None:
    wanted = {"label.column": [config.label.column], "features": features}
    wanted |= {f"table.{key}": [name] for key in ("device", "time") if (name := getattr(config.table, key))}
    for key, names in wanted.items():
        for name in names:
            if name not in types:
                close = difflib.get_close_matches(name, types, 1)
                hint = f"Did you mean {close[0]!r}?" if close else f"The table has: {', '.join(list(types)[:20])}."
                raise DataError(f"{key} names {name!r}, which the table does not have.", remedy=hint)
    if not config.table.device and not config.table.devices:
        raise DataError(
            "the loop names no device column.",
            remedy="Set table.device, or table.devices = N to cut the rows into N blocks.",
        )


def _device_sql(config: LoopConfig) -> str:
    if config.table.device:
        return f"nullif({quote(config.table.device)}::VARCHAR, '')"
    digits = len(str(config.table.devices))
    return f"format('device-{{:0{digits}d}}', (__row * {config.table.devices}) // (SELECT count(*) FROM source) + 1)"


def _time_sql(config: LoopConfig, types: dict[str, str], device: str) -> str:
    name = config.table.time
    if not name:
        step = int(config.table.interval.total_seconds() * 1e6)
        nth = f"row_number() OVER (PARTITION BY {device} ORDER BY __row) - 1"
        return f"TIMESTAMPTZ '{START.isoformat()}' + to_microseconds({step} * ({nth}))"
    return time_sql(name, types[name])


def time_sql(name: str, kind: str) -> str:
    """SQL for the column `name`, of DuckDB type `kind`, as a time; null where it is none.

    Raises:
        DataError: that type cannot be a time.
    """
    column = quote(name)
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"{column}::TIMESTAMPTZ"
    if kind == "VARCHAR":
        return f"try_cast({column} AS TIMESTAMPTZ)"
    if _numeric(kind):
        # Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size: 1973 to 2286 in each.
        whole = not kind.startswith(("FLOAT", "DOUBLE", "DECIMAL"))
        column, divide = (f"{column}::HUGEINT", "//") if whole else (column, "/")
        return (
            f"make_timestamptz((CASE WHEN NOT isfinite({column}::DOUBLE) OR {column} >= 1e19 THEN NULL"
            f" WHEN {column} >= 1e17 THEN {column} {divide} 1000 WHEN {column} >= 1e14 THEN {column}"
            f" WHEN {column} >= 1e11 THEN {column} * 1000 WHEN {column} >= 1e8 THEN {column} * 1000000 END)::BIGINT)"
        )
    raise DataError(
        f"table.time names {name!r}, which is of type {kind}.",
        remedy="It must be a time, ISO text, or a number since 1970.",
    )


def _label_sql(config: LoopConfig, types: dict[str, str]) -> str:
    kind, column = types[config.label.column], quote(config.label.column)
    if config.label.cuts:
        if not _numeric(kind):
            raise DataError(
                f"label.column {config.label.column!r} is of type {kind}, label.cuts needs numbers.",
                remedy="Remove label.cuts.",
            )
        cuts = ", ".join(f"{cut!r}::DOUBLE" for cut in config.label.cuts)
        names = ", ".join(map(text, config.label.classes))
        index = f"len(list_filter([{cuts}], lambda cut: cut <= {column}))"
        return f"CASE WHEN {column} IS NULL OR isnan({column}::DOUBLE) THEN NULL ELSE ([{names}])[{index} + 1] END"
    return label_text(column, kind)


def label_text(column: str, kind: str) -> str:
    """SQL for a label's value as a class name: whole numbers without a fraction, anything else as text; empty is null."""
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        number = f"{column}::DOUBLE"
        whole = f"WHEN {number} = floor({number}) AND abs({number}) < 1e15 THEN ({column}::BIGINT)::VARCHAR"
        return f"CASE WHEN NOT isfinite({number}) THEN NULL {whole} ELSE {column}::VARCHAR END"
    return f"nullif({column}::VARCHAR, '')"


def _feature_sql(name: str, kind: str, types: dict[str, str]) -> str:
    column = quote(name)
    if kind in ("category", "hashed"):
        return f"{label_text(column, types[name])} AS {column}"
    if _numeric(types[name]) or types[name] == "BOOLEAN":
        return f"{column}::DOUBLE AS {column}"
    raise DataError(
        f"features.numbers names {name!r}, which is of type {types[name]}.",
        remedy="Move it to [features.categories] with its values, or take it out.",
    )


def _numeric(kind: str) -> bool:
    return kind.endswith("INT") or kind.startswith(("INTEGER", "UINTEGER", "DECIMAL", "FLOAT", "DOUBLE", "HUGEINT"))


def _demand_labels(connection: duckdb.DuckDBPyConnection, config: LoopConfig) -> None:
    found = {
        v: n
        for v, n in connection.execute("SELECT __label, count(*) FROM history GROUP BY 1").fetchall()
        if v is not None
    }
    strangers = sorted(set(found) - set(config.label.classes))
    if strangers:
        shown = ", ".join(f"{value!r} ({found[value]} rows)" for value in strangers[:5])
        raise DataError(
            f"label column {config.label.column!r} has values that label.classes does not list: {shown}.",
            remedy="Add them to label.classes, or mend the data.",
        )
    if not found:
        raise DataError(f"label column {config.label.column!r} has no value in any row.", remedy="Check label.column.")


def _with_safe_ids(table: pa.Table, notes: list[str]) -> pa.Table:
    names = pc.unique(table["__device"]).to_pylist()
    changed = {name: safe_id(name) for name in names if safe_id(name) != name}
    if not changed:
        return table
    shown = ", ".join(f"{old!r} → {new}" for old, new in list(changed.items())[:3])
    notes.append(f"{len(changed)} device names cannot be part of a path and were changed: {shown}")
    ids = pa.array([changed.get(name, name) for name in table["__device"].to_pylist()], pa.string())
    return table.set_column(0, "__device", ids)


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    ((found,),) = connection.execute(query).fetchall()
    return int(found)
