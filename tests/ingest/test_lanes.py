"""Ingests side by side: every file is in one plan that is not finished, and every row in the lake once."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from edgeloop.errors import AlreadyExists, ConfigError
from edgeloop.store import Store, open_store
from ingest.lanes import WHOLE, Lane, application, parse_lane
from ingest.plan import KEPT, Plan, decode_plan, list_plans
from ingest.run import ingest
from ingest.tables import BATCHES
from tests.ingest.batches import events, named, planned, seal
from tests.site import START, BentStore, Site, make_site

NOW = START + timedelta(days=1)
FOUR = [Lane(number, 4) for number in range(4)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def fill(site: Site, devices: int, batches: int = 1) -> None:
    for device in range(devices):
        for i in range(batches):
            site.store.create(*seal(site, events(1 + 10 * i, 10), device=f"d{device}"))


def lake(site: Site) -> tuple[int, int]:
    """Events, and how many of them are different ones."""
    query = "SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM events"
    (row,) = site.lake.connect(events=None).execute(query).fetchall()
    return row


def write(site: Site, plan: Plan) -> Plan:
    """As an ingest does that is killed right after it."""
    site.store.create(site.config.layout.plan(plan.number), plan.encode())
    return plan


def plans(site: Site) -> list[Plan]:
    layout = site.config.layout
    return [decode_plan(site.store.read(e.path)) for e in site.store.list(layout.plans) if e.path.endswith(".json")]


def test_each_device_is_in_one_lane_and_labels_are_in_the_first(site: Site) -> None:
    layout = site.config.layout
    paths = [f"{layout.inbox}/d{i}/x.parquet" for i in range(200)]
    takers = Counter(lane.number for path in paths for lane in FOUR if lane.takes(layout, path))
    assert takers.total() == len(paths)
    assert min(takers.values()) > 30
    assert [lane.takes(layout, layout.label_file("lab", "x")) for lane in FOUR] == [True, False, False, False]
    assert all(WHOLE.takes(layout, path) for path in paths)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/17", "4", "1/4x", ""])
def test_a_shard_that_is_none_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match="Give each ingest its own"):
        parse_lane(text)
    assert parse_lane("4/4") == Lane(3, 4)


def test_a_lane_leaves_alone_what_another_has_planned_and_a_later_number_blocks_no_earlier_one(site: Site) -> None:
    fill(site, 12)
    first = write(site, planned(site, NOW, 1, FOUR[1]))
    assert first.batches
    ingest(site.store, site.lake, site.config, NOW, FOUR[0])  # plan 2 is committed before plan 1
    assert lake(site)[0] == 10 * sum(len(p.batches) for p in plans(site) if p.lane == 0)
    other = Lane(0, 3)  # of three there is a lane 1 too: that plan is its own to carry out
    assert any(other.takes(site.config.layout, batch.path) for batch in first.batches)
    assert not ingest(site.store, site.lake, site.config, NOW, other).recovered
    waiting = {entry.path for entry in site.store.list(site.config.layout.inbox)}
    assert {batch.path for batch in first.batches} <= waiting
    assert ingest(site.store, site.lake, site.config, NOW, FOUR[1]).recovered
    ingest(site.store, site.lake, site.config, NOW)
    assert lake(site) == (120, 120)


def test_a_lane_that_is_no_more_leaves_nothing_behind(site: Site) -> None:
    fill(site, 12)
    write(site, planned(site, NOW, 1, FOUR[3]))
    report = ingest(site.store, site.lake, site.config, NOW)
    assert report.recovered
    assert lake(site) == (120, 120)
    assert not list(site.store.list(site.config.layout.inbox))


def test_what_another_plan_accepts_is_known_before_it_is_committed(site: Site) -> None:
    """The same events in other bytes: whoever plans them second says that they overlap."""
    path, content = seal(site, events(1, 10))
    site.store.create(path, content)
    first = planned(site, NOW)
    site.store.create(*seal(site, events(5, 10)))
    second = planned(site, NOW, 2, others=[first])
    assert not second.batches
    assert [bad.reason[:16] for bad in second.rejected] == ["its events 5 to "]


def test_a_number_that_was_lost_to_another_lane_is_planned_again_with_the_next(site: Site) -> None:
    fill(site, 12)
    layout, overtaken = site.config.layout, list[int]()

    def overtake(verb: str, path: str) -> None:
        if verb == "create" and path == layout.plan(1) and not overtaken:
            overtaken.append(ingest(site.store, site.lake, site.config, NOW, FOUR[0]).rows)

    report = ingest(BentStore(site.store, before=overtake), site.lake, site.config, NOW, FOUR[1])
    assert report.plan == 2
    assert overtaken[0] > 0 < report.rows
    ingest(site.store, site.lake, site.config, NOW)
    assert lake(site) == (120, 120)


def test_one_that_was_overtaken_by_all_of_it_finds_nothing(site: Site) -> None:
    fill(site, 3)
    layout, overtaken = site.config.layout, list[int]()

    def overtake(verb: str, path: str) -> None:
        if verb == "create" and path == layout.plan(1) and not overtaken:
            overtaken.append(ingest(site.store, site.lake, site.config, NOW).rows)

    report = ingest(BentStore(site.store, before=overtake), site.lake, site.config, NOW, Lane(0, 1))
    assert (report.rows, overtaken) == (0, [30])
    assert report.duplicates == 3  # it had read them before they were taken
    assert lake(site) == (30, 30)


def test_plans_that_are_finished_go_and_no_number_comes_twice(site: Site) -> None:
    layout = site.config.layout
    for number in range(1, 2 * KEPT):
        site.store.create(layout.plan(number), planned(site, NOW, number).encode())
        site.store.create(layout.plan_done(number), b"")
    fill(site, 1)
    assert ingest(site.store, site.lake, site.config, NOW).plan == 2 * KEPT
    ingest(site.store, site.lake, site.config, NOW)
    left = sorted(plan.number for plan in plans(site))
    assert left == list(range(KEPT + 1, 2 * KEPT + 1))
    assert list_plans(site.store, layout).old == ()


def test_a_plan_under_a_number_that_went_is_void(site: Site) -> None:
    """Whoever wrote it had looked when that number was the next one, and went on long after: it takes in nothing, doubles nothing and
    deletes nothing, whether it goes on itself or is killed and somebody else comes."""
    fill(site, 1)
    stale = planned(site, NOW)
    site.store.create(site.config.layout.plan_done(KEPT + 7), b"")
    assert stale.batches
    write(site, stale)
    assert ingest(site.store, site.lake, site.config, NOW).plan == KEPT + 8
    assert lake(site) == (10, 10)
    assert [plan.number for plan in plans(site)] == [KEPT + 8]

    fill_again = seal(site, events(11, 10), device="d0")
    site.store.create(*fill_again)
    asleep = list[str]()

    def sleep(verb: str, path: str) -> None:
        if verb == "create" and path == site.config.layout.plan(KEPT + 9) and not asleep:
            asleep.append(path)
            ingest(site.store, site.lake, site.config, NOW)  # takes it all
            site.store.create(site.config.layout.plan_done(3 * KEPT), b"")
            ingest(site.store, site.lake, site.config, NOW)  # and the plans of then go

    report = ingest(BentStore(site.store, before=sleep), site.lake, site.config, NOW)
    assert asleep
    assert (report.rows, report.duplicates) == (0, 1)
    assert lake(site) == (20, 20)


def test_a_plan_that_nobody_comes_for_is_carried_out_before_it_is_old(site: Site) -> None:
    fill(site, 12)
    stuck = write(site, planned(site, NOW, 1, FOUR[3]))
    site.store.create(site.config.layout.plan_done(KEPT // 2), b"")
    assert not ingest(site.store, site.lake, site.config, NOW, FOUR[0]).recovered
    assert ingest(site.store, site.lake, site.config, NOW, FOUR[0]).recovered
    left = {entry.path for entry in site.store.list(site.config.layout.inbox)}
    assert left.isdisjoint(batch.path for batch in stuck.batches)


def test_a_retry_of_deltalake_appends_no_plan_twice(site: Site) -> None:
    """Two that carry out one plan have to come in after the commit of another lane, which deltalake does by itself."""
    handles = [site.lake.ensure("batches", BATCHES) for _ in range(3)]
    rows = pa.Table.from_pylist([{"device": "d"}], schema=BATCHES)

    def append(handle: DeltaTable, lane: int, number: int) -> None:
        commit = CommitProperties(app_transactions=[Transaction(application(lane), number)])
        write_deltalake(handle, rows, mode="append", commit_properties=commit)

    append(handles[0], 1, 6)
    append(handles[1], 0, 5)
    with pytest.raises(CommitFailedError):
        append(handles[2], 0, 5)
    assert site.lake.connect(batches=None).execute("SELECT count(*) FROM batches").fetchall() == [(2,)]


class Killed(Exception):
    """At this very operation."""


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_between_any_two_operations_every_row_is_there_once(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other ingests come in the midst of one, of any lane, and others in theirs; any is killed; devices send, and send again."""
    monkeypatch.setattr("ingest.judging.PLAN_FILES", 4)
    site, draw = make_site(tmp_path), random.Random(seed)
    sent = [seal(site, events(1 + 10 * i, 10), device=f"d{device}") for device in range(5) for i in range(5)]
    draw.shuffle(sent)
    later = [sent.pop() for _ in range(8)]
    for path, content in [*sent, named(site, b"junk")]:
        site.store.create(path, content)
    left = [12]  # ingests

    def one(depth: int) -> None:
        left[0] -= 1
        store = BentStore(site.store, before=between(depth, draw.randint(1, 60)))
        lane = draw.choice([WHOLE, *FOUR, Lane(0, 2), Lane(1, 2), Lane(2, 3)])
        with contextlib.suppress(Killed):
            ingest(store, site.lake, site.config, NOW, lane)

    def between(depth: int, last: int) -> Callable[[str, str], None]:
        moments = iter(range(10**6))

        def happens(verb: str, path: str) -> None:
            if next(moments) == last and draw.random() < 0.5:
                raise Killed
            if draw.random() < 0.06 and left[0] > 0 and depth < 3:
                one(depth + 1)
            if draw.random() < 0.1:
                with contextlib.suppress(AlreadyExists):
                    site.store.create(*(later.pop() if later else draw.choice(sent)))

        return happens

    while left[0] > 0:
        one(0)
    for path, content in later:
        site.store.create(path, content)
    ingest(site.store, site.lake, site.config, NOW)
    ingest(site.store, site.lake, site.config, NOW)  # lanes that are no more were carried out by the one before
    assert lake(site) == (250, 250)
    query = "SELECT count(*), count(DISTINCT sha256) FROM batches WHERE verdict = 'accepted'"
    assert site.lake.connect(batches=None).execute(query).fetchall() == [(25, 25)]
    assert site.lake.connect(batches=None).execute(
        "SELECT count(*) FROM batches WHERE verdict = 'lost'"
    ).fetchall() == [(0,)]
    assert not list(site.store.list(site.config.layout.inbox))
    assert len(list(site.store.list(site.config.layout.quarantine))) == 2


@pytest.mark.parametrize("seed", range(4))
def test_many_at_once_in_any_lanes_take_every_row_once(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that begin on an empty lake, with other counts of shards, small plans and a device that goes on writing."""
    monkeypatch.setattr("ingest.judging.PLAN_FILES", 3)
    site, draw = make_site(tmp_path), random.Random(seed)
    fill(site, 8, 2)
    site.store.create(*named(site, b"junk"))
    errors = list[BaseException]()
    lanes = [draw.choice([WHOLE, *FOUR, Lane(0, 2), Lane(1, 2), Lane(2, 3)]) for _ in range(4)]
    crew = [
        threading.Thread(target=work, args=(site, lane, random.Random(seed + i), errors))
        for i, lane in enumerate(lanes)
    ]
    for one in crew:
        one.start()
    for i in range(2, 6):
        site.store.create(*seal(site, events(1 + 10 * i, 10), device="d0"))
    for one in crew:
        one.join()
    assert errors == []
    ingest(site.store, site.lake, site.config, NOW)
    assert lake(site) == (200, 200)
    verdicts = site.lake.connect(batches=None).execute("SELECT verdict, count(*) FROM batches GROUP BY 1 ORDER BY 1")
    assert verdicts.fetchall()[0] == ("accepted", 20)
    assert not list(site.store.list(site.config.layout.inbox))


def work(site: Site, lane: Lane, draw: random.Random, errors: list[BaseException]) -> None:
    store: Store = open_store(site.directory / "store")
    try:
        for _ in range(draw.randint(1, 3)):
            ingest(store, site.lake, site.config, NOW, lane)
    except BaseException as error:
        errors.append(error)
