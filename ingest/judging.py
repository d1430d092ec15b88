"""What waits, judged: which of it a plan takes, and what is wrong with the others. Changes nothing."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

import msgspec

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError, NotFound
from edgeloop.lake import Lake
from edgeloop.store import Entry, Store
from ingest.check import MAX_BYTES, check_batch, check_labels, label_source
from ingest.known import demand_fresh_sequence, known_batches
from ingest.plan import PLAN_VERSION, AcceptedBatch, AcceptedLabels, Plan, Rejected
from ingest.waiting import Waiting

PLAN_FILES = 2000
"""Files a plan takes at the most; what waits beyond that gets the next plan. Bounds memory."""


def make_plan(
    store: Store, lake: Lake, config: LoopConfig, waiting: Waiting, number: int, now: datetime
) -> Plan | None:
    """Check what waits; None if nothing does that can be read. Changes nothing."""
    accepted, duplicates, rejected = _judge_batches(store, lake, config, waiting.batches, now)
    good_labels, bad_labels = _judge_labels(store, config, waiting.labels, now)
    plan = Plan(PLAN_VERSION, number, config.name, now, accepted, duplicates, rejected, good_labels, bad_labels)
    return plan if plan.objects else None


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
