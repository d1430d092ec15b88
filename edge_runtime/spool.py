"""The spool: events not yet in the store, in one SQLite file with everything else that must outlive a power cut.

Rules:
1. An event gets the next sequence number of its epoch when it is recorded; numbers start at 1 and have no gaps.
2. Events are buffered and written in groups: every `flush_events` events or `flush_every` of real time. Until its group is
   written an event can be lost by a crash, and then its number is given again: it was never part of the books. With
   durability = "event" every event is a group of its own.
3. Sealing makes the bytes of a batch once, in the transaction that takes its events out of the groups. Every retry sends
   those bytes under that name. It happens just before shipping: what waits for a link stays in groups, where rule 4 can
   reach it. Batches are of the newest events and of the oldest by turns, across restarts too, and never overlap.
4. Over the disk budget small groups are joined, and then those of the lowest level thinned (`groups.py`), until a quarter of
   the budget is free; what goes is counted in `shed`. The lowest first, because an outage would else leave the newest events and
   next to nothing of its beginning: this way no level is over twice that of an even sample of all of it. Rare classes and low
   confidence go last.
   A portion is thinned with each group that is written, since predictions wait for it: more than the group adds, and never
   all of the spool.
5. A disk that fails stops nothing: what it does not take stays in memory and is tried again, ever less often. Over
   `BUFFERED` groups the buffer is thinned as rule 4 says, and what goes is counted in `shed` with the next group that is
   written. So it is from the start on if the file cannot be opened (`state.py`), which is then tried again with each group.
6. A group or a batch whose content is damaged is set aside in a file of its own, and its events are counted in `shed`.
7. What is said of the books is what a power cut would leave of them.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from edge_runtime.groups import NEWEST, OLDEST, ROW, Damaged, Event, halve, insert, new_lots, take_out, thin, unpack
from edge_runtime.state import StateFile, keep
from edgeloop.clock import EPOCH_0
from edgeloop.config import DeviceSection
from edgeloop.errors import DataError
from edgeloop.layout import BatchName

AFTER_SHEDDING = 0.75
"""The share of the disk budget that shedding leaves at the most. Were it all of it, every group would be a shedding."""

CONTENT = 0.92
"""The share of the disk budget that content may take; the rest is for half-filled pages and SQLite's log."""

PORTION = 4
"""How many times `flush_events` are read at a shedding. A new group can take two of them, down to the weight of the others."""

BUFFERED = 10
"""How many times `flush_events` are kept in memory while the disk fails."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries of a disk that fails, at the most."""


@dataclass(frozen=True)
class SealedBatch:
    """A batch waiting to be shipped: its name in the inbox, how many events it holds, its bytes."""

    name: str
    events: int
    content: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the bytes are those that it is named by."""
        try:
            return BatchName.parse(self.name).sha256 == sha256(self.content).hexdigest()
        except DataError:
            return False


class Spool:
    """The durable state of a device. One thread records; every other method is for any thread.

    Args:
        path: the SQLite file.
        section: `[device]` settings.
        now: used to number a new epoch only.
        read_only: to look at it; nothing may be recorded or put.

    Raises:
        DataError: read only: the file cannot be read.
    """

    def __init__(self, path: Path, section: DeviceSection, now: datetime, *, read_only: bool = False) -> None:
        self._section = section
        self._state = StateFile(path, now, read_only=read_only)
        self.fault = ""
        self._failures = 0
        self._buffer: list[Event] = []
        self._meta: dict[str, str] = {}
        self._flush_at = 0.0
        self._flush_events = 1 if section.durability == "event" else section.flush_events
        self._flush_every = section.flush_every.total_seconds()
        self.epoch = int(self.get("epoch"))
        self._next_seq = int(self.get("next_seq", "1"))
        self.produced = self._next_seq - 1
        self.acked, self.shed = int(self.get("acked", "0")), int(self.get("shed", "0"))
        self._thinned, self._thinned_to = 0, 0
        self._shedding, self._lots = False, new_lots()
        self._last_ts = int(self.get("last_ts", "-1"))
        self._bytes = self._stored_bytes()
        if read_only:
            self.fault = self._state.unwritable()
        else:
            self.flush()  # which says it, if the file could not be opened
            self._state.copy()

    @property
    def set_aside(self) -> str:
        """What was damaged on the disk, and where it is now; empty if nothing was."""
        return self._state.set_aside

    @property
    def books(self) -> tuple[int, int, int]:
        """As of one moment, of the events written in this epoch: how many there are, are in the store, were shed."""
        with self._state.lock:
            return self.produced, self.acked, self.shed

    @property
    def spooled(self) -> int:
        """Events that wait on this device's disk."""
        produced, acked, shed = self.books
        return produced - acked - shed

    @property
    def buffered(self) -> int:
        """Events that wait in memory."""
        return len(self._buffer)

    @property
    def last_event(self) -> datetime | None:
        """The time of the last event recorded."""
        return None if self._last_ts < 0 else EPOCH_0 + timedelta(microseconds=self._last_ts)

    def record(
        self,
        ts: int,
        release: str | None,
        prediction: str | None,
        confidence: float | None,
        latency_us: float | None,
        inputs: Sequence[float],
    ) -> int:
        """Take one event in and return its sequence number; writes to disk only when a group is due, and never fails for it."""
        seq = self._next_seq
        self._next_seq = seq + 1
        self._last_ts = ts
        buffer = self._buffer
        if not buffer:
            self._flush_at = time.monotonic() + self._flush_every
        # No lock: appending is atomic, and whoever writes takes the events off the front that it has written.
        buffer.append(Event(seq, ts, release, prediction, confidence, latency_us, inputs))
        if len(buffer) >= self._flush_events or time.monotonic() >= self._flush_at:
            self.flush_due()
            if len(buffer) > BUFFERED * self._section.flush_events:
                self._thin_buffer()
        return seq

    def flush_due(self) -> None:
        """Write the buffered events if it is time: a group is full or old, or a failing disk is to be tried again."""
        full = len(self._buffer) >= self._flush_events and not self._failures
        if full or (self._buffer and time.monotonic() >= self._flush_at):
            self.flush()

    def flush(self) -> bool:
        """Write what is buffered; after it that survives a power cut. False if the disk fails: see `fault` and rule 5."""
        with self._state.lock:
            try:
                if self._state.fault:
                    self._state.reopen()
                    self._bytes = self._stored_bytes()
                if self._buffer or self._meta:
                    self._write(self._buffer[:])
                    self._keep_to_budget()
            except DataError as error:
                self._failures += 1
                self._flush_at = time.monotonic() + min(LONGEST_PAUSE, 2.0 ** min(self._failures, 30))
                self.fault = f"{error.message} {len(self._buffer)} events wait in memory."
                return False
            self._failures, self.fault = 0, ""
            return True

    @property
    def newest_next(self) -> bool:
        """Whether the next batch is to be of the newest events, and not of the oldest."""
        return self.get("newest_next", "1") == "1"

    def oldest(self, count: int) -> list[Event]:
        """The first `count` events that are in groups, or fewer if no batch may have more of them. Raises `DataError`."""
        return [event for group in self._groups(OLDEST, count) for event in group][:count]

    def newest(self, count: int) -> list[Event]:
        """The last `count` events that are in groups, or fewer if no batch may have more of them. Raises `DataError`."""
        return [event for group in reversed(self._groups(NEWEST, count)) for event in group][-count:]

    def _groups(self, query: str, count: int) -> list[list[Event]]:
        found, events = list[list[Event]](), 0
        with self._state.lock:
            # No group is empty. Of a device that writes each event by itself there can be a million.
            for (first_seq,) in self._state.rows(query, count):
                ((content,),) = self._state.rows("SELECT content FROM groups WHERE first_seq = ?", first_seq)
                try:
                    found.append(unpack(first_seq, content))
                except Damaged:
                    self._set_aside("groups", "first_seq", first_seq)
                    continue
                events += len(found[-1])
                if events >= count:
                    break
        return found

    def seal(self, batch: SealedBatch, events: Sequence[Event]) -> bool:
        """Put `batch` in the place of its `events`, as `oldest` or `newest` gave them, in one transaction.

        False, and nothing happened, if some of them were shed meanwhile. Raises `DataError`.
        """
        with self._state.lock:
            with self._state.transaction() as connection:
                freed = take_out(connection, events)
                if freed is not None:
                    connection.execute(
                        "INSERT INTO batches VALUES (?, ?, ?)", (batch.name, batch.events, batch.content)
                    )
                    keep(connection, {"newest_next": int(not self.newest_next)})
            self._bytes += 0 if freed is None else len(batch.content) - freed
        return freed is not None

    def waiting(self) -> SealedBatch | None:
        """The oldest sealed batch that is not acknowledged. Raises `DataError`."""
        with self._state.lock:
            while rows := self._state.rows("SELECT name, events, content FROM batches ORDER BY name LIMIT 1"):
                batch = SealedBatch(*rows[0])
                if batch.is_whole:
                    return batch
                self._set_aside("batches", "name", batch.name)
        return None

    def acknowledge(self, batch: SealedBatch, **values: object) -> None:
        """Forget a batch that is in the store, and keep values with that. Raises `DataError`; it is then sent, and acknowledged, again."""
        with self._state.lock:
            with self._state.transaction() as connection:
                connection.execute("DELETE FROM batches WHERE name = ?", (batch.name,))
                keep(connection, {**values, "acked": self.acked + batch.events})
            self.acked += batch.events
            self._bytes -= len(batch.content)

    def get(self, key: str, default: str | None = None) -> str:
        """A value kept beside the events. Raises `DataError` if it was never put and there is no default."""
        with self._state.lock:
            if key in self._meta:
                return self._meta[key]
            rows = self._state.rows("SELECT value FROM meta WHERE key = ?", key)
        if not rows and default is None:
            raise DataError(
                f"{self._state.path} has no {key!r}.", remedy="It is damaged; move it away and start again."
            )
        return str(rows[0][0]) if rows else str(default)

    def put(self, **values: object) -> bool:
        """Keep values beside the events, all or none. False if the disk fails: they are kept in memory, and written when it can."""
        with self._state.lock:
            self.put_with_next(**values)
            return self.flush()

    def put_with_next(self, **values: object) -> None:
        """Keep values as `put`, in the transaction of what is written next: a flush less."""
        with self._state.lock:
            self._meta.update({key: str(value) for key, value in values.items()})

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._state.close()

    def _write(self, events: list[Event]) -> None:
        """One transaction: `events`, which begin the buffer, what was shed from it, and what was put."""
        groups = [list(group) for _, group in groupby(events, key=lambda event: event.weight)]
        written = max(events[-1].seq if events else self.produced, self._thinned_to)
        shed = self.shed + self._thinned
        with self._state.transaction() as connection:
            size = sum(insert(connection, group, group[0].weight) for group in groups)
            keep(connection, {**self._meta, "next_seq": written + 1, "last_ts": self._last_ts, "shed": shed})
        del self._buffer[: len(events)]
        self._meta.clear()
        self.produced, self.shed, self._thinned = written, shed, 0
        self._bytes += size
        self._state.copy()

    def _thin_buffer(self) -> None:
        """Rule 5: the newest events have the lowest weight, so they are at the end of the buffer."""
        with self._state.lock:
            while len(self._buffer) > AFTER_SHEDDING * BUFFERED * self._section.flush_events:
                lightest = self._buffer[-1].weight
                heavy = [event for event in self._buffer if event.weight > lightest]
                kept = heavy + halve(self._buffer[len(heavy) :], new_lots())
                self._thinned += len(self._buffer) - len(kept)
                self._thinned_to = self._next_seq - 1
                self._buffer[:] = kept

    def _set_aside(self, table: str, key: str, value: object) -> None:
        """Rule 6: take a damaged row out of the way of the others."""
        ((content, events),) = self._state.rows(f"SELECT content, events FROM {table} WHERE {key} = ?", value)
        called = re.sub(r"[^\w.-]", "_", str(value))  # what is damaged can be the name
        aside = self._state.path.with_name(f"{self._state.path.name}.damaged-{table}-{called}")
        with contextlib.suppress(OSError):  # kept for whoever looks into it; the disk may be full
            aside.write_bytes(content)
        with self._state.transaction() as connection:
            connection.execute(f"DELETE FROM {table} WHERE {key} = ?", (value,))
            keep(connection, {"shed": self.shed + events})
        self.shed += events
        self._bytes = self._stored_bytes()
        said = f"{events} events were damaged on the disk, set aside as {aside.name}, and declared shed"
        self._state.set_aside = said
        logging.getLogger("edgeloop").warning("%s", said)

    def _keep_to_budget(self) -> None:
        """Rule 4, a portion of it."""
        budget = CONTENT * self._section.spool_mb * 1e6
        after = AFTER_SHEDDING * budget
        self._shedding = self._bytes > (after if self._shedding else budget)
        if not self._shedding:
            return
        try:
            self._thin_groups(after)
        except Damaged as damaged:  # it is out of the way at the next group
            self._set_aside("groups", "first_seq", damaged.first_seq)

    def _thin_groups(self, after: float) -> None:
        size = self._section.flush_events
        left, shed, kept = PORTION * size, self.shed, self._bytes
        with self._state.transaction() as connection:
            while left > 0 and kept > after:
                portion = thin(connection, size, self._lots)
                if not portion.read:  # nothing is left that may be shed
                    break
                left, shed, kept = left - portion.read, shed + portion.dropped, kept - portion.freed
            keep(connection, {"shed": shed})
        self.shed, self._bytes = shed, kept

    def _stored_bytes(self) -> int:
        groups = "SELECT coalesce(sum(length(content) + ?), 0) FROM groups"
        batches = "SELECT coalesce(sum(length(content)), 0) FROM batches"
        return sum(int(found[0][0]) for found in (self._state.rows(groups, ROW), self._state.rows(batches)))
