"""What goes up, in which order, and when: after days without a link, and within budgets."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from edge_runtime.device import Device
from edgeloop.errors import StoreError
from edgeloop.layout import BatchName
from edgeloop.stick import open_stick
from tests.site import LOOP, BentStore, Site, make_site, readings

BATCH = 50


class Link(BentStore):
    """A link that breaks after so many batches; the first sequence number of each that came through."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.store)
        self.left, self.begins = 0, list[int]()

    def create(self, path: str, content: bytes) -> None:
        if not self.left:
            raise StoreError("the link is down")
        self.left -= 1
        super().create(path, content)
        self.begins.append(BatchName.parse(path.rpartition("/")[2]).seq)


def predict(device: Device, count: int) -> None:
    for reading in readings(count):
        device.predict(reading)
    device.flush()


def test_after_an_outage_the_newest_and_the_oldest_go_up_by_turns(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    link, home = Link(site), site.home("dev")
    with Device.open(home, clock=site.clock, store=link) as device:
        predict(device, 10 * BATCH)
        for _ in range(2):  # a batch each, and the turn is kept
            link.left = 1
            assert not device.exchange()
    with Device.open(home, clock=site.clock, store=link) as device:
        predict(device, 7)
        link.left = 3
        assert not device.exchange()  # what is new does not wait; and it is a batch of its own only once an exchange
        predict(device, 3)
        link.left = 2
        assert not device.exchange()
        predict(device, BATCH)
        link.left = 100
        assert device.exchange()
        assert device.status().spooled == 0
    # 401 was sealed, and waited for the link, before there were newer ones; so were 101 and 151.
    assert link.begins == [451, 1, 401, 51, 501, 101, 508, 151, 511, 201, 351, 251, 301]
    batches = [BytesIO(site.store.read(entry.path)) for entry in site.store.list(site.config.layout.inbox)]
    assert sorted(seq for batch in batches for seq in pq.read_table(batch)["seq"].to_pylist()) == [*range(1, 561)]


@pytest.fixture
def limited(tmp_path: Path) -> Site:
    return make_site(tmp_path, LOOP.replace("[device]", '[device]\nupload_mb_per_day = 0.01\nwindow = "22:00-06:00"'))


def test_what_is_used_up_waits_for_the_next_day_and_is_no_failure(limited: Site) -> None:
    with limited.open("dev") as device:
        predict(device, 100 * BATCH)
        assert device.exchange()
        first = device.status()
        assert 10_000 <= first.uploaded_bytes < 20_000
        assert first.spooled
        assert first.shipping.startswith("the 0.01 MB of a day are used up until 2024-01-01 ")
    limited.clock.now += timedelta(hours=24)
    with limited.open("dev") as device:
        assert device.status().shipping == first.shipping
        assert device.exchange()
        day = device.status().uploaded_bytes - first.uploaded_bytes
        assert 5_000 < day < 20_000


def test_outside_its_hours_only_the_status_goes_up(limited: Site) -> None:
    limited.clock.now += timedelta(hours=12)
    with limited.open("dev") as device:
        predict(device, BATCH)
        assert device.exchange()
        assert not list(limited.store.list(limited.config.layout.inbox))
        assert b"waits for 22:00-06:00 UTC" in limited.store.read(limited.config.layout.status("dev"))
        limited.clock.now += timedelta(hours=11)
        assert device.exchange()
        assert device.status().shipping == ""
        assert device.status().spooled == 0


def test_a_stick_has_no_budget_and_takes_nothing_off(limited: Site) -> None:
    limited.clock.now += timedelta(hours=12)
    with limited.open("dev") as device:
        predict(device, 100 * BATCH)
        assert device.exchange()
    stick = limited.directory / "stick"
    stick.mkdir()
    with open_stick(stick) as opened, Device.visit(device.home, opened, clock=limited.clock) as device:
        device.ship()
        assert device.status().spooled == 0
        assert device.status().uploaded_bytes > 100_000
    limited.clock.now += timedelta(hours=11)
    with limited.open("dev") as device:
        predict(device, BATCH)
        assert device.exchange()
        assert device.status().spooled == 0
