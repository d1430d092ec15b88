"""The one SQLite file of a device: opened, set aside when it is damaged, written all or nothing, by any thread.

Rules:
1. A file that is damaged (a page, or a value of `meta`, which has a checksum beside it), or cannot even be read, is set aside and a
   new one begun with a higher epoch, so that no sequence number is ever used twice. Where the disk does not let that be, it is so in
   memory, and on the disk once it can. The new one begins with the values of `COPIED`, which are in the file `slots` beside it as
   they were written last.
2. All threads share one connection and take turns by `lock`, which is held for a disk's time and never for a network's.
3. What the disk refuses is a `DataError`, and nothing of that transaction has happened.
4. Looking (`read_only`) changes no file, and works beside a running device.
5. What can be read and not opened for writing (the disk is full or read-only, the file another user's) is stood in for by what was
   read, until `reopen` succeeds: the same epoch, the same numbers, and nothing is taken for written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from shutil import disk_usage
from typing import Any

import msgspec

from edge_runtime.durable import durable_write
from edgeloop.errors import DataError

# The weight of a group is its level: that of every event in it which was not spared (`groups.py`).
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (
    first_seq INTEGER PRIMARY KEY, weight REAL NOT NULL, content BLOB NOT NULL, events INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS groups_by_weight ON groups (weight, first_seq);
CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY, events INTEGER NOT NULL, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cuts (seq INTEGER PRIMARY KEY);
"""

PATIENCE = 0.1
"""Seconds to wait for another process's lock. Only a backup can have one, and a prediction is not to wait for it."""

COPIED = ("committed", "previous", "refused")
"""Without these a device would have no model until its next poll, and would try again what it refused."""

LEAST_FREE = 64_000
"""Bytes that a disk must have for SQLite to begin a log and the index of it."""


class StateFile:
    """The file at `path`; beside it `epoch` and `slots` remember what is needed should the file be lost.

    Args:
        now: used to number a new epoch only.
        read_only: to look at it.

    Raises:
        DataError: read only: it cannot be read, or is damaged.
    """

    def __init__(self, path: Path, now: datetime, *, read_only: bool = False) -> None:
        self.path, self.lock, self.set_aside = path, threading.RLock(), ""
        self.fault = ""
        """Why something stands in for the file; empty if nothing does."""
        self._unreadable, self._copied = False, self._read_copied()
        if read_only:
            with self._own_errors("read"):
                self._connection = self._look()
        else:
            self._open(now)

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """What a query finds. Raises `DataError`."""
        with self.lock, self._own_errors("read"):
            return self._connection.execute(query, parameters).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything done in it, or nothing. Raises `DataError`."""
        with self.lock, self._own_errors("written"):
            if self.fault:
                raise sqlite3.OperationalError(self.fault)
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # a full disk can have ended it already
                    connection.execute("ROLLBACK")

    def reopen(self) -> None:
        """Open the file in the place of what stands in for it. Raises `DataError`, and all is as before."""
        with self.lock, self._own_errors("opened"):
            if self._unreadable:
                self._move_away()
            connection = self._connect()
            self._connection.close()
            self._connection, self.fault = connection, ""

    def copy(self) -> None:
        """Write the values of `COPIED` beside the file, if they are others than before and the disk takes it."""
        values = dict(self.rows(f"SELECT key, value FROM meta WHERE key IN {COPIED}"))
        if values != self._copied:
            with contextlib.suppress(OSError):
                durable_write(self.path.with_name("slots"), msgspec.json.encode(values))
                self._copied = values

    def unwritable(self) -> str:
        """Why nothing can be written here, as far as looking tells; empty if nothing speaks against it."""
        if self.path.exists() and not os.access(self.path, os.W_OK):
            return f"{self.path} cannot be written: it is read-only, or another user's."
        free = disk_usage(self.path.parent).free
        return f"{self.path} cannot be written: {free} bytes of the disk are free." if free < LEAST_FREE else ""

    def close(self) -> None:
        """Close; whoever still uses it gets a `DataError`."""
        with self.lock:
            self._connection.close()

    def _look(self) -> sqlite3.Connection:
        if not self.path.exists():
            return _stand_in({"epoch": "0"})
        connection = self._read_only()
        try:
            _values(connection)
        except sqlite3.OperationalError:  # after a crash on a disk that is read-only now, say
            connection.close()
            return _stand_in(self._kept())
        return connection

    def _open(self, now: datetime) -> None:
        self._epoch = self._next_epoch(now)
        try:
            self._connection = self._connect()
            return
        except (sqlite3.DatabaseError, OSError) as error:
            self.fault = str(error)
        try:
            kept = self._kept()
            self._epoch = int(kept["epoch"])
            self._connection = _stand_in(kept)
        except (sqlite3.DatabaseError, KeyError):
            self._connection = _stand_in({**self._copied, "epoch": str(self._epoch)})
            self._unreadable = self.path.exists() and self.path.stat().st_size > 0  # not of a start on a full disk
            with contextlib.suppress(DataError):
                self.reopen()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 256")  # a log of 1 MB, for it is part of the disk budget
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("its pages are inconsistent")
            connection.executescript(_TABLES)
            connection.execute("DELETE FROM meta WHERE FALSE")  # which a file that cannot be written refuses
            for table, column in (("groups", "events INTEGER NOT NULL DEFAULT 0"), ("meta", "checksum INTEGER")):
                if column.split()[0] not in {known[1] for known in connection.execute(f"PRAGMA table_info({table})")}:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")  # it is of an older version
            connection.execute("SELECT name FROM batches").fetchall()  # as text
            if "epoch" not in _values(connection):
                durable_write(self.path.with_name("epoch"), str(self._epoch).encode())
                _insert(connection, {**self._copied, "epoch": str(self._epoch)})
        except (sqlite3.DatabaseError, OSError):
            connection.close()
            raise
        return connection

    def _kept(self) -> dict[str, str]:
        """The values in the file, read without a lock and without SQLite's index of its log, for which there may be no room."""
        with contextlib.closing(self._read_only("&vfs=unix-none")) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("its pages are inconsistent")
            return _values(connection)

    def _read_only(self, how: str = "") -> sqlite3.Connection:
        # Without a write-ahead log nobody is at work, and SQLite would begin one only to look.
        idle = not self.path.with_name(self.path.name + "-wal").exists()
        uri = f"{self.path.absolute().as_uri()}?mode=ro{how}{'&immutable=1' if idle else ''}"
        return sqlite3.connect(uri, timeout=PATIENCE, isolation_level=None, uri=True, check_same_thread=False)

    def _next_epoch(self, now: datetime) -> int:
        # Hours since 1970, so that it rises even if this whole directory was lost; one more than the last one known, so
        # that it rises even if the clock went back.
        epoch = max(1, int(now.timestamp() // 3600))
        with contextlib.suppress(OSError, ValueError):
            epoch = max(int(self.path.with_name("epoch").read_text()) + 1, epoch)
        return epoch

    def _read_copied(self) -> dict[str, str]:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self.path.with_name("slots").read_bytes(), type=dict[str, str])
        return {}

    def _move_away(self) -> None:
        number = len(list(self.path.parent.glob(f"{self.path.name}.damaged-*"))) + 1
        for suffix in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + suffix)
            if file.exists():
                file.rename(self.path.with_name(f"{self.path.name}.damaged-{number}{suffix}"))
        self._unreadable = False
        self.set_aside = (
            f"the spool could not be read ({self.fault}) and was set aside as {self.path.name}.damaged-{number}"
        )

    @contextlib.contextmanager
    def _own_errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise DataError(
                f"{self.path} cannot be {done}: {error}.", remedy="Check its permissions and the space on the disk."
            ) from error
        except sqlite3.Error as error:
            raise DataError(
                f"{self.path} cannot be {done}: {error}.", remedy="If it is damaged, the next run sets it aside."
            ) from error


def _stand_in(kept: dict[str, str]) -> sqlite3.Connection:
    """A state in memory with these values; no events."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.executescript(_TABLES)
    _insert(connection, kept)
    return connection


def _insert(connection: sqlite3.Connection, values: dict[str, str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    keep(connection, values)
    connection.execute("COMMIT")


def keep(connection: sqlite3.Connection, values: Mapping[str, object]) -> None:
    """Put `values` into `meta`, each with its checksum."""
    texts = [(key, str(value)) for key, value in values.items()]
    connection.executemany(
        "INSERT OR REPLACE INTO meta (key, value, checksum) VALUES (?, ?, ?)",
        [(key, text, _checksum(key, text)) for key, text in texts],
    )


def _values(connection: sqlite3.Connection) -> dict[str, str]:
    """The values of `meta`. Raises `sqlite3.DatabaseError`: one is not what was put; of an older version there is no telling."""
    found = dict[str, str]()
    for key, value, *checksum in connection.execute("SELECT * FROM meta"):
        if checksum not in ([], [None], [_checksum(key, value)]):
            raise sqlite3.DatabaseError(f"its value of {key} is damaged")
        found[key] = value
    return found


def _checksum(key: object, value: object) -> int:
    return zlib.crc32(f"{key}={value}".encode())
