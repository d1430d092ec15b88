"""The books: of every device, what was produced, ingested, shed, and what is missing, by sequence number."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from edgeloop.events import TIME
from edgeloop.lake import Lake, run_sql
from edgeloop.layout import Layout
from edgeloop.roster import read_roster
from edgeloop.store import Store
from ingest.quarantine import paths_held
from ingest.tables import BATCHES

SQL = Path(__file__).parents[1] / "sql"

_STATUSES = pa.schema(
    [
        ("device", pa.string()),
        ("epoch", pa.int32()),
        ("produced", pa.int64()),
        ("shed", pa.int64()),
        ("waiting", pa.int64()),
        ("time", TIME),
    ]
)


def completeness(store: Store, lake: Lake, layout: Layout) -> pa.Table:
    """The books of each device and epoch.

    Returns:
        device, epoch, produced, ingested, shed, missing, waiting (of the missing, those that the device says it still has),
        quarantined (batches of the device that are in quarantine now, put down to its newest epoch; their events are among the missing,
        as are those of dropped ones). produced = ingested + shed + missing in every row.
    """
    return run_sql(connect_books(store, lake, layout), SQL / "completeness.sql")


def connect_books(store: Store, lake: Lake, layout: Layout) -> duckdb.DuckDBPyConnection:
    """What books are drawn up from: `batches`; `statuses`, what devices last said of themselves and when; `held`, the device and
    the path of each batch in quarantine."""
    lake.ensure("batches", BATCHES)
    connection = lake.connect(batches=None)
    connection.register("statuses", _statuses(store, layout))
    connection.register("held", _held(store, layout))
    return connection


def _statuses(store: Store, layout: Layout) -> pa.Table:
    # An unreadable status says nothing; what arrived still counts.
    rows = [
        dict(zip(_STATUSES.names, (s.device, s.epoch, s.produced, s.shed, s.spooled, s.time), strict=True))
        for s in read_roster(store, layout).devices.values()
    ]
    return pa.Table.from_pylist(rows, schema=_STATUSES)


def _held(store: Store, layout: Layout) -> pa.Table:
    paths = [path for path in paths_held(store, layout) if layout.sender(path) is not None]
    devices = [layout.sender(path) for path in paths]
    return pa.table({"device": pa.array(devices, pa.string()), "path": pa.array(paths, pa.string())})
