"""The borders at which a device's process can die or be refused something: its disk, its link, its model's self-test."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from edge_runtime.releases import Release
from edge_runtime.state import StateFile
from edgeloop.errors import DataError, StoreError
from edgeloop.store import Store

LINKS = ("down", "torn", "wrong bytes", "lost reply")


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one step: after so many `instants` the process dies, or after so many requests the link is one of `LINKS`,
    or the disk takes nothing."""

    dies_after: int | None = None
    link: str = ""
    requests: int = 0
    disk_full: bool = False


class Died(BaseException):
    """The process is gone: no handler of it runs any more."""


class Borders:
    """The borders of one process: each write of its state, each file that gets its name, each folder that goes, each request."""

    def __init__(self) -> None:
        self.fault, self.dead = Fault(), False
        self._instants, self._requests = 0, 0

    def meet(self, fault: Fault) -> None:
        """What goes wrong from now on."""
        self.fault, self.dead = fault, False
        self._instants, self._requests = 0, 0

    def instant(self) -> None:
        """The process can die here."""
        if self.dead or self._instants == self.fault.dies_after:
            self.die()
        self._instants += 1

    def die(self, where: str = "") -> None:
        self.dead = True
        raise Died(where)

    def request(self) -> str:
        """What the link does to this request; empty for what it should."""
        self.instant()
        self._requests += 1
        return self.fault.link if self._requests > self.fault.requests else ""


class BentLink:
    """The store as the device reaches it."""

    def __init__(self, store: Store, borders: Borders) -> None:
        self._store, self._borders = store, borders

    def create(self, path: str, content: bytes) -> None:
        self._put(self._store.create, path, content)

    def replace(self, path: str, content: bytes) -> None:
        self._put(self._store.replace, path, content)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        does = self._borders.request()
        if does in ("down", "lost reply"):
            raise StoreError("the link is down")
        content = self._store.read_range(path, start, length)
        if does == "torn":
            return content[: len(content) // 2]
        return bytes(len(content)) if does == "wrong bytes" else content

    def read_unless(self, path: str, version: str, length: int) -> tuple[bytes, str] | None:
        does = self._borders.request()
        if does in ("down", "lost reply"):
            raise StoreError("the link is down")
        found = self._store.read_unless(path, version, length)
        if found is None:
            return None
        content, its = found
        if does == "torn":
            return content[: len(content) // 2], its
        return (bytes(len(content)) if does == "wrong bytes" else content), its

    def _put(self, put: Callable[[str, bytes], None], path: str, content: bytes) -> None:
        does = self._borders.request()
        if does == "down":
            raise StoreError("the link is down")
        put(path, content)
        if does == "lost reply":
            raise StoreError("the reply was lost")


@contextmanager
def bent(borders: Borders, deadly: str) -> Iterator[None]:
    """Disk and runtime are as `borders` says meanwhile, and the self-test of the release `deadly` ends the process."""
    transaction, disagreement = StateFile.transaction, Release.disagreement

    @contextmanager
    def bent_transaction(self: StateFile) -> Iterator[sqlite3.Connection]:
        if borders.dead or borders.fault.disk_full:
            raise DataError("the disk takes nothing.")
        borders.instant()
        with transaction(self) as connection:
            yield connection
        borders.instant()

    def bent_disagreement(self: Release) -> str:
        if self.sha256 == deadly:
            borders.die("in the self-test")
        borders.instant()
        return disagreement(self)

    def around(call: Callable[..., None]) -> Callable[..., None]:
        def bent_call(*arguments: Any, **options: Any) -> None:
            borders.instant()
            call(*arguments, **options)
            borders.instant()

        return bent_call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateFile, "transaction", bent_transaction)
        patch.setattr(Release, "disagreement", bent_disagreement)
        patch.setattr(os, "replace", around(os.replace))
        patch.setattr("edge_runtime.releases.shutil.rmtree", around(shutil.rmtree))
        yield
