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

from dataclasses import dataclass
from datetime import datetime

from edgeloop.config import LoopConfig
from edgeloop.errors import AlreadyExists, ConfigError
from edgeloop.events import lake_schema
from edgeloop.lake import Lake
from edgeloop.store import Store
from ingest import judging
from ingest.committing import commit
from ingest.plan import Plan, latest_plan, write_done
from ingest.quarantine import hold
from ingest.rejects import by_reason, by_sender
from ingest.waiting import list_waiting


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
    while plan := judging.make_plan(store, lake, config, waiting, number + 1, now):
        _write_plan(store, config, plan)
        _carry_out(store, lake, config, plan)
        done.append(plan)
        number = plan.number
        if len(plan.objects) < judging.PLAN_FILES:
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
    commit(store, lake, config, plan)
    _finish(store, config, plan)
    write_done(store, config.layout, plan.number)


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
