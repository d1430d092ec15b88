"""Aggregates of events and sketches: by device and hour, by feature and hour. Only months that something new came for are done again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from edgeloop.lake import Lake, own_errors, run_sql
from ingest.sketched import by_device, by_feature
from ingest.tables import LABEL_ROWS, SKETCHES

SQL = Path(__file__).parent / "sql"
TABLES = {"device_hourly": ("events", "sketches", "labels"), "feature_hourly": ("events", "sketches")}
"""What each is made from."""

SKETCHED = {"device_hourly": by_device, "feature_hourly": by_feature}
"""What the query of each needs from sketches, which SQL cannot read."""


def update_aggregates(lake: Lake) -> dict[str, int]:
    """Bring `device_hourly` and `feature_hourly` up to date; return the rows written to each.

    Each keeps, as application transactions named after its sources, the versions of them that it was made from. What came
    since is what their logs say: no clock has a part in it.
    """
    if lake.table("events") is None:
        return {}
    lake.ensure("labels", LABEL_ROWS)
    lake.ensure("sketches", SKETCHES, ["month"])
    return {name: _update(lake, name, sources) for name, sources in TABLES.items()}


def _update(lake: Lake, name: str, sources: tuple[str, ...]) -> int:
    versions = {source: lake.version(source) for source in sources}
    months = _touched_months(lake, lake.table(name), versions)
    if not months:
        return 0
    connection = lake.connect(**versions)
    connection.register("sketched", SKETCHED[name](connection, months))
    rows: pa.Table = run_sql(connection, SQL / f"{name}.sql", {"months": months})
    listed = ", ".join(f"'{month}'" for month in months)
    watermarks = [Transaction(source, version) for source, version in versions.items()]
    table = lake.ensure(name, rows.schema, ["month"])
    with own_errors(name):
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=f"month IN ({listed})",
            commit_properties=CommitProperties(app_transactions=watermarks),
        )
    return int(rows.num_rows)


def _touched_months(lake: Lake, table: DeltaTable | None, versions: dict[str, int]) -> list[str]:
    """The months, as `YYYY-MM`, of what came to the sources since `table` was brought up to date."""
    months: set[str] = set()
    for source, version in versions.items():
        since = table.transaction_version(source) if table else None
        if since == version:
            continue
        rows = lake.added(source, -1 if since is None else since)
        if source == "labels":
            times = rows.to_table(["ts"])["ts"]
            months |= set(pc.strftime(times, "%Y-%m").unique().to_pylist())
        else:
            months |= set(rows.to_table(["month"])["month"].unique().to_pylist())
    return sorted(months)
