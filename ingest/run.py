"""Ingest: plan, commit, finish.

Rules:
1. *Plan*: check every waiting file and write the verdicts as plan *n*, create-only. Nothing is done that is not in a plan.
2. *Commit*: append to each table through the handle whose transaction version was read, as application transaction *n*. A
   table that has *n* is skipped. Of two writers on one version the later fails, and finds *n* there when it looks again.
3. *Finish*: move what was rejected to quarantine with its reason, delete what is in the lake.
4. Every step can be repeated. A start begins with committing and finishing the latest plan again; where it was finished, that
   finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction, write_deltalake

from edgeloop.config import LoopConfig
from edgeloop.errors import AlreadyExists, DataError, NotFound
from edgeloop.events import TIME, lake_schema
from edgeloop.lake import Lake
from edgeloop.store import Entry, Store
from ingest.check import MAX_BYTES, check_batch, check_labels, read_batch
from ingest.plan import PLAN_VERSION, AcceptedBatch, AcceptedLabels, Plan, Rejected, latest_plan
from ingest.tables import BATCHES, LABEL_ROWS

PLAN_FILES = 2000
"""Files a plan takes at the most; what waits beyond that gets the next plan. Bounds memory."""

APPLICATION = "ingest"


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did. `plan` is the number of its last plan, 0 if there was nothing to do; `recovered` says that an
    earlier ingest had not finished."""

    plan: int
    batches: int
    rows: int
    duplicates: int
    rejected: int
    labels: int
    label_files: int
    recovered: bool


def ingest(store: Store, lake: Lake, config: LoopConfig, now: datetime) -> IngestReport:
    """Take in everything that waits, once.

    Raises:
        StoreError: the store failed; run it again.
        AlreadyExists: another ingest of this loop is under way and was first; nothing is lost.
    """
    latest = latest_plan(store, config.layout)
    recovered = latest is not None and _carry_out(store, lake, config, latest)
    number = latest.number if latest else 0
    done: list[Plan] = []
    while plan := make_plan(store, lake, config, number + 1, now):
        _write_plan(store, config, plan)
        _carry_out(store, lake, config, plan)
        done.append(plan)
        number = plan.number
    return IngestReport(
        plan=done[-1].number if done else 0,
        batches=sum(len(p.batches) for p in done),
        rows=sum(b.rows for p in done for b in p.batches),
        duplicates=sum(len(p.duplicates) for p in done),
        rejected=sum(len(p.rejected) + len(p.rejected_labels) for p in done),
        labels=sum(f.rows for p in done for f in p.labels),
        label_files=sum(len(p.labels) for p in done),
        recovered=recovered,
    )


def make_plan(store: Store, lake: Lake, config: LoopConfig, number: int, now: datetime) -> Plan | None:
    """Check what waits; None if nothing does. Changes nothing."""
    batches = sorted(store.list(config.layout.inbox), key=lambda e: e.path)[:PLAN_FILES]
    labels = sorted(store.list(config.layout.labels), key=lambda e: e.path)[:PLAN_FILES]
    if not batches and not labels:
        return None
    accepted, duplicates, rejected = _judge_batches(store, lake, config, batches, now)
    good_labels, bad_labels = _judge_labels(store, config, labels, now)
    return Plan(PLAN_VERSION, number, config.name, now, accepted, duplicates, rejected, good_labels, bad_labels)


def _judge_batches(
    store: Store, lake: Lake, config: LoopConfig, waiting: list[Entry], now: datetime
) -> tuple[tuple[AcceptedBatch, ...], tuple[str, ...], tuple[Rejected, ...]]:
    accepted: list[AcceptedBatch] = []
    duplicates: list[str] = []
    rejected: list[Rejected] = []
    known = _known_batches(lake) if waiting else {}
    for entry in waiting:
        try:
            content = _read(store, entry)
            batch = check_batch(entry.path, content, config, now)
            others = known.setdefault((batch.device, batch.epoch), [])
            if any(sha == batch.sha256 for _, _, sha in others):
                duplicates.append(entry.path)
                continue
            _demand_fresh_sequence(batch, others)
        except NotFound:
            continue  # taken away by another ingest since the listing
        except DataError as error:
            rejected.append(Rejected(entry.path, str(error)))
            continue
        others.append((batch.first_seq, batch.last_seq, batch.sha256))
        accepted.append(batch)
    return tuple(accepted), tuple(duplicates), tuple(rejected)


def _demand_fresh_sequence(batch: AcceptedBatch, others: Iterable[tuple[int, int, str]]) -> None:
    for first, last, sha in others:
        if first <= batch.last_seq and batch.first_seq <= last:
            raise DataError(
                f"its events {batch.first_seq} to {batch.last_seq} overlap those of batch {sha[:12]} ({first} to {last}).",
                remedy="Two devices use one id, or a device was restored from an old copy: give it a new epoch.",
            )


def _known_batches(lake: Lake) -> dict[tuple[str, int], list[tuple[int, int, str]]]:
    """The batches in the lake by device and epoch: (first, last sequence number, digest)."""
    if lake.table("batches") is None:
        return {}
    rows = lake.connect(batches=None).execute(
        "SELECT device, epoch, first_seq, last_seq, sha256 FROM batches WHERE verdict = 'accepted'"
    )
    known: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
    for device, epoch, first, last, sha in rows.fetchall():
        known.setdefault((device, epoch), []).append((first, last, sha))
    return known


def _judge_labels(
    store: Store, config: LoopConfig, waiting: list[Entry], now: datetime
) -> tuple[tuple[AcceptedLabels, ...], tuple[Rejected, ...]]:
    accepted, rejected = [], []
    for entry in waiting:
        try:
            rows = check_labels(_read(store, entry), config, now)
            accepted.append(AcceptedLabels(entry.path, entry.path.split("/")[-2], rows.num_rows))
        except NotFound:
            continue
        except DataError as error:
            rejected.append(Rejected(entry.path, str(error)))
    return tuple(accepted), tuple(rejected)


def _read(store: Store, entry: Entry) -> bytes:
    if not 0 < entry.size <= MAX_BYTES:
        raise DataError(f"it has {entry.size} bytes, 1 to {MAX_BYTES} are taken.")
    return store.read(entry.path)


def _write_plan(store: Store, config: LoopConfig, plan: Plan) -> None:
    try:
        store.create(config.layout.plan(plan.number), plan.encode())
    except AlreadyExists as error:
        raise AlreadyExists(
            f"plan {plan.number} of {config.name} was written by another ingest.",
            remedy="Let it finish; nothing is lost.",
        ) from error


def _carry_out(store: Store, lake: Lake, config: LoopConfig, plan: Plan) -> bool:
    """Commit and finish a plan, or what is left of that; whether anything was."""
    committed = _commit(store, lake, config, plan)
    finished = _finish(store, config, plan)
    return committed or finished


def _commit(store: Store, lake: Lake, config: LoopConfig, plan: Plan) -> bool:
    schema = lake_schema(config.schema())
    wrote = False
    if plan.batches:
        wrote |= _append_once(
            lake, "events", schema, plan.number, lambda: _event_rows(store, config, plan, schema), ["month"]
        )
    if plan.batches or plan.rejected:
        wrote |= _append_once(lake, "batches", BATCHES, plan.number, lambda: _batch_rows(config, plan))
    if plan.labels:
        wrote |= _append_once(lake, "labels", LABEL_ROWS, plan.number, lambda: _label_rows(store, config, plan))
    return wrote


def _append_once(
    lake: Lake,
    name: str,
    schema: pa.Schema,
    number: int,
    rows: Callable[[], pa.Table],
    partition_by: list[str] | None = None,
) -> bool:
    table = lake.ensure(name, schema, partition_by)
    if (table.transaction_version(APPLICATION) or 0) >= number:
        return False
    # Through this very handle: one that is opened again would not see that another writer has committed in between.
    commit = CommitProperties(app_transactions=[Transaction(APPLICATION, number)])
    write_deltalake(table, rows(), mode="append", commit_properties=commit)
    return True


def _event_rows(store: Store, config: LoopConfig, plan: Plan, schema: pa.Schema) -> pa.Table:
    parts = []
    for batch in plan.batches:
        rows = read_batch(store.read(batch.path), config)
        constant = {"device": batch.device, "epoch": batch.epoch, "batch": batch.sha256, "ingested_at": plan.created}
        for column, value in constant.items():
            rows = rows.append_column(
                schema.field(column), pa.repeat(pa.scalar(value, schema.field(column).type), rows.num_rows)
            )
        parts.append(rows.append_column("month", pc.strftime(rows["ts"], "%Y-%m")))
    return pa.concat_tables(parts).select(schema.names).cast(schema)


def _batch_rows(config: LoopConfig, plan: Plan) -> pa.Table:
    plain = {"plan": plan.number, "ingested_at": plan.created}
    rows = [{**msgspec.structs.asdict(b), **plain, "verdict": "accepted", "reason": ""} for b in plan.batches]
    for bad in plan.rejected:
        device = bad.path.removeprefix(f"{config.layout.inbox}/").split("/")[0]
        rows.append({"path": bad.path, "device": device, "verdict": "rejected", "reason": bad.reason, **plain})
    return pa.Table.from_pylist(rows, schema=BATCHES)


def _label_rows(store: Store, config: LoopConfig, plan: Plan) -> pa.Table:
    parts = []
    for file in plan.labels:
        rows = check_labels(store.read(file.path), config, plan.created)
        rows = rows.append_column("source", pa.repeat(file.source, rows.num_rows))
        parts.append(rows.append_column("ingested_at", pa.repeat(pa.scalar(plan.created, TIME), rows.num_rows)))
    return pa.concat_tables(parts).cast(LABEL_ROWS)


def _finish(store: Store, config: LoopConfig, plan: Plan) -> bool:
    waiting = {entry.path for folder in (config.layout.inbox, config.layout.labels) for entry in store.list(folder)}
    left = waiting.intersection(plan.paths)
    for bad in (*plan.rejected, *plan.rejected_labels):
        if bad.path in left:
            _quarantine(store, config, bad)
    for path in sorted(left):
        store.delete(path)
    return bool(left)


def _quarantine(store: Store, config: LoopConfig, bad: Rejected) -> None:
    inside = bad.path.removeprefix(f"{config.layout.root}/").removeprefix("inbox/")
    reason = msgspec.json.encode({"path": bad.path, "reason": bad.reason})
    store.replace(f"{config.layout.quarantine}/{inside}", store.read(bad.path))
    store.replace(f"{config.layout.quarantine}/{inside}.reason.json", reason)
