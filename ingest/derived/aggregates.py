"""Aggregates of events, sketches and labels by the hour. Only hours that something came for, or left, are made again.

What an aggregate is stands in `sql/<name>.sql`, as a query of all that there is. It is asked of the rows of touched hours alone, a
month at a time, and the answer takes the place of what there was of these hours: so the table has what it would give of all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from edgeloop.errors import NotFound
from edgeloop.lake import Lake, own_errors, run_sql
from edgeloop.sketches import HOUR
from edgeloop.truth import SQL as TRUTH
from edgeloop.truth import add_truth
from ingest.derived.kept import kept_since
from ingest.derived.sketched import by_device, by_feature, by_release
from ingest.derived.touched import BEGINNING, KEYS, Touched, by_month, changed, hours_of, needed, span, spans
from ingest.tables import LABEL_ROWS, SKETCHES

SQL = Path(__file__).parents[1] / "sql"
TIMES = {"events": "ts", "sketches": "hour", "labels": "ts"}
"""The column of each source that says of what hour a row is."""

MONTH = "partition.month"

RECIPE = "recipe"
"""The application transaction that says by what query a table was made: by another one, everything is made again."""

Tables = dict[str, DeltaTable]


@dataclass(frozen=True)
class Aggregate:
    """A table by the hour, if `device` also by the device; `sketched` gives what its query needs of sketches, which SQL cannot read."""

    name: str
    sources: tuple[str, ...]
    sketched: Callable[[duckdb.DuckDBPyConnection], pa.Table]
    device: bool = False

    @property
    def keys(self) -> str:
        """The columns that say what is made again as one."""
        return "device, hour" if self.device else "hour"

    @property
    def query(self) -> Path:
        """What it is, in SQL."""
        return SQL / f"{self.name}.sql"


AGGREGATES = (
    Aggregate("device_hourly", ("events", "sketches", "labels"), by_device, device=True),
    Aggregate("release_hourly", ("events", "sketches", "labels"), by_release),
    Aggregate("feature_hourly", ("events", "sketches"), by_feature),
)


@dataclass(frozen=True)
class Made:
    """What was done for a table: the rows that were made, of so many hours, from so many files of its sources, `of` so many."""

    rows: int = 0
    hours: int = 0
    files: int = 0
    of: int = 0


def update_aggregates(lake: Lake, *, mark: bool = False) -> dict[str, Made]:
    """Bring the aggregates up to date; return what was done for each.

    With `mark` they say so even if there was nothing to do, at the price of a version: before the log of their sources is dropped.

    Each keeps, as application transactions named after its sources, the versions of them that it was made from. It is written
    through the handle that these were read from: of two updates at once the later fails, and there is nothing to mend.
    """
    if lake.table("events") is None:
        return {}
    return {aggregate.name: update_aggregate(lake, aggregate, mark=mark) for aggregate in AGGREGATES}


def update_aggregate(lake: Lake, aggregate: Aggregate, *, mark: bool = False) -> Made:
    """Bring one up to date, where there is a table of events; return what was done. `mark` is as above."""
    lake.ensure("labels", LABEL_ROWS)
    lake.ensure("sketches", SKETCHES, ["month"])
    old = lake.table(aggregate.name)
    sources = {name: table for name in aggregate.sources if (table := lake.table(name))}
    recipe = _recipe(lake, aggregate)
    known = old if old and old.transaction_version(RECIPE) == recipe else None
    # What is of before stays as it is: its rows are gone.
    since = kept_since(sources.get("events"), sources.get("sketches")) if old else None
    touched = _touched(lake, sources, known, since or BEGINNING) if known else None
    if touched is None:
        months = _months([*sources.values(), *([old] if old else [])])
        touched = by_month(KEYS.empty_table(), months, since or BEGINNING)
    marks = {RECIPE: recipe, **{name: table.version() for name, table in sources.items()}}
    if not touched:
        if mark and known and any(known.transaction_version(name) != version for name, version in marks.items()):
            _mark(aggregate, known, marks)
        return Made()
    parts = [_make(lake, aggregate, sources, known, month) for month in touched]
    made, kept = (pa.concat_tables(tables) for tables in zip(*(part[:2] for part in parts), strict=True))
    table = old or lake.ensure(aggregate.name, made.schema, ["month"])
    where = _places(touched) if known else f"hour >= '{since.isoformat()}'" if since else None
    _write(aggregate, table, pa.concat_tables([made, kept]), where, marks)
    files, of = sum(part[2] for part in parts), sum(len(table.file_uris()) for table in sources.values())
    return Made(made.num_rows, len(made["hour"].unique()), files, of)


def _write(aggregate: Aggregate, table: DeltaTable, rows: pa.Table, where: str | None, marks: dict[str, int]) -> None:
    """Put `rows` in the place of those `where`, or, if that is None, of all, whatever columns they had."""
    with own_errors(aggregate.name):
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=where,
            schema_mode="merge" if where else "overwrite",
            commit_properties=_properties(marks),
        )


def _mark(aggregate: Aggregate, table: DeltaTable, marks: dict[str, int]) -> None:
    """Say that the table is up to date as it is: the log of before may go."""
    by = table.metadata().partition_columns
    with own_errors(aggregate.name):
        table.create_write_transaction([], "append", table.schema(), by, commit_properties=_properties(marks))


def _properties(marks: dict[str, int]) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(*mark) for mark in marks.items()])


def _recipe(lake: Lake, aggregate: Aggregate) -> int:
    """Of what a table is made, beside its rows: the query, and which of an event's labels counts."""
    truth = (
        (TRUTH.read_bytes(), repr(tuple(lake.label_sources or ())).encode()) if "labels" in aggregate.sources else ()
    )
    return int.from_bytes(sha256(b"\n".join((aggregate.query.read_bytes(), *truth))).digest()[:7])


def _touched(lake: Lake, sources: Tables, known: DeltaTable, kept: datetime) -> list[Touched] | None:
    """What is to be made again of each month, of what is `kept` since then; None if that is everything there is."""
    keys, whole = [KEYS.empty_table()], set[str]()
    for name, table in sources.items():
        since = known.transaction_version(name)
        if since == table.version():
            continue
        if since is None or since > table.version():
            return None
        try:
            files = changed(lake.commits(name, since + 1, table.version()))
        except NotFound:
            return None
        rows, gone = lake.read_files(name, files)
        months = {files[path].partition.get("month") for path in gone}
        if None in months:
            return None
        whole |= {month for month in months if month}
        keys.append(hours_of(rows, TIMES[name]))
    return by_month(pa.concat_tables(keys), whole, kept)


def _months(tables: Iterable[DeltaTable]) -> set[str]:
    """The months of those of the tables that are by month."""
    found = (pa.table(table.get_add_actions(flatten=True)) for table in tables)
    return {m for files in found if MONTH in files.column_names for m in files[MONTH].unique().to_pylist()}


def _make(
    lake: Lake, aggregate: Aggregate, sources: Tables, known: DeltaTable | None, touched: Touched
) -> tuple[pa.Table, pa.Table, int]:
    """The rows of what is touched of a month; those of the same days that stay as they are; how many files the first are from."""
    connection, files = lake.connect(), 0
    if touched.keys is not None:
        connection.register("touched", touched.keys)
    places = spans(touched, device=aggregate.device)
    for name, table in sources.items():
        paths = needed(pa.table(table.get_add_actions(flatten=True)), TIMES[name], places)
        lake.add_part(connection, name, table, paths, view=f"{name}_files")
        connection.execute(f"CREATE VIEW {name} AS FROM {name}_files {_where(aggregate, touched, TIMES[name])}")
        files += len(paths)
    if "labels" in sources:
        add_truth(connection, lake.label_sources or ())
    connection.register("sketched", aggregate.sketched(connection))
    made = run_sql(connection, aggregate.query)
    if known is None or touched.keys is None:
        return made, made.schema.empty_table(), files
    paths = needed(pa.table(known.get_add_actions(flatten=True)), "hour", span(*touched.days))
    lake.add_part(connection, aggregate.name, known, paths, view="known")
    columns = ", ".join(made.column_names)
    query = f"SELECT {columns} FROM known ANTI JOIN touched USING ({aggregate.keys}) WHERE {_between('hour', *touched.days)}"
    return made, connection.sql(query).to_arrow_table().cast(made.schema), files


def _where(aggregate: Aggregate, touched: Touched, time: str) -> str:
    """What leaves the touched rows of `<source>_files`; by the time alone first, for that skips parts of files unread."""
    within = _between(time, *touched.days)
    if touched.keys is None:
        return f"WHERE {within}"
    hour = f"make_timestamptz(epoch_us({time}) // {HOUR} * {HOUR})"  # as the queries have it
    keys = f"(device, {hour})" if aggregate.device else hour
    return f"WHERE {within} AND {keys} IN (SELECT {aggregate.keys} FROM touched)"


def _between(time: str, first: datetime, until: datetime) -> str:
    return f"{time} >= '{first.isoformat()}' AND {time} < '{until.isoformat()}'"


def _places(touched: Iterable[Touched]) -> str:
    """The condition on all rows of the touched days, for Delta: it reads, and writes anew, files with such days alone."""
    return " OR ".join(f"(month = '{part.month}' AND {_between('hour', *part.days)})" for part in touched)
