"""At the door: what is of somebody who was forgotten is not taken in, and leaves no trace but a count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from edgeloop.events import TIME
from edgeloop.layout import Layout
from edgeloop.store import Entry, Store
from ingest.judging import Looked
from ingest.upkeep.tombstones import Tombstones


class Door:
    """Lets through what waits, but for batches of devices that were forgotten, which it deletes, unread, and counts: `refused`.

    No plan names them and none goes to quarantine: both would be kept.
    """

    def __init__(self, store: Store, layout: Layout, tombstones: Tombstones, waiting: Iterable[Entry]) -> None:
        self._store, self._layout, self._tombstones, self._waiting = store, layout, tombstones, waiting
        self.refused = 0

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._waiting:
            if self._tombstones.refuses(self._layout.sender(entry.path)):
                self._store.delete(entry.path)
                self.refused += 1
            else:
                yield entry


def without_refused(looked: Looked, layout: Layout, tombstones: Tombstones) -> Looked:
    """Files that were looked at, but for those of devices that were forgotten since: they wait for the next ingest to delete them."""
    if not tombstones:
        return looked
    batches = [batch for batch in looked.batches if not tombstones.refuses(batch.device)]
    rejected = [bad for bad in looked.rejected if not tombstones.refuses(layout.sender(bad.path))]
    return replace(looked, batches=batches, rejected=rejected)


def delete_statuses(store: Store, layout: Layout, tombstones: Tombstones) -> None:
    """Delete what devices that were forgotten say of themselves."""
    if tombstones:
        for entry in store.list(layout.statuses):
            if tombstones.refuses(entry.path.removeprefix(f"{layout.statuses}/").removesuffix(".json")):
                store.delete(entry.path)


def without_forgotten(rows: pa.Table, tombstones: Tombstones) -> pa.Table:
    """The rows that are of nobody who was forgotten, and of no span that was. `rows` has `device`, and `ts` or `hour` and `until`."""
    for device in pc.unique(rows["device"]).to_pylist() if tombstones else ():
        for since, until in tombstones.spans(device):
            rows = rows.filter(pc.invert(pc.and_(pc.equal(rows["device"], device), within(rows, since, until))))
    return rows


def within(rows: pa.Table, since: datetime, until: datetime | None) -> pa.ChunkedArray:
    """Which rows are of a time from `since` until before `until`, or of an hour, or a window of hours, that is in part."""
    if "ts" in rows.column_names:
        found, first = pc.greater_equal(rows["ts"], pa.scalar(since, TIME)), rows["ts"]
    else:
        first = rows["hour"]
        ends = rows["until"] if "until" in rows.column_names else pc.add(first, pa.scalar(timedelta(hours=1)))
        found = pc.greater(ends, pa.scalar(since, TIME))
    return found if until is None else pc.and_(found, pc.less(first, pa.scalar(until, TIME)))
