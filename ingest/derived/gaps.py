"""Which events are not in the lake: of every device the ranges of sequence numbers that no batch brought, and what became of them.

A device says how many events it shed, not which: so a range is of numbers that are missing, shed or still on their way, and the
books of its epoch say how many of each there are. Numbers between two of one batch are in no range. None of them can come any more, for
whatever brought one would overlap that batch: the device shed them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgeloop.errors import DataError
from edgeloop.lake import Lake, run_sql
from edgeloop.layout import BatchName, Layout
from edgeloop.store import Store
from ingest.derived.completeness import SQL, connect_books


@dataclass(frozen=True)
class Gap:
    """The numbers `first` to `last`, of none of which there is an event, as could be seen from `known` on. `quarantined` are the
    first numbers of the batches in quarantine that begin here, by their names."""

    first: int
    last: int
    known: datetime | None
    quarantined: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Gaps:
    """The books of a device's epoch, as `completeness` has them, and the gaps in its numbers; `within` is how many more are
    missing inside of batches."""

    device: str
    epoch: int
    produced: int
    ingested: int
    shed: int
    missing: int
    waiting: int
    quarantined: int
    within: int
    gaps: tuple[Gap, ...]


def find_gaps(store: Store, lake: Lake, layout: Layout) -> list[Gaps]:
    """Of each device and epoch, the books and the gaps; sum of the gaps + `within` = `shed` + `missing`."""
    connection = connect_books(store, lake, layout)
    books = run_sql(connection, SQL / "completeness.sql").to_pylist()
    held = sorted(_names(layout, (path for (path,) in connection.execute("SELECT path FROM held").fetchall())))
    found: dict[tuple[str, int], list[Gap]] = {}
    for row in run_sql(connection, SQL / "gaps.sql").to_pylist():
        device, epoch = row.pop("device"), row.pop("epoch")
        begin = (seq for d, e, seq in held if (d, e) == (device, epoch) and row["first"] <= seq <= row["last"])
        found.setdefault((device, epoch), []).append(Gap(**row, quarantined=tuple(begin)))
    return [_joined(row, found.get((row["device"], row["epoch"]), [])) for row in books]


def _joined(books: dict[str, Any], gaps: list[Gap]) -> Gaps:
    within = books["shed"] + books["missing"] - sum(map(len, gaps))
    return Gaps(**books, within=within, gaps=tuple(gaps))


def _names(layout: Layout, paths: Iterable[str]) -> Iterable[tuple[str, int, int]]:
    """Device, epoch and first sequence number of those that are called like a batch."""
    for path in paths:
        device, _, rest = path.removeprefix(f"{layout.inbox}/").partition("/")
        try:
            name = BatchName.parse(rest)
        except DataError:
            continue
        yield device, name.epoch, name.seq
