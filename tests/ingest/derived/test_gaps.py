"""Which numbers are missing: against a count of them one by one, and as a person would ask."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.derived.gaps import Gap, Gaps, find_gaps
from ingest.run import ingest
from ingest.tables import BATCHES
from tests.edgeloop.test_formats import make_status
from tests.ingest.batches import events, named, seal
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def gaps(site: Site) -> list[Gaps]:
    return find_gaps(site.store, site.lake, site.config.layout)


def test_a_gap_has_its_numbers_since_when_it_is_known_and_what_is_in_quarantine(site: Site) -> None:
    for first in (1, 51, 301):
        site.store.create(*seal(site, events(first, 50)))
    ingest(site.store, site.lake, site.config, NOW)
    site.store.create(*seal(site, [*events(201, 20), *events(231, 20)]))
    site.store.create(*named(site, b"junk", 121))
    ingest(site.store, site.lake, site.config, NOW + timedelta(hours=1))
    status = make_status(device="d1", epoch=7, produced=500, acked=430, shed=30, spooled=40, time=NOW)
    site.store.create(site.config.layout.status("d1"), status.encode())
    (found,) = gaps(site)
    assert found.gaps == (
        Gap(101, 200, NOW, (121,)),
        Gap(251, 300, NOW),
        Gap(351, 500, NOW),
    )
    assert (found.produced, found.ingested, found.shed, found.missing, found.waiting) == (500, 190, 30, 280, 40)
    assert (found.quarantined, found.within) == (1, 10)


def test_without_a_status_or_a_batch_there_is_what_is_known(site: Site) -> None:
    status = make_status(device="silent", epoch=3, produced=9, acked=9, time=NOW)
    site.store.create(site.config.layout.status("silent"), status.encode())
    site.store.create(*seal(site, events(11, 5)))
    site.store.create(*named(site, b"junk", device="only-rejects"))
    ingest(site.store, site.lake, site.config, NOW)
    assert [(g.device, [(gap.first, gap.last) for gap in g.gaps], g.quarantined) for g in gaps(site)] == [
        ("d1", [(1, 10)], 0),
        ("only-rejects", [], 1),
        ("silent", [(1, 9)], 0),
    ]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.sampled_from(["accepted", "lost", "rejected"]))),
    more=st.integers(0, 4),
    order=st.randoms(use_true_random=False),
)
def test_gaps_are_those_that_counting_finds(
    shared: Site, steps: list[tuple[int, int, str]], more: int, order: Random
) -> None:
    rows, seq, taken, highest = [], 0, set[int](), 0
    for skipped, length, verdict in steps:
        first, seq = seq + skipped + 1, seq + skipped + length
        rows.append(
            {"device": "d", "epoch": 1, "first_seq": first, "last_seq": seq, "rows": length, "verdict": verdict}
        )
        if verdict != "rejected":
            highest = seq
        if verdict == "accepted":
            taken |= set(range(first, seq + 1))
    order.shuffle(rows)
    rows = [{**row, "ingested_at": NOW, "shed": 0} for row in rows]
    shared.lake.overwrite("batches", pa.Table.from_pylist(rows, schema=BATCHES))
    status = make_status(device="d", epoch=1, produced=highest + more, acked=highest + more)
    shared.store.replace(shared.config.layout.status("d"), status.encode())
    (found,) = gaps(shared)
    numbers = [n for gap in found.gaps for n in range(gap.first, gap.last + 1)]
    assert numbers == sorted(set(range(1, highest + more + 1)) - taken)
    assert all(one.last + 1 < other.first for one, other in zip(found.gaps, found.gaps[1:], strict=False))
    assert len(numbers) + found.within == found.shed + found.missing
