"""A state file that cannot be opened: the device starts, predicts by what could be read, and goes on when the disk is well again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pyarrow.parquet import read_table

from edge_runtime.device import Device
from edge_runtime.spool import BUFFERED, Spool
from edgeloop.config import DeviceSection
from edgeloop.layout import Layout
from tests.edge_runtime.releases import KINDS, loop_for, release
from tests.edge_runtime.test_probation import killed
from tests.edge_runtime.test_spool import open_spool, record
from tests.site import START, Site, make_site, pass_probation, predict, readings

NOBODY = 65534


@contextmanager
def mounted(at: Path) -> Iterator[Path]:
    """A disk of its own, of 6 MB."""
    at.mkdir(parents=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", at], check=False).returncode:
        pytest.skip("to fill a disk and to make it read-only needs one of its own, which this user may not mount")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is free."""
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    yield
    (disk / "filler").unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


@contextmanager
def as_nobody() -> Iterator[None]:
    """With the rights of a user who owns nothing."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Everybody runs r0001; the devices have a disk of their own."""
    site = make_site(tmp_path, loop_for(KINDS[0]).replace("[device]", "[device]\nspool_mb = 1"))
    with mounted(site.directory / "devices"):
        release(site, 8, KINDS[0])
        pass_probation(site)
        yield site


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that every user reaches, with the state of 20 events."""
    if os.geteuid():
        pytest.skip("only root can be another user")
    with TemporaryDirectory(dir="/tmp") as name:
        home = Path(name)
        with closing(open_spool(home)) as spool:
            record(spool, 20)
        yield home
        home.chmod(0o700)


def stopped(site: Site) -> None:
    with site.open("dev") as device:
        predict(device, 5)


def killed_in_its_work(site: Site) -> None:
    killed(site, "[device.predict({'temp': 1.0}) for _ in range(5)]; device.flush()")


def cut_off(site: Site) -> None:
    killed_in_its_work(site)  # the pages of SQLite's index of its log are never synced: after a power cut there is none


@pytest.mark.parametrize("before", [stopped, killed_in_its_work, cut_off])
@pytest.mark.parametrize("broken", [full, read_only])
def test_a_device_starts_predicts_and_goes_on_when_the_disk_is_well(
    site: Site, before: Callable[[Site], None], broken: Callable[[Path], Iterator[None]]
) -> None:
    before(site)
    home = site.directory / "devices/dev"
    with Device.inspect(home, clock=site.clock) as looked:
        was = looked.status()
    if before is cut_off:
        (home / "state.sqlite-shm").unlink()
    with broken(home.parent):  # type: ignore[attr-defined]
        opened = site.open("dev")
        device = opened.__enter__()  # it outlives the trouble
        answers = [device.predict(reading) for reading in readings(20)]
        assert [answer.seq for answer in answers] == list(range(was.produced + 1, was.produced + 21))
        assert all(answer.label for answer in answers)
        device.flush()
        assert "state.sqlite cannot be" in device.fault
        assert "20 events wait in memory" in device.fault
        assert device.fault in device.status().update.reason
        assert device.status().produced == was.produced  # what a power cut would leave
        device.exchange()
        with Device.inspect(home, clock=site.clock) as looked:
            assert (looked.status().produced, looked.status().release_id) == (was.produced, "r0001")
            assert "cannot be written" in looked.status().update.reason
    assert device.exchange()
    assert not device.fault
    status = device.status()
    opened.__exit__(None, None, None)
    assert (status.epoch, status.produced, status.spooled) == (was.epoch, was.produced + 20, 0)
    assert shipped(site) == list(range(1, status.produced + 1))


def shipped(site: Site) -> list[int]:
    """The numbers of the events that are in the store."""
    found = site.store.list(Layout("pump").inbox)
    batches = [read_table(BytesIO(site.store.read(batch.path))) for batch in found if "/dev/" in batch.path]
    return sorted(seq for batch in batches for seq in batch["seq"].to_pylist())


def test_a_lost_state_leaves_the_release_and_what_was_refused(site: Site) -> None:
    with site.open("dev") as device:
        device._running.slots.refuse("f" * 64, "it was bad")
        was = device.status()
    home = site.directory / "devices/dev"
    (home / "state.sqlite").write_bytes(b"no database" * 1000)
    with site.open("dev") as device:
        predict(device, 5)
        status = device.status()
        assert (status.epoch, status.release_id, status.refused) == (was.epoch + 1, "r0001", {"f" * 64: "it was bad"})
        assert "set aside" in status.update.reason
        assert device.exchange()
        assert (device.status().update.state, device.status().shed) == ("up-to-date", 0)
    (home / "slots").unlink()  # as of an older version
    with site.open("dev"):
        assert (home / "slots").exists()


def test_a_state_that_is_another_users_is_read_and_written_once_it_may_be(home: Path) -> None:
    home.chmod(0o755)
    with as_nobody():
        spool = open_spool(home)
        assert record(spool, 1000) == list(range(21, 1021))
        assert "cannot be opened" in spool.fault
        assert (spool.produced, spool.shed) == (20, 0)
        assert spool.buffered <= BUFFERED * 7
    assert spool.flush()
    kept = [event.seq for event in spool.oldest(9999)]
    assert (spool.fault, spool.produced) == ("", 1020)
    assert kept[:20] == list(range(1, 21))
    assert 20 < len(set(kept)) == len(kept) == 1020 - spool.shed
    spool.close()


def test_a_state_that_cannot_be_read_is_set_aside_and_the_epoch_rises(home: Path) -> None:
    home.chmod(0o777)
    (home / "state.sqlite").chmod(0)
    before = (home / "state.sqlite").read_bytes()
    with as_nobody():
        spool = open_spool(home)
        assert "state.sqlite.damaged-1" in spool.set_aside
        assert (spool.epoch, spool.fault, record(spool, 1)) == (int((home / "epoch").read_text()), "", [1])
        spool.close()
    assert (home / "state.sqlite.damaged-1").read_bytes() == before


def test_what_can_neither_be_read_nor_set_aside_is_once_it_can_be(home: Path) -> None:
    home.chmod(0o755)
    (home / "state.sqlite").chmod(0)
    epoch = int((home / "epoch").read_text())
    with as_nobody():
        spool = open_spool(home)
        assert (spool.epoch, record(spool, 9), spool.produced) == (epoch + 1, list(range(1, 10)), 0)
        assert "cannot be opened" in spool.fault
        assert int((home / "epoch").read_text()) == epoch
    (home / "state.sqlite").chmod(0o644)  # too late: numbers of a new epoch have been given
    assert spool.flush()
    assert "set aside" in spool.set_aside
    spool.close()
    with closing(open_spool(home)) as again:
        assert (again.epoch, again.produced) == (epoch + 1, 9)
        assert len(again.oldest(99)) == 9


def test_a_first_start_on_a_full_disk_loses_no_epoch(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as home:
        (home / "epoch").write_text("600000")  # the file beside it was lost
        with full(home):
            spool = open_spool(home)
            assert spool.fault
            assert record(spool, 20) == list(range(1, 21))
        assert (home / "epoch").read_text() == "600000"
        assert spool.flush()
        assert spool.set_aside == ""
        spool.close()
        with closing(Spool(home / "state.sqlite", DeviceSection(), START, read_only=True)) as looked:
            assert (looked.epoch, looked.produced) == (600_001, 20)
