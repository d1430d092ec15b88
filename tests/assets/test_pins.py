"""Which versions of the lake are kept, and for whom."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from assets.delivery import publish_newest
from assets.learning import train_next
from assets.pins import Pinned, find_pins, pinned_versions
from fleet.releases import withdraw_release
from tests.site import START, fill_lake, make_site


def test_live_releases_pin_and_the_training_that_may_become_one(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    assert find_pins(site.centre, site.config) == []
    fill_lake(site, 24 * 8)
    site.clock.now = START + timedelta(days=9)
    train_next(site.centre, site.config)
    assert publish_newest(site.centre, site.config) is not None
    fill_lake(site, 24 * 2, since=START + timedelta(days=10))
    site.clock.now = START + timedelta(days=13)
    train_next(site.centre, site.config)
    first = [Pinned("r0001", "events", 1), Pinned("r0001", "labels", 1)]
    second = [Pinned("r0002", "events", 2), Pinned("r0002", "labels", 2)]
    assert find_pins(site.centre, site.config) == [*first, *second]
    assert pinned_versions([*first, *second]) == {"events": {1, 2}, "labels": {1, 2}}
    withdraw_release(site.store, site.keys, site.config.name, "r0001", site.clock())
    assert find_pins(site.centre, site.config) == second
