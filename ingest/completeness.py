"""The books: of every device, what was produced, ingested, shed, and what is missing, by sequence number."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from edgeloop.errors import DataError, NotFound
from edgeloop.lake import Lake, run_sql
from edgeloop.layout import Layout
from edgeloop.status import decode_status
from edgeloop.store import Store
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
        quarantined (rejected batches of the device). produced = ingested + shed + missing in every row.
    """
    lake.ensure("batches", BATCHES)
    connection = lake.connect(batches=None)
    connection.register("statuses", _statuses(store, layout))
    return run_sql(connection, SQL / "completeness.sql")


def _statuses(store: Store, layout: Layout) -> pa.Table:
    rows = []
    for entry in store.list(layout.statuses):
        try:
            status = decode_status(store.read(entry.path))
        except (DataError, NotFound):
            continue  # an unreadable status says nothing; what arrived still counts
        rows.append(
            {
                "device": status.device,
                "epoch": status.epoch,
                "produced": status.produced,
                "shed": status.shed,
                "waiting": status.spooled,
            }
        )
    return pa.Table.from_pylist(rows, schema=_STATUSES)
