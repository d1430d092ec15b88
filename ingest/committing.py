"""A plan's rows, appended to the lake's tables: to each once, whoever carries the plan out and however often."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction, write_deltalake

from edgeloop.config import LoopConfig
from edgeloop.errors import NotFound, StoreError
from edgeloop.events import TIME, lake_schema
from edgeloop.lake import Lake, own_errors
from edgeloop.sketches import AGGREGATES, EVENTS
from edgeloop.store import Store
from ingest.checks.check import MAX_BYTES, check_labels, read_aggregates, read_batch
from ingest.lanes import application
from ingest.plan import AcceptedBatch, Plan
from ingest.tables import BATCHES, LABEL_ROWS, SKETCHES
from ingest.upkeep.refusing import without_forgotten
from ingest.upkeep.tombstones import Tombstones, read_tombstones

Decoded = Mapping[str, pa.Table]
"""The rows of batches that were looked at just now, by digest: these are not read again."""

LOST = "it was gone from the store, or changed, after it was planned and before it was committed"


def commit(store: Store, lake: Lake, config: LoopConfig, plan: Plan, decoded: Decoded) -> set[str]:
    """Append what the plan accepts, but for what was forgotten, and its verdicts; the digests of the batches that are done with
    then: all of them is in the lake that is to be. May be repeated.

    Raises:
        StoreError: the store failed; do it again.
    """
    taken = set[str]()
    tombstones = read_tombstones(store, config.layout)
    if plan.batches and not any(batch.kind == EVENTS for batch in plan.batches):
        lake.ensure("events", lake_schema(config.schema()), ["month"])  # what a loop has to keep are its columns
    for kind in _kinds(config):
        if batches := [batch for batch in plan.batches if batch.kind == kind.name]:
            taken |= _append_batches(store, lake, plan, kind, batches, decoded, tombstones)
    if plan.batches or plan.rejected:
        _append_once(lake, "batches", BATCHES, plan, lambda: _batch_rows(config, plan, taken))
    if plan.labels:
        _append_once(lake, "labels", LABEL_ROWS, plan, lambda: _label_rows(store, config, plan, tombstones))
    return taken


@dataclass(frozen=True)
class _Kind:
    """A kind of batches: the table that takes their rows, how these are read, and the column that says of what month they are."""

    name: str
    table: str
    schema: pa.Schema
    time: str
    read: Callable[[bytes], pa.Table]


def _kinds(config: LoopConfig) -> tuple[_Kind, ...]:
    return (
        _Kind(EVENTS, "events", lake_schema(config.schema()), "ts", lambda content: read_batch(content, config)),
        _Kind(AGGREGATES, "sketches", SKETCHES, "hour", read_aggregates),
    )


def _append_batches(
    store: Store,
    lake: Lake,
    plan: Plan,
    kind: _Kind,
    batches: Sequence[AcceptedBatch],
    decoded: Decoded,
    tombstones: Tombstones,
) -> set[str]:
    """Append the rows of `batches`, once; the digests of those that are in the table then."""
    taken = set[str]()  # also those of which nothing is left because it was forgotten: they are not missing

    def rows() -> pa.Table:
        found = _rows(store, plan, kind, batches, decoded)
        taken.update(found["batch"].unique().to_pylist())
        return without_forgotten(found, tombstones)

    appended = _append_once(lake, kind.table, kind.schema, plan, rows, ["month"])
    return _taken(lake, plan, kind.table) if appended is None else taken


def _append_once(
    lake: Lake,
    name: str,
    schema: pa.Schema,
    plan: Plan,
    make: Callable[[], pa.Table],
    partition_by: list[str] | None = None,
) -> pa.Table | None:
    """Append what `make` gives as the plan's transaction; the rows, or None if the table has that already."""
    transaction = Transaction(application(plan.lane), plan.number)
    rows: pa.Table | None = None
    for last in (False, False, True):
        table = lake.ensure(name, schema, partition_by)
        if (table.transaction_version(transaction.app_id) or 0) >= plan.number:
            return None  # also if another ingest carried out this very plan, or this one did, and the reply was lost
        rows = make() if rows is None else rows
        try:
            # Through this very handle: one that is opened again would not see that another writer has committed in between.
            # A lake of an earlier version has fewer columns; those of events are checked at the start.
            with own_errors(name):
                commit = CommitProperties(app_transactions=[transaction])
                write_deltalake(table, rows, mode="append", schema_mode="merge", commit_properties=commit)
            return rows
        except StoreError:
            if last:
                raise
    return rows


def _rows(store: Store, plan: Plan, kind: _Kind, batches: Sequence[AcceptedBatch], decoded: Decoded) -> pa.Table:
    found = [(batch, rows) for batch in batches if (rows := _rows_of(store, kind, batch, decoded)) is not None]
    own = pa.schema([field for field in kind.schema if field.name not in _ADDED])
    rows = pa.concat_tables([own.empty_table(), *(rows for _, rows in found)]).combine_chunks()
    columns = dict(zip(rows.column_names, rows.columns, strict=True))
    which = pa.array(np.repeat(np.arange(len(found)), [rows.num_rows for _, rows in found]))
    for name, attribute in _OF_THE_BATCH.items():
        values = pa.array([getattr(batch, attribute) for batch, _ in found], kind.schema.field(name).type)
        columns[name] = values.take(which)
    columns["ingested_at"] = pa.repeat(pa.scalar(plan.created, TIME), rows.num_rows)
    columns["month"] = _months(rows[kind.time])
    return pa.Table.from_arrays([columns[name] for name in kind.schema.names], schema=kind.schema)


_OF_THE_BATCH = {"device": "device", "epoch": "epoch", "batch": "sha256"}
_ADDED = {*_OF_THE_BATCH, "ingested_at", "month"}


def _months(times: pa.ChunkedArray) -> pa.Array:
    """`YYYY-MM` of each, which is said once for each month, for to say it is slow."""
    months = pc.floor_temporal(times, unit="month").combine_chunks().dictionary_encode()
    return pc.strftime(months.dictionary, "%Y-%m").take(months.indices)


def _rows_of(store: Store, kind: _Kind, batch: AcceptedBatch, decoded: Decoded) -> pa.Table | None:
    if (rows := decoded.get(batch.sha256)) is not None:
        return rows
    content = _read_planned(store, batch.path, batch.sha256)
    return None if content is None else kind.read(content)


def _read_planned(store: Store, path: str, digest: str) -> bytes | None:
    """What the plan is about; None if it is gone, or another object has its name."""
    try:
        content = store.read(path, MAX_BYTES)
    except NotFound:
        return None
    return content if sha256(content).hexdigest() == digest else None


def _batch_rows(config: LoopConfig, plan: Plan, taken: set[str]) -> pa.Table:
    plain = {"plan": plan.number, "ingested_at": plan.created}
    rows = []
    for batch in plan.batches:
        accepted = batch.sha256 in taken
        words = {"verdict": "accepted", "reason": ""} if accepted else {"verdict": "lost", "reason": LOST}
        rows.append({**msgspec.structs.asdict(batch), **words, **plain})
    for bad in plan.rejected:
        device = config.layout.sender(bad.path)
        rows.append({"path": bad.path, "device": device, "verdict": "rejected", "reason": bad.reason, **plain})
    return pa.Table.from_pylist(rows, schema=BATCHES)


def _taken(lake: Lake, plan: Plan, table: str) -> set[str]:
    """The digests of the plan's batches that are in `table`, where an earlier try has put them."""
    connection = lake.connect(**{table: None})
    rows = connection.execute(f"SELECT DISTINCT batch FROM {table} WHERE ingested_at = ?", [plan.created])
    return {batch for (batch,) in rows.fetchall()}


def _label_rows(store: Store, config: LoopConfig, plan: Plan, tombstones: Tombstones) -> pa.Table:
    parts = [LABEL_ROWS.empty_table()]
    for file in plan.labels:
        content = _read_planned(store, file.path, file.sha256)
        if content is None:
            continue
        rows = check_labels(content, config, plan.created)
        rows = rows.append_column("source", pa.repeat(file.source, rows.num_rows))
        rows = rows.append_column("ingested_at", pa.repeat(pa.scalar(plan.created, TIME), rows.num_rows))
        parts.append(rows.cast(LABEL_ROWS))
    return without_forgotten(pa.concat_tables(parts), tombstones)
