"""Aggregates of events: by device and hour, by feature and hour. Only months that something new arrived for are done again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from edgeloop.lake import Lake, run_sql
from ingest.tables import LABEL_ROWS

SQL = Path(__file__).parent / "sql"
TABLES = {"device_hourly": ("events", "labels"), "feature_hourly": ("events",)}
"""What each is made from."""


def update_aggregates(lake: Lake) -> dict[str, int]:
    """Bring `device_hourly` and `feature_hourly` up to date; return the rows written to each.

    Each keeps, as application transactions named after its sources, the versions of them that it was made from. What came
    since is what their logs say: no clock has a part in it.
    """
    if lake.table("events") is None:
        return {}
    lake.ensure("labels", LABEL_ROWS)
    return {name: _update(lake, name, sources) for name, sources in TABLES.items()}


def _update(lake: Lake, name: str, sources: tuple[str, ...]) -> int:
    versions = {source: lake.version(source) for source in sources}
    months = _touched_months(lake, lake.table(name), versions)
    if not months:
        return 0
    rows: pa.Table = run_sql(lake.connect(**versions), SQL / f"{name}.sql", {"months": months})
    listed = ", ".join(f"'{month}'" for month in months)
    watermarks = [Transaction(source, version) for source, version in versions.items()]
    write_deltalake(
        lake.ensure(name, rows.schema, ["month"]),
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
        if source == "events":
            months |= set(rows.to_table(["month"])["month"].unique().to_pylist())
        else:
            times = rows.to_table(["ts"])["ts"]
            months |= set(pc.strftime(times, "%Y-%m").unique().to_pylist())
    return sorted(months)
