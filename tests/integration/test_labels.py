"""Labels through the real intake: late, early, corrected, doubled and contradicting ones, into what is counted with them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from edgeloop.config import parse_loop
from ingest.derived.aggregates import update_aggregates
from ingest.run import ingest
from tests.ingest.batches import events, put_labels, seal, told
from tests.site import LOOP, START, Site, make_site

PREFERRED = LOOP.replace("[label]", '[label]\nsources = ["inspection", "operator"]')
HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, PREFERRED)


def take_in(site: Site, now: datetime = START + 9 * HOUR) -> None:
    ingest(site.store, site.lake, site.config, now)
    update_aggregates(site.lake)


def counted(site: Site) -> tuple[int, int]:
    """How many events are labelled, and how many of them were predicted right; all were predicted `good`."""
    query = "SELECT sum(labelled)::INT, sum(correct)::INT FROM device_hourly"
    (row,) = site.lake.connect(device_hourly=None).execute(query).fetchall()
    return row[0], row[1]


def test_what_counts_follows_every_label_that_comes(site: Site) -> None:
    put_labels(
        site, "operator", told(1, "good", 2), told(2, "good", 2), told(99, "good", 2), told(1, "good", 2, "nobody")
    )
    take_in(site)  # before their events, two of which never come
    site.store.create(*seal(site, events(1, 50)))
    for source, rows, wanted in (
        ("operator", [], (2, 2)),
        ("operator", [told(1, "good", 2)], (2, 2)),  # once more
        ("operator", [told(1, "bad", 3)], (2, 1)),  # corrected
        ("operator", [told(1, "good", 1)], (2, 1)),  # what was known before that, and came late
        ("inspection", [told(1, "good", 1)], (2, 2)),  # a better source, whenever it knew
        ("operator", [told(1, "bad", 8)], (2, 2)),
        ("guess", [told(1, "bad", 8), told(2, "bad", 8), told(3, "good", 8)], (3, 3)),
        ("inspection", [told(1, "bad", 2)], (3, 2)),  # corrects itself
    ):
        if rows:
            put_labels(site, source, *rows)
        take_in(site)
        assert counted(site) == wanted, (source, rows)


def test_the_order_in_which_labels_come_has_no_part_in_what_counts(tmp_path: Path) -> None:
    files = [
        ("operator", [told(1, "bad", 2), told(1, "good", 2), told(2, "bad", 1)]),  # which contradicts itself
        ("inspection", [told(2, "good", 1)]),
        ("operator", [told(2, "bad", 3), told(3, "bad", 3), told(3, "bad", 3)]),
    ]
    found = []
    for n, order in enumerate(permutations(files)):
        site = make_site(tmp_path / str(n), PREFERRED)
        site.store.create(*seal(site, events(1, 50)))
        for i, (source, rows) in enumerate(order):
            put_labels(site, source, *rows[:: -1 if n % 2 else 1])
            take_in(site, START + (5 + i) * HOUR)
        query = "SELECT ts, label, source, known_at FROM truth ORDER BY ts"
        found.append((counted(site), site.lake.connect(labels=None).execute(query).fetchall()))
    assert all(one == found[0] for one in found)
    assert found[0][0] == (3, 1)


def test_another_order_of_sources_counts_again_what_is_there(site: Site) -> None:
    site.store.create(*seal(site, events(1, 50)))
    put_labels(site, "inspection", told(1, "bad", 1), told(2, "good", 1))
    put_labels(site, "operator", told(1, "good", 2), told(2, "good", 2))
    take_in(site)
    assert counted(site) == (2, 1)
    site.config = parse_loop(PREFERRED.replace('"inspection", "operator"', '"operator"'))
    take_in(site)
    assert counted(site) == (2, 2)
