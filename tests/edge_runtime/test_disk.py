"""A disk that fails: predictions go on, the books stay true, and nothing is believed that was not written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge_runtime import spool as spool_module
from edge_runtime.budget import Budget
from edge_runtime.device import Device
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import DeviceSettings
from edge_runtime.shipper import ship
from edge_runtime.spool import BUFFERED, Spool
from edgeloop.config import DeviceSection
from edgeloop.errors import DataError
from edgeloop.store import open_store
from tests.edge_runtime.test_spool import SCHEMA, open_spool, record
from tests.site import START, make_site, readings

SETTINGS = DeviceSettings(1, "pump", "d", "memory://", SCHEMA, DeviceSection())
BUDGET = Budget(DeviceSection(), "", START)


@contextmanager
def disk_full(spool: Spool) -> Iterator[None]:
    """SQLite's own SQLITE_FULL: the file may not grow by a page."""
    connection = spool._state._connection
    connection.execute("CREATE TABLE IF NOT EXISTS filler (content BLOB)")
    connection.execute("INSERT INTO filler VALUES (zeroblob(4000))")  # uses up the pages that are free
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        connection.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def locked(spool: Spool) -> Iterator[None]:
    """Another process that writes, and does not end."""
    with closing(sqlite3.connect(spool._state.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def fill(spool: Spool, inputs: int = 1) -> None:
    """Until the disk refuses a group."""
    while spool.flush():
        spool.record(0, "r" * 4000, "good", 0.9, 1.0, [0.0] * inputs)


@pytest.mark.parametrize("broken", [disk_full, locked])
def test_events_wait_in_memory_and_are_written_when_it_can(tmp_path: Path, broken) -> None:  # type: ignore[no-untyped-def]
    spool = open_spool(tmp_path)
    with broken(spool):
        fill(spool)
        written = spool.produced
        numbers = record(spool, 20)
        assert "wait in memory" in spool.fault
        assert spool.produced == written < numbers[0]  # what a power cut would leave
        assert not spool.put(uploaded=7)
        assert spool.get("uploaded") == "7"
    assert spool.flush()
    assert spool.fault == ""
    spool.close()
    again = open_spool(tmp_path)
    assert again.produced == numbers[-1]
    assert again.get("uploaded") == "7"
    assert [event.seq for event in again.oldest(10**6)] == list(range(1, numbers[-1] + 1))
    again.close()


def test_what_memory_cannot_hold_is_declared_shed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    with locked(spool):
        record(spool, 1000)
        assert spool.buffered <= BUFFERED * 7
    spool.flush()
    kept = spool.oldest(10**6)
    assert spool.produced == 1000 == len(kept) + spool.shed
    assert [event.seq for event in kept] == sorted(event.seq for event in kept)
    weights = [event.weight for event in kept]
    assert sum(weights) == pytest.approx(1000, abs=8 * max(weights))
    assert max(weights) <= 4 * 1000 / len(kept)
    assert record(spool, 1) == [1001]
    spool.close()


def test_a_disk_that_fails_is_tried_ever_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(tmp_path)
    now, tries = 0.0, []
    monkeypatch.setattr(spool_module.time, "monotonic", lambda: now)

    def refuse(*_: object) -> None:
        tries.append(now)
        raise DataError("full")

    monkeypatch.setattr(spool, "_write", refuse)
    for second in range(600):
        now = float(second)
        record(spool, 5)
    assert 10 < len(tries) < 20
    spool._state.close()


def test_an_acknowledgement_that_cannot_be_written_is_not_believed(tmp_path: Path) -> None:
    spool, store = open_spool(tmp_path), open_store("memory://")
    record(spool, 20)
    spool.flush()
    events = spool.oldest(10)
    batch = seal_batch(events, SETTINGS, spool.epoch, 0, START)
    with locked(spool), pytest.raises(DataError, match="space on the disk"):
        spool.seal(batch, events)
    spool.seal(batch, events)
    with locked(spool), pytest.raises(DataError, match="cannot be written"):
        list(ship(spool, store, SETTINGS, BUDGET, lambda: START))
    assert (spool.acked, spool.spooled) == (0, 20)
    list(ship(spool, store, SETTINGS, BUDGET, lambda: START))
    assert (spool.acked, spool.spooled) == (20, 0)
    spool.close()


def test_a_device_on_a_full_disk_predicts_and_says_so(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with site.open("dev") as device:
        with disk_full(device._spool):
            fill(device._spool, 4)
            for reading in readings(2000):
                device.predict(reading)
            device.exchange()
            assert "disk is full" in device.status().update.reason
        assert device.exchange()
        status = device.status()
        assert "full" not in status.update.reason
        assert status.produced == status.acked + status.shed
        last = status.produced
    with Device.inspect(site.directory / "devices/dev", clock=site.clock) as device:
        assert device.status().produced == last


def test_what_waited_in_memory_and_is_thinned_again_goes_up_in_its_order(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, spool_mb=0.004, flush_events=10)
    record(spool, 30)
    with locked(spool):
        record(spool, 400)  # its beginning weighs more than what was written before
    spool.flush()
    for _ in range(200):
        record(spool, 10)
        seqs = [event.seq for event in spool.oldest(10**6)]
        assert seqs == sorted(seqs)
    assert spool.shed
    spool.close()
