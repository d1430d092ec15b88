"""Ingest: plan, commit, finish.

Rules:
1. *Plan*: check what waits and write the verdicts as plan *n*, create-only. Nothing is done that is not in a plan.
2. *Commit*: append to each table through the handle whose transaction version was read, as application transaction *n* of the plan's
   lane. A table that has *n* is skipped. Of two writers on one version the later fails, and finds *n* there when it looks again.
3. *Finish*: move what was rejected to quarantine with its reason, delete what is in the lake.
4. Every step can be repeated. Nothing is planned for a lane that has a plan which is not finished: that one is carried out first, by
   whoever comes, whether the one that wrote it was killed or is at it. So the numbers of a lane are committed in their order.
5. A plan is about the very objects that were looked at. What was put under the same name afterwards waits for the next plan; a
   batch that is gone before whoever commits it has read it is written down as lost; who planned it has. Neither stops the rest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from edgeloop.config import LoopConfig
from edgeloop.errors import AlreadyExists, ConfigError, NotFound
from edgeloop.events import lake_schema
from edgeloop.lake import Lake
from edgeloop.store import Store
from ingest.committing import Decoded, commit
from ingest.fetching import fetch
from ingest.finishing import finish
from ingest.judging import Looked, judge, look
from ingest.lanes import WHOLE, Lane
from ingest.plan import KEPT, PLAN_VERSION, Plan, Rejected, decode_plan, is_void, list_plans, write_done
from ingest.received import known_beside
from ingest.rejects import by_reason, by_sender
from ingest.upkeep.refusing import Door, delete_statuses, without_refused
from ingest.upkeep.tombstones import read_tombstones
from ingest.waiting import Waiting


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did. `plan` is the number of its last plan, 0 if there was nothing to do; `recovered` says that an
    earlier ingest had not finished. `reasons` and `senders` count what was `rejected`, the most frequent first; `hidden` are the
    folders that cannot be listed (ingest/waiting.py); `refused` counts batches of devices that were forgotten."""

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
    refused: int = 0


def ingest(store: Store, lake: Lake, config: LoopConfig, now: datetime, lane: Lane = WHOLE) -> IngestReport:
    """Take in everything that waits for the lane, once. What comes meanwhile is mostly for the next time: what waits is listed once.

    Any number may run at once, of one lane or of several: of those that plan the same, one wins.

    Raises:
        ConfigError: the loop's features are not those of its lake.
        StoreError: the store failed; run it again.
    """
    _demand_same_columns(lake, config)
    intake = _Intake(store, lake, config, now, lane)
    intake.recover()
    tombstones = read_tombstones(store, config.layout)
    delete_statuses(store, config.layout, tombstones)
    waiting = Waiting(store, config.layout, lane)
    door = Door(store, config.layout, tombstones, waiting)
    files, counts, rejected, number = fetch(store, config, door), Counter[str](), list[Rejected](), 0
    while (looked := look(config, files, now)).paths:
        if plan := intake.claim(looked):
            intake.carry_out(plan, looked.decoded)
            number = plan.number
            counts += _counts(plan)
            rejected += (*plan.rejected, *plan.rejected_labels)
    return IngestReport(
        plan=number,
        **{name: counts[name] for name in ("batches", "rows", "duplicates", "labels", "label_files")},
        rejected=len(rejected),
        recovered=intake.recovered,
        reasons=by_reason(rejected),
        senders=by_sender(config.layout, rejected),
        hidden=tuple(waiting.hidden),
        refused=door.refused,
    )


def settle(store: Store, lake: Lake, config: LoopConfig, now: datetime) -> None:
    """Carry out what is planned, for whatever lane, and take the next number for a plan of nothing. An ingest that is judging files
    meanwhile comes too late with its plan, and judges again: what is committed from now on was judged from now on. Raises as `ingest`."""
    intake = _Intake(store, lake, config, now, WHOLE)
    while not intake.pass_number():
        pass


class _Intake:
    """One ingest of a lane. `recovered` says that there was a plan which was not finished."""

    def __init__(self, store: Store, lake: Lake, config: LoopConfig, now: datetime, lane: Lane) -> None:
        self._store, self._lake, self._config, self._now, self._lane = store, lake, config, now, lane
        self.recovered = False

    def recover(self) -> tuple[int, list[Plan]]:
        """Carry out what is this lane's to carry out; the newest number of a plan, and the plans that others are at."""
        plans, others = list_plans(self._store, self._config.layout), list[Plan]()
        for number in plans.unfinished:
            try:
                plan = decode_plan(self._store.read(self._config.layout.plan(number)))
            except NotFound:
                continue  # finished since the listing, and so many came after it that it is gone
            if self._is_ours(plan, plans.newest):
                self.recovered = True
                self.carry_out(plan, {})
            else:
                others.append(plan)
        self._store.delete_all(plans.old)
        return plans.newest, others

    def _is_ours(self, plan: Plan, newest: int) -> bool:
        """Whether a plan is of this lane, of one that is no more, or of one that nobody has worked on for long."""
        return plan.lane == self._lane.number or plan.lane >= self._lane.of or plan.number <= newest - KEPT // 2

    def claim(self, looked: Looked) -> Plan | None:
        """Write the plan for what was looked at, under the next number; None if others have taken all of it."""
        while True:
            newest, others = self.recover()  # before the lake is read: what is finished by now is in it
            blank = Plan(PLAN_VERSION, newest + 1, self._config.name, self._now, lane=self._lane.number)
            finished = min((plan.number for plan in others), default=newest + 1) - 1
            known = known_beside(self._store, self._lake, self._config.layout, looked.batches, finished)
            # After the number: whoever forgets takes the next.
            tombstones = read_tombstones(self._store, self._config.layout)
            plan = judge(without_refused(looked, self._config.layout, tombstones), known, others, blank)
            if not plan.paths:
                return None
            if self._create(plan):
                return plan

    def pass_number(self) -> bool:
        """Take the next number for nothing; False if others were first."""
        newest, _ = self.recover()
        blank = Plan(PLAN_VERSION, newest + 1, self._config.name, self._now, lane=self._lane.number)
        if not self._create(blank):
            return False
        write_done(self._store, self._config.layout, blank.number)
        return True

    def _create(self, plan: Plan) -> bool:
        path = self._config.layout.plan(plan.number)
        try:
            self._store.create(path, plan.encode())
        except AlreadyExists:
            return False
        if is_void(self._store, self._config.layout, plan.number):
            self._store.delete(path)
            return False
        return True

    def carry_out(self, plan: Plan, decoded: Decoded) -> None:
        """Commit and finish a plan, or what is left of that."""
        taken = commit(self._store, self._lake, self._config, plan, decoded)
        finish(self._store, self._config.layout, plan, taken)
        write_done(self._store, self._config.layout, plan.number)


def _counts(plan: Plan) -> Counter[str]:
    return Counter(
        batches=len(plan.batches),
        rows=sum(batch.rows for batch in plan.batches),
        duplicates=len(plan.duplicates),
        labels=sum(file.rows for file in plan.labels),
        label_files=len(plan.labels),
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
