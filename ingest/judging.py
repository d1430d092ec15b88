"""What waits, judged: which of it a plan takes, and what is wrong with the others. Changes nothing.

To *look* is to read files and say what each is by itself; to *judge* is to say what becomes of it beside what the lake and other plans
have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

import msgspec
import pyarrow as pa

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError, NotFound
from edgeloop.layout import Layout
from edgeloop.store import Entry
from ingest.checks.check import MAX_BYTES, Opened, check_labels, check_rows, label_source, open_batch
from ingest.fetching import Fetched
from ingest.known import Known, demand_fresh_sequence
from ingest.plan import AcceptedBatch, AcceptedLabels, Plan, Rejected

PLAN_FILES = 2000
PLAN_BYTES = 128 * 1024 * 1024
PLAN_ROWS = 500_000
PLAN_MEMORY = 256 * 1024 * 1024
"""What a plan takes of files, of bytes in them, of events and labels, and of memory that the rows of batches have as they were read. The
file that reaches one of these is its last, and what waits beyond gets the next plan. Bounds memory: a file of a kilobyte can have a
hundred thousand rows, and one of 100 KB that says it is of 4,000 events 60 MB of sketches."""


GROUP_ROWS, GROUP_BYTES = 30_000, 32 * 1024 * 1024
"""The rows of so many events, or of batches that unpack to so much, are checked at once. More are no faster, and take memory."""


@dataclass
class Looked:
    """What some of the files are, each by itself, and how much they are: bytes, events and labels in `rows`, and bytes of `memory`.
    `decoded` has the rows of `batches`, by digest."""

    batches: list[AcceptedBatch] = field(default_factory=list)
    labels: list[AcceptedLabels] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    decoded: dict[str, pa.Table] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    bytes: int = 0
    rows: int = 0
    memory: int = 0

    def count(self, entry: Entry, rows: int) -> None:
        self.paths.add(entry.path)
        self.bytes += min(entry.size, MAX_BYTES)
        self.rows += rows

    def reject(self, entry: Entry, error: DataError) -> None:
        self.rejected.append(Rejected(entry.path, str(error), version=entry.version))

    def accept(self, entry: Entry, opened: Opened) -> None:
        batch = msgspec.structs.replace(opened.batch, version=entry.version, stored_at=entry.modified)
        self.batches.append(batch)
        self.decoded[batch.sha256] = opened.rows

    @property
    def fill_a_plan(self) -> bool:
        much = self.bytes >= PLAN_BYTES or self.rows >= PLAN_ROWS or self.memory >= PLAN_MEMORY
        return much or len(self.paths) >= PLAN_FILES


def look(config: LoopConfig, waiting: Iterator[Fetched], now: datetime) -> Looked:
    """What the next files are, as many as a plan takes; none if nothing waits any more that can be read."""
    looked, group = Looked(), _Group(config, now)
    for entry, content in waiting:
        if entry.path in looked.paths:
            continue
        try:
            looked.count(entry, _look_at(config, entry, content(), now, looked, group))
        except NotFound:
            continue  # taken away by another ingest since the listing, or of a name that no request can say
        except DataError as error:
            looked.count(entry, 0)
            looked.reject(entry, error)
        if group.rows >= GROUP_ROWS or group.bytes >= GROUP_BYTES:
            group.check(looked)
        if looked.fill_a_plan:
            break
    group.check(looked)
    return looked


def _look_at(config: LoopConfig, entry: Entry, content: bytes, now: datetime, looked: Looked, group: _Group) -> int:
    """Look at a file: how many events or labels are in it."""
    if not entry.path.startswith(f"{config.layout.labels}/"):
        opened = open_batch(entry.path, content, config, now)
        group.add(entry, opened)
        looked.memory += opened.rows.nbytes
        return opened.batch.rows
    rows: int = check_labels(content, config, now).num_rows
    source, digest = label_source(entry.path, config), sha256(content).hexdigest()
    looked.labels.append(AcceptedLabels(entry.path, source, rows, digest, entry.version))
    return rows


class _Group:
    """Batches whose rows are still to be checked."""

    def __init__(self, config: LoopConfig, now: datetime) -> None:
        self._config, self._now = config, now
        self._opened = list[tuple[Entry, Opened]]()
        self.rows = self.bytes = 0

    def add(self, entry: Entry, opened: Opened) -> None:
        self._opened.append((entry, opened))
        self.rows += opened.batch.rows
        self.bytes += opened.unpacked

    def check(self, looked: Looked) -> None:
        """Give what they are to `looked`; then there are none."""
        found = check_rows([opened for _, opened in self._opened], self._config, self._now)
        for (entry, _), each in zip(self._opened, found, strict=True):
            if isinstance(each, DataError):
                looked.reject(entry, each)
            else:
                looked.accept(entry, each)
        self._opened, self.rows, self.bytes = [], 0, 0


def judge(looked: Looked, known: Known, others: Sequence[Plan], blank: Plan) -> Plan:
    """`blank` with a verdict on everything that was looked at, but for objects that one of the `others` is about.

    Args:
        known: the batches in the lake that have a sequence number of one of those that were looked at.
        others: the plans that are not finished. What they accept is as good as in the lake.
    """
    elsewhere = {path for plan in others for path in plan.paths}
    seen = {key: list(batches) for key, batches in known.items()}
    for batch in (batch for plan in others for batch in plan.batches):
        _add(seen, batch)
    accepted, duplicates, overlapping = _settle([b for b in looked.batches if b.path not in elsewhere], seen)
    rejected = [*overlapping, *(bad for bad in looked.rejected if bad.path not in elsewhere)]
    labels = f"{Layout(blank.loop).labels}/"
    return msgspec.structs.replace(
        blank,
        batches=tuple(accepted),
        duplicates=tuple(duplicates),
        rejected=tuple(bad for bad in rejected if not bad.path.startswith(labels)),
        labels=tuple(file for file in looked.labels if file.path not in elsewhere),
        rejected_labels=tuple(bad for bad in rejected if bad.path.startswith(labels)),
    )


def _settle(batches: Iterable[AcceptedBatch], known: Known) -> tuple[list[AcceptedBatch], list[str], list[Rejected]]:
    accepted: list[AcceptedBatch] = []
    duplicates: list[str] = []
    rejected: list[Rejected] = []
    for batch in sorted(batches, key=lambda batch: batch.path):
        others = known.get((batch.device, batch.epoch), [])
        if any(sha == batch.sha256 for _, _, sha in others):
            duplicates.append(batch.path)
            continue
        try:
            demand_fresh_sequence(batch, others)
        except DataError as error:
            rejected.append(Rejected(batch.path, str(error), version=batch.version))
            continue
        _add(known, batch)
        accepted.append(batch)
    return accepted, duplicates, rejected


def _add(known: Known, batch: AcceptedBatch) -> None:
    known.setdefault((batch.device, batch.epoch), []).append((batch.first_seq, batch.last_seq, batch.sha256))
