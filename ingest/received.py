"""How far the batches of each device go that were received, for a new one to be told from those at little cost.

`batches` has a row for each batch that ever came. Which sequence numbers are in the lake is a few ranges a device: they are kept in one
object, up to a plan, and joined with what `batches` has of later ones. Rules:
1. A range may span more than is in the lake, and never less. A batch that touches none is new; of one that does `batches` is asked.
2. The object is only a shortcut. Where there is none, it is damaged, or it is of another table, it is made again from `batches`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from edgeloop.errors import NotFound
from edgeloop.lake import Lake, open_duckdb, run_sql
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.known import Known, known_batches
from ingest.plan import AcceptedBatch
from ingest.tables import BATCHES
from ingest.upkeep.tombstones import read_tombstones

RANGES = 8
"""Of a device's epoch, at the most: below the newest ones, gaps count as received, and `batches` is asked more often."""

FILES = 16
"""Of later plans, from which on the ranges are written anew."""

_SQL = Path(__file__).parent / "sql"
_COLUMNS = ["device", "epoch", "first_seq", "last_seq"]
_SCHEMA = pa.schema([BATCHES.field(name) for name in _COLUMNS])


def known_beside(store: Store, lake: Lake, layout: Layout, batches: Collection[AcceptedBatch], finished: int) -> Known:
    """The batches in the lake that overlap, or are, one of `batches`, and maybe some others.

    Args:
        finished: the number up to which all plans are finished.
    """
    table = lake.table("batches")
    if table is None or not batches:
        return {}
    ranges = _ranges(store, lake, layout, table, finished)
    mine = ranges.filter(pc.is_in(ranges["device"], pa.array({batch.device for batch in batches}, pa.string())))
    devices = overlapping(mine, batches)
    theirs = [batch for batch in batches if batch.device in devices]
    numbers = (min((b.first_seq for b in theirs), default=0), max((b.last_seq for b in theirs), default=0))
    return known_batches(lake, devices, numbers) if devices else {}


def overlapping(ranges: pa.Table, batches: Iterable[AcceptedBatch]) -> set[str]:
    """The devices of the batches that touch a range."""
    spans: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for device, epoch, first, last in zip(*(ranges[name].to_pylist() for name in _COLUMNS), strict=True):
        spans.setdefault((device, epoch), []).append((first, last))
    return {
        batch.device
        for batch in batches
        if any(
            f <= batch.last_seq and batch.first_seq <= last for f, last in spans.get((batch.device, batch.epoch), [])
        )
    }


def join(ranges: pa.Table) -> pa.Table:
    """The same numbers in fewer ranges, `RANGES` of each device and epoch."""
    return run_sql(open_duckdb().register("ranges", ranges), _SQL / "received.sql", {"most": RANGES}).cast(_SCHEMA)


def _ranges(store: Store, lake: Lake, layout: Layout, table: DeltaTable, finished: int) -> pa.Table:
    """What was received, as ranges that may overlap; kept, if many files had to be read for it."""
    owner = str(table.metadata().id)
    kept, upto = _read(store, layout, owner)
    later = _files(table, upto)
    # Of what was rejected nothing is known.
    ranges = pa.concat_tables([kept, lake.read("batches", later, _SCHEMA)]).drop_null()
    if len(later) >= FILES:
        ranges = join(ranges)
        tombstones = read_tombstones(store, layout)  # of who is forgotten meanwhile nothing is to be kept
        ranges = ranges.filter(pa.array([not tombstones.refuses(d) for d in ranges["device"].to_pylist()], pa.bool_()))
        _write(store, layout, ranges, owner, finished)
    return ranges


def _files(table: DeltaTable, upto: int) -> list[str]:
    """The files of the table that may have rows of a plan after `upto`."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if "max.plan" in actions.column_names:
        actions = actions.filter(pc.fill_null(pc.greater(actions["max.plan"], upto), True))
    return [unquote(path) for path in actions["path"].to_pylist()]


def _read(store: Store, layout: Layout, owner: str) -> tuple[pa.Table, int]:
    try:
        found = pq.read_table(pa.BufferReader(store.read(layout.received)))
        words = found.schema.metadata or {}
        if words.get(b"table") == owner.encode():
            return found.select(_COLUMNS).cast(_SCHEMA), int(words[b"plan"])
    except (NotFound, pa.ArrowException, KeyError, ValueError):
        pass
    return _SCHEMA.empty_table(), 0


def _write(store: Store, layout: Layout, ranges: pa.Table, owner: str, upto: int) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(ranges.replace_schema_metadata({"table": owner, "plan": str(upto)}), sink, compression="zstd")
    store.replace(layout.received, sink.getvalue().to_pybytes())
