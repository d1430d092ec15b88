"""Ingest: plan, commit, finish.

Rules:
1. *Plan*: check every waiting file and write the verdicts as plan *n*, create-only. Nothing is done that is not in a plan.
2. *Commit*: append to each table through the handle whose transaction version was read, as application transaction *n*. A
   table that has *n* is skipped. Of two writers on one version the later fails, and finds *n* there when it looks again.
3. *Finish*: move what was rejected to quarantine with its reason, delete what is in the lake.
4. Every step can be repeated. A start begins with committing and finishing the latest plan again, unless it is marked as done.
5. A plan is about the very objects that were looked at. What was put under the same name afterwards waits for the next plan; a
   batch that is gone before it was committed is written down as lost. Neither stops the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction, write_deltalake

from edgeloop.config import LoopConfig
from edgeloop.errors import AlreadyExists, ConfigError, DataError, NotFound, StoreError
from edgeloop.events import TIME, lake_schema
from edgeloop.lake import Lake, own_errors
from edgeloop.sketches import AGGREGATES, EVENTS
from edgeloop.store import Entry, Store
from ingest.check import MAX_BYTES, check_batch, check_labels, label_source, read_aggregates, read_batch
from ingest.plan import PLAN_VERSION, AcceptedBatch, AcceptedLabels, Plan, Rejected, latest_plan, write_done
from ingest.quarantine import hold
from ingest.rejects import by_reason, by_sender
from ingest.tables import BATCHES, LABEL_ROWS, SKETCHES
from ingest.waiting import Waiting, list_waiting

PLAN_FILES = 2000
"""Files a plan takes at the most; what waits beyond that gets the next plan. Bounds memory."""

APPLICATION = "ingest"

LOST = "it was gone from the store, or changed, after it was planned and before it was committed"


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did. `plan` is the number of its last plan, 0 if there was nothing to do; `recovered` says that an
    earlier ingest had not finished. `reasons` and `senders` count what was `rejected`, the most frequent first; `hidden` are the
    folders that cannot be listed (ingest/waiting.py)."""

    plan: int
    batches: int
    rows: int
    duplicates: int
    rejected: int
    labels: int
    label_files: int
    recovered: bool
    reasons: dict[str, int]
    senders: dict[str, int]
    hidden: tuple[str, ...] = ()


def ingest(store: Store, lake: Lake, config: LoopConfig, now: datetime) -> IngestReport:
    """Take in everything that waits, once. What comes meanwhile is for the next time, or a busy fleet would never let it end.

    Raises:
        ConfigError: the loop's features are not those of its lake.
        StoreError: the store failed; run it again.
        AlreadyExists: another ingest of this loop is under way and was first; nothing is lost.
    """
    _demand_same_columns(lake, config)
    number, unfinished = latest_plan(store, config.layout)
    if unfinished:
        _carry_out(store, lake, config, unfinished)
    done: list[Plan] = []
    waiting = list_waiting(store, config.layout)
    while plan := make_plan(store, lake, config, waiting, number + 1, now):
        _write_plan(store, config, plan)
        _carry_out(store, lake, config, plan)
        done.append(plan)
        number = plan.number
        if len(plan.objects) < PLAN_FILES:
            break
        waiting = list_waiting(store, config.layout)
    rejected = [bad for p in done for bad in (*p.rejected, *p.rejected_labels)]
    return IngestReport(
        plan=done[-1].number if done else 0,
        batches=sum(len(p.batches) for p in done),
        rows=sum(b.rows for p in done for b in p.batches),
        duplicates=sum(len(p.duplicates) for p in done),
        rejected=len(rejected),
        labels=sum(f.rows for p in done for f in p.labels),
        label_files=sum(len(p.labels) for p in done),
        recovered=unfinished is not None,
        reasons=by_reason(rejected),
        senders=by_sender(config.layout, rejected),
        hidden=waiting.hidden,
    )


def make_plan(
    store: Store, lake: Lake, config: LoopConfig, waiting: Waiting, number: int, now: datetime
) -> Plan | None:
    """Check what waits; None if nothing does that can be read. Changes nothing."""
    accepted, duplicates, rejected = _judge_batches(store, lake, config, waiting.batches, now)
    good_labels, bad_labels = _judge_labels(store, config, waiting.labels, now)
    plan = Plan(PLAN_VERSION, number, config.name, now, accepted, duplicates, rejected, good_labels, bad_labels)
    return plan if plan.objects else None


def _demand_same_columns(lake: Lake, config: LoopConfig) -> None:
    table = lake.table("events")
    if table is None:
        return
    there, wanted = {field.name for field in table.schema().fields}, set(lake_schema(config.schema()).names)
    if there != wanted:
        raise ConfigError(
            f"the features of loop {config.name!r} are not those of its lake: {', '.join(sorted(there ^ wanted)[:8])}.",
            remedy="A loop keeps its features: put them back, or give the loop with the new ones another name.",
        )


def _judge_batches(
    store: Store, lake: Lake, config: LoopConfig, waiting: list[Entry], now: datetime
) -> tuple[tuple[AcceptedBatch, ...], tuple[str, ...], tuple[Rejected, ...]]:
    accepted: list[AcceptedBatch] = []
    duplicates: list[str] = []
    rejected: list[Rejected] = []
    known = known_batches(lake) if waiting else {}
    for entry in waiting:
        if len(accepted) + len(duplicates) + len(rejected) == PLAN_FILES:
            break  # counted here, for what is listed and cannot be read would else be all that a plan looks at
        try:
            content = _read(store, entry)
            batch = check_batch(entry.path, content, config, now)
            others = known.setdefault((batch.device, batch.epoch), [])
            if any(sha == batch.sha256 for _, _, sha in others):
                duplicates.append(entry.path)
                continue
            demand_fresh_sequence(batch, others)
        except NotFound:
            continue  # taken away by another ingest since the listing, or of a name that no request can say
        except DataError as error:
            rejected.append(Rejected(entry.path, str(error), version=entry.version))
            continue
        others.append((batch.first_seq, batch.last_seq, batch.sha256))
        accepted.append(msgspec.structs.replace(batch, version=entry.version, stored_at=entry.modified))
    return tuple(accepted), tuple(duplicates), tuple(rejected)


def demand_fresh_sequence(batch: AcceptedBatch, others: Iterable[tuple[int, int, str]]) -> None:
    """Demand that no batch of the same device and epoch has one of the batch's sequence numbers. Raises `DataError`."""
    for first, last, sha in others:
        if first <= batch.last_seq and batch.first_seq <= last:
            raise DataError(
                f"its events {batch.first_seq} to {batch.last_seq} overlap those of batch {sha[:12]} ({first} to {last}).",
                remedy="Two devices use one id, or a device was restored from an old copy: give it a new epoch.",
            )


def known_batches(lake: Lake) -> dict[tuple[str, int], list[tuple[int, int, str]]]:
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


def knows_labels(lake: Lake, rows: pa.Table, source: str) -> bool:
    """Whether the lake has every one of these labels. It keeps no digest of a label file: its rows tell."""
    if lake.table("labels") is None:
        return False
    connection = lake.connect(labels=None).register("carried", rows)
    query = """
        SELECT count(*) FROM (
            SELECT device, ts, label, known_at FROM carried
            EXCEPT SELECT device, ts, label, known_at FROM labels WHERE source = ?
        )
    """
    return connection.execute(query, [source]).fetchone() == (0,)


def _judge_labels(
    store: Store, config: LoopConfig, waiting: list[Entry], now: datetime
) -> tuple[tuple[AcceptedLabels, ...], tuple[Rejected, ...]]:
    accepted: list[AcceptedLabels] = []
    rejected: list[Rejected] = []
    for entry in waiting:
        if len(accepted) + len(rejected) == PLAN_FILES:
            break
        try:
            content = _read(store, entry)
            rows = check_labels(content, config, now)
            digest = sha256(content).hexdigest()
            accepted.append(
                AcceptedLabels(entry.path, label_source(entry.path, config), rows.num_rows, digest, entry.version)
            )
        except NotFound:
            continue
        except DataError as error:
            rejected.append(Rejected(entry.path, str(error), version=entry.version))
    return tuple(accepted), tuple(rejected)


def _read(store: Store, entry: Entry) -> bytes:
    if not 0 < entry.size <= MAX_BYTES:
        raise DataError(f"it has {entry.size} bytes, 1 to {MAX_BYTES} are taken.")
    return store.read(entry.path, entry.size)  # what has grown since it was listed is not to fill the memory


def _write_plan(store: Store, config: LoopConfig, plan: Plan) -> None:
    try:
        store.create(config.layout.plan(plan.number), plan.encode())
    except AlreadyExists as error:
        raise AlreadyExists(
            f"plan {plan.number} of {config.name} was written by another ingest.",
            remedy="Let it finish; nothing is lost.",
        ) from error


def _carry_out(store: Store, lake: Lake, config: LoopConfig, plan: Plan) -> None:
    """Commit and finish a plan, or what is left of that."""
    _commit(store, lake, config, plan)
    _finish(store, config, plan)
    write_done(store, config.layout, plan.number)


def _commit(store: Store, lake: Lake, config: LoopConfig, plan: Plan) -> None:
    taken = set[str]()
    if plan.batches:  # whatever kind comes first: its columns are those that the loop has to keep
        lake.ensure("events", lake_schema(config.schema()), ["month"])
    for kind in _kinds(config):
        if batches := [batch for batch in plan.batches if batch.kind == kind.name]:
            taken |= _append_batches(store, lake, plan, kind, batches)
    if plan.batches or plan.rejected:
        _append_once(lake, "batches", BATCHES, plan.number, lambda: _batch_rows(config, plan, taken))
    if plan.labels:
        _append_once(lake, "labels", LABEL_ROWS, plan.number, lambda: _label_rows(store, config, plan))


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


def _append_batches(store: Store, lake: Lake, plan: Plan, kind: _Kind, batches: Sequence[AcceptedBatch]) -> set[str]:
    """Append the rows of `batches`, once; the digests of those that are in the table then."""
    rows = _append_once(
        lake, kind.table, kind.schema, plan.number, lambda: _rows(store, plan, kind, batches), ["month"]
    )
    return _taken(lake, plan, kind.table) if rows is None else set(rows["batch"].unique().to_pylist())


def _append_once(
    lake: Lake,
    name: str,
    schema: pa.Schema,
    number: int,
    make: Callable[[], pa.Table],
    partition_by: list[str] | None = None,
) -> pa.Table | None:
    """Append what `make` gives as application transaction `number`; the rows, or None if the table has that already."""
    table = lake.ensure(name, schema, partition_by)
    if (table.transaction_version(APPLICATION) or 0) >= number:
        return None
    rows = make()
    # Through this very handle: one that is opened again would not see that another writer has committed in between.
    commit = CommitProperties(app_transactions=[Transaction(APPLICATION, number)])
    try:
        # A lake of an earlier version has fewer columns; those of events are checked at the start.
        with own_errors(name):
            write_deltalake(table, rows, mode="append", schema_mode="merge", commit_properties=commit)
    except StoreError:
        again = lake.table(name)
        if again is not None and (again.transaction_version(APPLICATION) or 0) >= number:
            return None  # another ingest carried out this very plan, or this one did, and the reply was lost
        raise
    return rows


def _rows(store: Store, plan: Plan, kind: _Kind, batches: Sequence[AcceptedBatch]) -> pa.Table:
    schema = kind.schema
    parts = [schema.empty_table()]
    for batch in batches:
        content = _read_planned(store, batch.path, batch.sha256)
        if content is None:
            continue
        rows = kind.read(content)
        constant = {"device": batch.device, "epoch": batch.epoch, "batch": batch.sha256, "ingested_at": plan.created}
        for column, value in constant.items():
            rows = rows.append_column(
                schema.field(column), pa.repeat(pa.scalar(value, schema.field(column).type), rows.num_rows)
            )
        rows = rows.append_column("month", pc.strftime(rows[kind.time], "%Y-%m"))
        parts.append(rows.select(schema.names).cast(schema))
    return pa.concat_tables(parts)


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
        device = bad.path.removeprefix(f"{config.layout.inbox}/").split("/")[0]
        rows.append({"path": bad.path, "device": device, "verdict": "rejected", "reason": bad.reason, **plain})
    return pa.Table.from_pylist(rows, schema=BATCHES)


def _taken(lake: Lake, plan: Plan, table: str) -> set[str]:
    """The digests of the plan's batches that are in `table`, where an earlier try has put them."""
    connection = lake.connect(**{table: None})
    rows = connection.execute(f"SELECT DISTINCT batch FROM {table} WHERE ingested_at = ?", [plan.created])
    return {batch for (batch,) in rows.fetchall()}


def _label_rows(store: Store, config: LoopConfig, plan: Plan) -> pa.Table:
    parts = [LABEL_ROWS.empty_table()]
    for file in plan.labels:
        content = _read_planned(store, file.path, file.sha256)
        if content is None:
            continue
        rows = check_labels(content, config, plan.created)
        rows = rows.append_column("source", pa.repeat(file.source, rows.num_rows))
        rows = rows.append_column("ingested_at", pa.repeat(pa.scalar(plan.created, TIME), rows.num_rows))
        parts.append(rows.cast(LABEL_ROWS))
    return pa.concat_tables(parts)


def _finish(store: Store, config: LoopConfig, plan: Plan) -> None:
    planned = plan.objects
    waiting = list_waiting(store, config.layout)
    left = {
        e.path for e in (*waiting.batches, *waiting.labels) if e.path in planned and planned[e.path] in ("", e.version)
    }
    for bad in (*plan.rejected, *plan.rejected_labels):
        if bad.path in left:
            hold(store, config.layout, bad)
    for path in sorted(left):
        store.delete(path)
