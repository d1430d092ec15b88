"""The one SQLite file of a device: opened, set aside when it is damaged, written all or nothing, by any thread.

Rules:
1. A damaged file is set aside and a new one begun with a higher epoch, so that no sequence number is ever used twice.
2. All threads share one connection and take turns by `lock`, which is held for a disk's time and never for a network's.
3. What the disk refuses is a `DataError`, and nothing of that transaction has happened.
4. Looking (`read_only`) changes no file, and works beside a running device.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from edgeloop.errors import DataError

# The weight of a group is its level: that of every event in it which was not spared (`groups.py`).
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (
    first_seq INTEGER PRIMARY KEY, weight REAL NOT NULL, content BLOB NOT NULL, events INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS groups_by_weight ON groups (weight, first_seq);
CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY, events INTEGER NOT NULL, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cuts (seq INTEGER PRIMARY KEY);
"""

PATIENCE = 0.1
"""Seconds to wait for another process's lock. Only a backup can have one, and a prediction is not to wait for it."""


class StateFile:
    """The file at `path`; beside it `epoch` remembers the epoch should the file be lost.

    Args:
        now: used to number a new epoch only.
        read_only: to look at it.

    Raises:
        DataError: it cannot be opened; read only, also that it is damaged.
    """

    def __init__(self, path: Path, now: datetime, *, read_only: bool = False) -> None:
        self.path, self.lock, self.set_aside = path, threading.RLock(), ""
        with self._own_errors("opened"):
            self._connection = self._look() if read_only else self._open(now)

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """What a query finds. Raises `DataError`."""
        with self.lock, self._own_errors("read"):
            return self._connection.execute(query, parameters).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything done in it, or nothing. Raises `DataError`."""
        with self.lock, self._own_errors("written"):
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # a full disk can have ended it already
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close; whoever still uses it gets a `DataError`."""
        with self.lock:
            self._connection.close()

    def _look(self) -> sqlite3.Connection:
        if not self.path.exists():
            connection = sqlite3.connect(":memory:")
            connection.executescript(_TABLES + "INSERT INTO meta VALUES ('epoch', '0');")
            return connection
        # Without a write-ahead log nobody is at work, and SQLite would begin one only to look.
        idle = not self.path.with_name(self.path.name + "-wal").exists()
        uri = f"{self.path.absolute().as_uri()}?mode=ro{'&immutable=1' if idle else ''}"
        return sqlite3.connect(uri, timeout=PATIENCE, isolation_level=None, uri=True, check_same_thread=False)

    def _open(self, now: datetime) -> sqlite3.Connection:
        try:
            return self._connect(now)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._move_away(error)
            return self._connect(now)

    def _connect(self, now: datetime) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 256")  # a log of 1 MB, for it is part of the disk budget
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("its pages are inconsistent")
            connection.executescript(_TABLES)
            if "events" not in {column[1] for column in connection.execute("PRAGMA table_info(groups)")}:  # older
                connection.execute("ALTER TABLE groups ADD COLUMN events INTEGER NOT NULL DEFAULT 0")
            if connection.execute("SELECT 1 FROM meta WHERE key = 'epoch'").fetchone() is None:
                connection.execute("INSERT INTO meta VALUES ('epoch', ?)", (str(self._new_epoch(now)),))
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _new_epoch(self, now: datetime) -> int:
        # Hours since 1970, so that it rises even if this whole directory was lost; one more than the last one known, so
        # that it rises even if the clock went back.
        marker = self.path.with_name("epoch")
        epoch = max(1, int(now.timestamp() // 3600))
        with contextlib.suppress(OSError, ValueError):
            epoch = max(int(marker.read_text()) + 1, epoch)
        marker.write_text(str(epoch))
        return epoch

    def _move_away(self, error: sqlite3.DatabaseError) -> None:
        number = len(list(self.path.parent.glob(f"{self.path.name}.damaged-*"))) + 1
        for suffix in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + suffix)
            if file.exists():
                file.rename(self.path.with_name(f"{self.path.name}.damaged-{number}{suffix}"))
        self.set_aside = f"the spool was damaged ({error}) and set aside as {self.path.name}.damaged-{number}"

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
