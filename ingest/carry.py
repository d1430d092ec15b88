"""From a stick into the store: batches, label files and statuses, for the usual ingest to take in.

Everything on a stick is hostile. What is looked at here is only what decides where a file goes and whether the centre has it
already; the rest is the ingest's to check, and quarantine is in the store. Rules:
1. A file that the centre has, in the lake, in quarantine or waiting, is not carried again: a stick may come any number of times.
2. A file whose name is no name of ours, or whose bytes are not those that its name says, stays on the stick.
3. A status is carried only if it is newer than the one in the store, and not of a time to come.
4. From the stick is removed only what the centre has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError, NotFound, StoreError
from edgeloop.lake import Lake
from edgeloop.roster import STATUS_BYTES
from edgeloop.status import DeviceStatus, decode_status
from edgeloop.stick import Stick
from edgeloop.store import Entry, Store
from ingest.checks.check import FUTURE, MAX_BYTES, batch_place, check_labels, label_source
from ingest.known import known_batches, knows_labels
from ingest.quarantine import held_at, quarantine_place


@dataclass(frozen=True)
class Carried:
    """Paths on the stick: what was carried, what the centre had (`known`), and what stays, with the reason (`refused`)."""

    batches: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def carry(
    stick: Stick, store: Store, lake: Lake, config: LoopConfig, now: datetime, *, dry_run: bool = False
) -> Carried:
    """Carry what is new on `stick` into the store; the stick stays as it is. Can be repeated after a kill at any point.

    Args:
        dry_run: only look; the store stays as it is, too.

    Raises:
        StoreError: the store or the stick failed; do it again.
    """
    carried = Carried()
    layout, centre = config.layout, _Centre(store, lake, config, now)

    def take(kind: list[str], paths: Iterable[str], wanted: Callable[[str], Callable[[], None] | None]) -> None:
        for path in paths:
            try:
                put = wanted(path)
                if put is not None and not dry_run:
                    put()
            except DataError as error:
                carried.refused[_text(path)] = str(error)
                continue
            (carried.known if put is None else kind).append(path)

    take(carried.batches, stick.files(layout.inbox, 1), lambda path: centre.batch(path, stick))
    take(carried.labels, stick.files(layout.labels, 1), lambda path: centre.labels(path, stick))
    take(carried.statuses, stick.files(layout.statuses, 0), lambda path: centre.status(path, stick))
    return carried


def remove(stick: Stick, carried: Carried) -> None:
    """Remove from the stick what the centre has. Raises `StoreError`."""
    os.sync()  # a store in a directory leaves it to the system when to write, and this may be the last copy
    for path in (*carried.batches, *carried.labels, *carried.statuses, *carried.known):
        stick.delete(path)


class _Centre:
    """What the centre has. Each method gives what puts the file at `path` into the store, or None if that is not needed.

    They raise `DataError` for a file that is not to be carried.
    """

    def __init__(self, store: Store, lake: Lake, config: LoopConfig, now: datetime) -> None:
        self._store, self._lake, self._config, self._now = store, lake, config, now
        self._digests = {digest for batches in known_batches(lake).values() for _, _, digest in batches}
        self._statuses = {entry.path: entry for entry in store.list(config.layout.statuses)}

    def batch(self, path: str, stick: Stick) -> Callable[[], None] | None:
        _, name = batch_place(path, self._config)
        content = _read(stick, path, MAX_BYTES)
        if sha256(content).hexdigest() != name.sha256:
            raise DataError("its content is not what its name says: damaged on the stick.")
        return None if name.sha256 in self._digests else self._new(path, content)

    def labels(self, path: str, stick: Stick) -> Callable[[], None] | None:
        source, name = label_source(path, self._config), path.rpartition("/")[2]
        if not name.endswith(".parquet") or path != self._config.layout.label_file(
            source, name.removesuffix(".parquet")
        ):
            raise DataError("it is not called <id>.parquet.")
        content = _read(stick, path, MAX_BYTES)
        return None if self._knows_labels(content, source) else self._new(path, content)

    def status(self, path: str, stick: Stick) -> Callable[[], None] | None:
        content = _read(stick, path, STATUS_BYTES)
        status = decode_status(content)
        if (status.loop, path) != (self._config.name, self._config.layout.status(status.device)):
            raise DataError(f"it says it is of {status.device!r} in loop {status.loop!r}, which is another place.")
        if status.time > self._now + FUTURE:
            raise DataError(f"it says it is of {status.time:%Y-%m-%d %H:%M}, a time to come.")
        there = self._statuses.get(path)
        if there is not None and (known := self._read_status(there)) is not None and known.time >= status.time:
            return None
        return lambda: self._store.replace_if(path, content, there.version if there else None)

    def _new(self, path: str, content: bytes) -> Callable[[], None] | None:
        """What creates the object, unless it is in quarantine or waits already."""
        layout = self._config.layout
        if self._size(held_at(layout, quarantine_place(layout, path))) is not None:
            return None
        if (size := self._size(path)) is None:
            return lambda: self._store.create(path, content)
        if size != len(content) or self._store.read(path) != content:
            raise DataError("another file of that name waits in the store.", remedy="Ingest, then do it again.")
        return None

    def _size(self, path: str) -> int | None:
        try:
            return self._store.size(path)
        except NotFound:
            return None

    def _read_status(self, entry: Entry) -> DeviceStatus | None:
        try:
            return decode_status(self._store.read(entry.path)) if entry.size <= STATUS_BYTES else None
        except (DataError, NotFound):
            return None  # what cannot be read is not to stand in the way of what can

    def _knows_labels(self, content: bytes, source: str) -> bool:
        try:
            rows = check_labels(content, self._config, self._now)
        except DataError:
            return False  # for the ingest to put into quarantine
        return knows_labels(self._lake, rows, source)


def _read(stick: Stick, path: str, limit: int) -> bytes:
    try:
        return stick.read(path, limit)
    except StoreError as error:  # one bad sector is no reason to leave the other files
        raise DataError(error.message, remedy=error.remedy) from error


def _text(path: str) -> str:
    """The path as text that can be printed: a name on a stick need not be UTF-8."""
    return os.fsencode(path).decode(errors="replace")
