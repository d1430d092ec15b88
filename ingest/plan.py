"""The ingest plan: which batches and label files are taken, and what is wrong with the others, written before any of it is done.

Plans are numbered from 1 and create-only: whoever writes plan *n* is the one that commits it, and after a kill anybody can
finish it (docs/formats.md).
"""

from __future__ import annotations

import contextlib
from datetime import datetime

import msgspec

from edgeloop.errors import AlreadyExists
from edgeloop.layout import Layout
from edgeloop.manifest import decode_document
from edgeloop.sketches import EVENTS
from edgeloop.store import Store

PLAN_VERSION = 1


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
    """Plan `number` of a loop. `duplicates` are batches that are in the lake already; they are only deleted."""

    version: int
    number: int
    loop: str
    created: datetime
    batches: tuple[AcceptedBatch, ...] = ()
    duplicates: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    labels: tuple[AcceptedLabels, ...] = ()
    rejected_labels: tuple[Rejected, ...] = ()

    @property
    def objects(self) -> dict[str, str]:
        """The version of every object that the plan is about, by its path; empty where that is not known."""
        return {
            **dict.fromkeys(self.duplicates, ""),
            **{batch.path: batch.version for batch in self.batches},
            **{file.path: file.version for file in self.labels},
            **{bad.path: bad.version for bad in (*self.rejected, *self.rejected_labels)},
        }

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def decode_plan(content: bytes) -> Plan:
    """Read a plan. Raises `DataError` as `decode_document`."""
    return decode_document(content, Plan, PLAN_VERSION, "ingest plan")


def latest_plan(store: Store, layout: Layout) -> tuple[int, Plan | None]:
    """The highest number of a plan, 0 if there is none, and that plan if it has not been finished."""
    paths = {entry.path for entry in store.list(layout.plans)}
    newest = max((path for path in paths if path.endswith(".json")), default=None)
    if newest is None:
        return 0, None
    number = int(newest.rpartition("/")[2].removesuffix(".json"))
    return number, None if layout.plan_done(number) in paths else decode_plan(store.read(newest))


def write_done(store: Store, layout: Layout, number: int) -> None:
    """Mark plan `number` as finished: nobody looks at it again."""
    with contextlib.suppress(AlreadyExists):
        store.create(layout.plan_done(number), b"")
