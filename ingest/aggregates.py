"""Aggregates of events: by device and hour, by feature and hour. Only months that something new arrived for are done again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake

from edgeloop.lake import Lake, run_sql
from ingest.tables import LABEL_ROWS

SQL = Path(__file__).parent / "sql"
TABLES = ("device_hourly", "feature_hourly")
WATERMARK = "aggregated_until"
"""Application of the transaction version that says up to which `ingested_at`, in µs, a table is up to date."""

_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)


def update_aggregates(lake: Lake) -> dict[str, int]:
    """Bring `device_hourly` and `feature_hourly` up to date; return the rows written to each."""
    if lake.table("events") is None:
        return {}
    lake.ensure("labels", LABEL_ROWS)
    return {name: _update(lake, name) for name in TABLES}


def _update(lake: Lake, name: str) -> int:
    connection = lake.connect(events=None, labels=None)
    query = "SELECT max(ingested_at) FROM (SELECT ingested_at FROM events UNION ALL SELECT ingested_at FROM labels)"
    ((until,),) = connection.execute(query).fetchall()
    table = lake.table(name)
    since = _EPOCH_0 + timedelta(microseconds=(table.transaction_version(WATERMARK) or 0) if table else 0)
    months = run_sql(connection, SQL / "touched_months.sql", {"since": since})["month"].to_pylist()
    if not months or until is None:
        return 0
    rows: pa.Table = run_sql(connection, SQL / f"{name}.sql", {"months": months})
    table = lake.ensure(name, rows.schema, ["month"])
    listed = ", ".join(f"'{month}'" for month in months)
    watermark = Transaction(WATERMARK, (until - _EPOCH_0) // timedelta(microseconds=1))
    write_deltalake(
        table,
        rows,
        mode="overwrite",
        predicate=f"month IN ({listed})",
        commit_properties=CommitProperties(app_transactions=[watermark]),
    )
    return int(rows.num_rows)
