"""The books: of every device, what was produced, ingested, shed, and what is missing, by sequence number."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from edgeloop.lake import Lake, run_sql
from edgeloop.layout import Layout
from edgeloop.roster import read_roster
from edgeloop.store import Store
from ingest.quarantine import paths_held
from ingest.tables import BATCHES

SQL = Path(__file__).parent / "sql"

_STATUSES = pa.schema(
    [
        ("device", pa.string()),
        ("epoch", pa.int32()),
        ("produced", pa.int64()),
        ("shed", pa.int64()),
        ("waiting", pa.int64()),
    ]
)


def completeness(store: Store, lake: Lake, layout: Layout) -> pa.Table:
    """The books of each device and epoch.

    Returns:
        device, epoch, produced, ingested, shed, missing, waiting (of the missing, those that the device says it still has),
        quarantined (batches of the device that are in quarantine now, put down to its newest epoch; their events are among the missing,
        as are those of dropped ones). produced = ingested + shed + missing in every row.
    """
    lake.ensure("batches", BATCHES)
    connection = lake.connect(batches=None)
    connection.register("statuses", _statuses(store, layout))
    connection.register("held", _held(store, layout))
    return run_sql(connection, SQL / "completeness.sql")


def _statuses(store: Store, layout: Layout) -> pa.Table:
    # An unreadable status says nothing; what arrived still counts.
    rows = [
        {"device": s.device, "epoch": s.epoch, "produced": s.produced, "shed": s.shed, "waiting": s.spooled}
        for s in read_roster(store, layout).devices.values()
    ]
    return pa.Table.from_pylist(rows, schema=_STATUSES)


def _held(store: Store, layout: Layout) -> pa.Table:
    inbox = f"{layout.inbox}/"
    devices = [path.removeprefix(inbox).split("/")[0] for path in paths_held(store, layout) if path.startswith(inbox)]
    return pa.table({"device": pa.array(devices, pa.string())})
