"""The spool: events not yet in the store, in one SQLite file with everything else that must outlive a power cut.

Rules:
1. An event gets the next sequence number of its epoch when it is recorded; numbers start at 1 and have no gaps.
2. Events are buffered and written in groups: every `flush_events` events or `flush_every` of real time. Until its group is
   written an event can be lost by a crash, and then its number is given again: it was never part of the books. With
   durability = "event" every event is a group of its own.
3. Sealing makes the bytes of a batch once, in the transaction that takes its events out of the groups. Every retry sends
   those bytes under that name. It happens just before shipping: what waits for a link stays in groups, where rule 4 can
   reach it.
4. All events of a group have one weight. Over the disk budget the groups of the lowest weight are thinned, one of every two
   events kept by lot, until a quarter of the budget is free. The `weight` of the survivors doubles, so that sums over weights
   stay unbiased (Horvitz and Thompson 1952), and the others are counted in `shed`. The lowest first, because an outage would
   else leave the newest events and next to nothing of its beginning: this way no weight is over twice what an even sample
   of all of it would have.
5. A damaged file is set aside and a new one begun with a higher epoch, so that no sequence number is ever used twice.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from edgeloop.config import DeviceSection
from edgeloop.errors import DataError

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (first_seq INTEGER PRIMARY KEY, weight REAL NOT NULL, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY, events INTEGER NOT NULL, content BLOB NOT NULL) WITHOUT ROWID;
"""

_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, array_like=True):
    """One inference: `ts` in µs since 1970 UTC; `inputs` as the model saw them; None before the first release."""

    seq: int
    ts: int
    release: str | None
    prediction: str | None
    confidence: float | None
    latency_us: float | None
    inputs: Sequence[float | None]
    weight: float = 1.0


AFTER_SHEDDING = 0.75
"""The share of the disk budget that shedding leaves at the most. Were it all of it, every group would be a shedding."""


@dataclass(frozen=True)
class SealedBatch:
    """A batch waiting to be shipped: its name in the inbox, how many events it holds, its bytes."""

    name: str
    events: int
    content: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode


def _pack(events: list[Event]) -> bytes:
    return zlib.compress(_encode(events), 1)


def _unpack(content: bytes) -> list[Event]:
    return _decode(zlib.decompress(content))


def _one_of_two() -> Iterator[bool]:
    """Without end: True for one of every two, whichever the lot falls on."""
    while True:
        first = random.random() < 0.5
        yield first
        yield not first


class Spool:
    """The durable state of a device.

    Args:
        path: the SQLite file; beside it `epoch` remembers the epoch should the file be lost.
        section: `[device]` settings.
        now: used to number a new epoch only.
    """

    def __init__(self, path: Path, section: DeviceSection, now: datetime) -> None:
        self._path, self._section = path, section
        self.set_aside: str = ""
        self._connection = self._open(now)
        self._buffer: list[Event] = []
        self._flush_at = 0.0
        self._flush_events = 1 if section.durability == "event" else section.flush_events
        self._flush_every = section.flush_every.total_seconds()
        self.epoch = int(self.get("epoch"))
        self._next_seq = int(self.get("next_seq", "1"))
        self.acked, self.shed = int(self.get("acked", "0")), int(self.get("shed", "0"))
        self._last_ts = int(self.get("last_ts", "-1"))
        self._bytes = self._stored_bytes()

    @property
    def produced(self) -> int:
        """Events that got a number in this epoch."""
        return self._next_seq - 1

    @property
    def spooled(self) -> int:
        """Events that wait on this device."""
        return self.produced - self.acked - self.shed

    @property
    def last_event(self) -> datetime | None:
        """The time of the last event recorded."""
        return None if self._last_ts < 0 else _EPOCH_0 + timedelta(microseconds=self._last_ts)

    def record(
        self,
        ts: int,
        release: str | None,
        prediction: str | None,
        confidence: float | None,
        latency_us: float | None,
        inputs: Sequence[float],
    ) -> int:
        """Take one event in and return its sequence number; writes to disk only when a group is due."""
        seq = self._next_seq
        self._next_seq = seq + 1
        self._last_ts = ts
        buffer = self._buffer
        if not buffer:
            self._flush_at = time.monotonic() + self._flush_every
        buffer.append(Event(seq, ts, release, prediction, confidence, latency_us, inputs))
        if len(buffer) >= self._flush_events or time.monotonic() >= self._flush_at:
            self.flush()
        return seq

    def flush(self) -> None:
        """Write the buffered events; after it they survive a power cut."""
        if not self._buffer:
            return
        content = _pack(self._buffer)
        with self._transaction() as connection:
            connection.execute("INSERT INTO groups VALUES (?, 1, ?)", (self._buffer[0].seq, content))
            self._set(connection, next_seq=self._next_seq, last_ts=self._last_ts)
        self._bytes += len(content)
        self._buffer.clear()
        budget = self._section.spool_mb * 1e6
        if self._bytes > budget:
            while self._bytes > AFTER_SHEDDING * budget and self._thin():
                pass

    def oldest(self, count: int) -> list[Event]:
        """The first `count` events, or all there are, that are in groups and not yet sealed."""
        found: list[Event] = []
        for (content,) in self._connection.execute("SELECT content FROM groups ORDER BY first_seq"):
            found += _unpack(content)
            if len(found) >= count:
                break
        return found[:count]

    def seal(self, batch: SealedBatch, last_seq: int) -> None:
        """Put `batch` in the place of all grouped events up to `last_seq`, in one transaction."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT content FROM groups WHERE first_seq <= ?", (last_seq,)).fetchall()
            rest = [event for (content,) in rows for event in _unpack(content) if event.seq > last_seq]
            connection.execute("DELETE FROM groups WHERE first_seq <= ?", (last_seq,))
            self._insert(connection, rest)
            connection.execute("INSERT INTO batches VALUES (?, ?, ?)", (batch.name, batch.events, batch.content))
        self._bytes = self._stored_bytes()

    def waiting(self) -> SealedBatch | None:
        """The oldest sealed batch that is not acknowledged."""
        row = self._connection.execute("SELECT name, events, content FROM batches ORDER BY name LIMIT 1").fetchone()
        return SealedBatch(*row) if row else None

    def acknowledge(self, batch: SealedBatch) -> None:
        """Forget a batch that is in the store."""
        self.acked += batch.events
        with self._transaction() as connection:
            connection.execute("DELETE FROM batches WHERE name = ?", (batch.name,))
            self._set(connection, acked=self.acked)
        self._bytes -= len(batch.content)

    def get(self, key: str, default: str | None = None) -> str:
        """A value kept beside the events. Raises `DataError` if it was never put and there is no default."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None and default is None:
            raise DataError(f"{self._path} has no {key!r}.", remedy="It is damaged; move it away and start again.")
        return str(row[0]) if row is not None else str(default)

    def put(self, **values: object) -> None:
        """Keep values beside the events, all or none."""
        with self._transaction() as connection:
            self._set(connection, **values)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._connection.close()

    def _thin(self) -> bool:
        """Rule 4, once; False if there is nothing left that may be shed."""
        lightest = "SELECT first_seq FROM groups WHERE weight = (SELECT min(weight) FROM groups) ORDER BY first_seq"
        thinned = [first_seq for (first_seq,) in self._connection.execute(lightest)]
        lot, kept, dropped = _one_of_two(), list[Event](), 0
        with self._transaction() as connection:
            for first_seq in thinned:
                events = self._take(connection, first_seq)
                survivors = [event for event in events if next(lot)]
                dropped += len(events) - len(survivors)
                for event in survivors:
                    event.weight *= 2
                kept += survivors
                if len(kept) >= self._section.flush_events:  # fuller groups: events alone compress badly
                    self._insert(connection, kept)
                    kept = []
            self._insert(connection, kept)
            self._set(connection, shed=self.shed + dropped)
        self.shed += dropped
        self._bytes = self._stored_bytes()
        return bool(thinned)

    @staticmethod
    def _take(connection: sqlite3.Connection, first_seq: int) -> list[Event]:
        (content,) = connection.execute("SELECT content FROM groups WHERE first_seq = ?", (first_seq,)).fetchone()
        connection.execute("DELETE FROM groups WHERE first_seq = ?", (first_seq,))
        return _unpack(content)

    @staticmethod
    def _insert(connection: sqlite3.Connection, events: list[Event]) -> None:
        if events:
            row = (events[0].seq, events[0].weight, _pack(events))
            connection.execute("INSERT INTO groups VALUES (?, ?, ?)", row)

    def _stored_bytes(self) -> int:
        query = "SELECT (SELECT coalesce(sum(length(content)), 0) FROM groups) + (SELECT coalesce(sum(length(content)), 0) FROM batches)"
        return int(self._connection.execute(query).fetchone()[0])

    def _open(self, now: datetime) -> sqlite3.Connection:
        try:
            return self._connect(now)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise DataError(
                    f"{self._path} cannot be opened: {error}.", remedy="Check its permissions and the disk."
                ) from error
            self._move_away(error)
            return self._connect(now)

    def _connect(self, now: datetime) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("its pages are inconsistent")
            connection.executescript(_TABLES)
            if connection.execute("SELECT 1 FROM meta WHERE key = 'epoch'").fetchone() is None:
                connection.execute("INSERT INTO meta VALUES ('epoch', ?)", (str(self._new_epoch(now)),))
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _new_epoch(self, now: datetime) -> int:
        # Hours since 1970, so that it rises even if this whole directory was lost; one more than the last one known, so
        # that it rises even if the clock went back.
        marker = self._path.with_name("epoch")
        with contextlib.suppress(OSError, ValueError):
            return self._write_epoch(marker, max(int(marker.read_text()) + 1, int(now.timestamp() // 3600)))
        return self._write_epoch(marker, max(1, int(now.timestamp() // 3600)))

    @staticmethod
    def _write_epoch(marker: Path, epoch: int) -> int:
        marker.write_text(str(epoch))
        return epoch

    def _move_away(self, error: sqlite3.DatabaseError) -> None:
        number = len(list(self._path.parent.glob(f"{self._path.name}.damaged-*"))) + 1
        for suffix in ("", "-wal", "-shm"):
            file = self._path.with_name(self._path.name + suffix)
            if file.exists():
                file.rename(self._path.with_name(f"{self._path.name}.damaged-{number}{suffix}"))
        self.set_aside = f"the spool was damaged ({error}) and set aside as {self._path.name}.damaged-{number}"

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @staticmethod
    def _set(connection: sqlite3.Connection, **values: object) -> None:
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(k, str(v)) for k, v in values.items()])
