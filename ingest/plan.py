"""The ingest plan: which batches and label files are taken, and what is wrong with the others, written before any of it is done.

Plans are numbered from 1 and create-only, and after a kill anybody can finish one (docs/formats.md). Rules:
1. Whoever creates plan *n* has read every plan before it that is not finished; if another was first, they read again. So no object is in
   two plans that are not finished, and of each lane there is at most one such plan.
2. The newest `KEPT` are kept; the older ones go. Nobody creates a plan while one that is not finished is about to be that old.
3. So a plan that is that old is finished, or it is *void*: its number was free again because the one that had it is gone, and whoever
   wrote it had not looked for long. It is not carried out.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime

import msgspec

from edgeloop.errors import AlreadyExists, NotFound
from edgeloop.layout import Layout
from edgeloop.manifest import decode_document
from edgeloop.sketches import EVENTS
from edgeloop.store import Store

PLAN_VERSION = 1

KEPT = 200
"""How many plans are kept, the newest: what an ingest has to list does not grow."""


class AcceptedBatch(msgspec.Struct, frozen=True):
    """A batch that passed every check, of `rows` events. `shed` and `sealed_at` are the device's own words, `stored_at` is the store's.

    `version` is the store's for the object that was looked at: another object of that name is not what this is about.
    """

    path: str
    device: str
    epoch: int
    first_seq: int
    last_seq: int
    rows: int
    sha256: str
    bytes: int
    shed: int
    sealed_at: datetime
    version: str = ""
    stored_at: datetime | None = None
    kind: str = EVENTS


class Rejected(msgspec.Struct, frozen=True):
    """A batch or label file that did not pass, and why, in a sentence. `rows` is 0 where they could not be counted."""

    path: str
    reason: str
    rows: int = 0
    version: str = ""


class AcceptedLabels(msgspec.Struct, frozen=True):
    """A label file that passed every check."""

    path: str
    source: str
    rows: int
    sha256: str = ""
    version: str = ""


class Plan(msgspec.Struct, frozen=True):
    """Plan `number` of a loop, for one of its lanes. `duplicates` are batches that are in the lake already; they are only deleted."""

    version: int
    number: int
    loop: str
    created: datetime
    batches: tuple[AcceptedBatch, ...] = ()
    duplicates: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    labels: tuple[AcceptedLabels, ...] = ()
    rejected_labels: tuple[Rejected, ...] = ()
    lane: int = 0

    @property
    def paths(self) -> set[str]:
        """Of every object that the plan is about."""
        judged = (bad.path for bad in (*self.rejected, *self.rejected_labels))
        accepted = (*(batch.path for batch in self.batches), *(file.path for file in self.labels))
        return {*self.duplicates, *accepted, *judged}

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def decode_plan(content: bytes) -> Plan:
    """Read a plan. Raises `DataError` as `decode_document`."""
    return decode_document(content, Plan, PLAN_VERSION, "ingest plan")


@dataclass(frozen=True)
class Plans:
    """The plans of a loop by number: the `newest`, 0 if there is none; those that are `unfinished`, as far as they are kept; the paths of
    what is left of `old` ones."""

    newest: int
    unfinished: tuple[int, ...]
    old: tuple[str, ...]


def list_plans(store: Store, layout: Layout) -> Plans:
    """List the plans. Raises `StoreError`."""
    found = {entry.path: int(entry.path.rpartition("/")[2].split(".")[0]) for entry in store.list(layout.plans)}
    newest = max(found.values(), default=0)
    kept = {number for number in found.values() if number > newest - KEPT}
    unfinished = (n for n in kept if layout.plan(n) in found and layout.plan_done(n) not in found)
    old = (path for path, number in found.items() if number not in kept)
    return Plans(newest, tuple(sorted(unfinished)), tuple(sorted(old, reverse=True)))


def is_void(store: Store, layout: Layout, number: int) -> bool:
    """Whether plan `number` is older than those that are kept, just written as it may be."""
    return any(True for _ in store.list(layout.plans, after=layout.plan(number + KEPT - 1)))


def write_done(store: Store, layout: Layout, number: int) -> None:
    """Mark plan `number` as finished: nobody looks at it again."""
    with contextlib.suppress(AlreadyExists):
        store.create(layout.plan_done(number), b"")


def empty_plans(store: Store, layout: Layout, until: datetime | None = None) -> int:
    """Take out of plans that are finished, and were made until then, what they are about; of how many. Their numbers stay taken."""
    plans = list_plans(store, layout)
    numbers = range(max(1, plans.newest - KEPT + 1), plans.newest + 1)
    emptied = 0
    for number in (n for n in numbers if n not in plans.unfinished):
        with contextlib.suppress(NotFound):
            plan = decode_plan(store.read(layout.plan(number)))
            if plan.paths and (until is None or plan.created < until):
                blank = Plan(plan.version, plan.number, plan.loop, plan.created, lane=plan.lane)
                store.replace(layout.plan(number), blank.encode())
                emptied += 1
    store.delete_all(plans.old)
    return emptied
