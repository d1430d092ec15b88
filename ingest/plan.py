"""The ingest plan: which batches and label files are taken, and what is wrong with the others, written before any of it is done.

Plans are numbered from 1 and create-only: whoever writes plan *n* is the one that commits it, and after a kill anybody can
finish it (docs/formats.md).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from edgeloop.layout import Layout
from edgeloop.manifest import decode_document
from edgeloop.store import Store

PLAN_VERSION = 1


class AcceptedBatch(msgspec.Struct, frozen=True):
    """A batch that passed every check. `shed` and `sealed_at` are the device's own words."""

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


class Rejected(msgspec.Struct, frozen=True):
    """A batch or label file that did not pass, and why, in a sentence. `rows` is 0 where they could not be counted."""

    path: str
    reason: str
    rows: int = 0


class AcceptedLabels(msgspec.Struct, frozen=True):
    """A label file that passed every check."""

    path: str
    source: str
    rows: int


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
    def paths(self) -> tuple[str, ...]:
        """Every object that the plan is about."""
        parts = (self.batches, self.rejected, self.labels, self.rejected_labels)
        return (*(item.path for part in parts for item in part), *self.duplicates)

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def decode_plan(content: bytes) -> Plan:
    """Read a plan. Raises `DataError` as `decode_document`."""
    return decode_document(content, Plan, PLAN_VERSION, "ingest plan")


def latest_plan(store: Store, layout: Layout) -> Plan | None:
    """The plan with the highest number; None if there is none."""
    newest = max((entry.path for entry in store.list(layout.plans)), default=None)
    return None if newest is None else decode_plan(store.read(newest))
