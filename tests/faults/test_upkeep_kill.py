"""kill -9 of an upkeep at every step, in a process of its own, and two of them beside an intake: every row stays, once."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from edgeloop.errors import StoreError
from edgeloop.store import open_store
from ingest.run import ingest
from ingest.upkeep import compaction
from ingest.upkeep import nightly as upkeep
from ingest.upkeep.nightly import tend
from ingest.upkeep.vacuum import data_files
from tests.ingest.batches import events, seal
from tests.site import START, BentStore, Site, kill_self, make_site

NOW = START + timedelta(days=40)
BATCHES, ROWS = 9, 20


def take_in(site: Site, batches: int, first: int = 0) -> None:
    for i in range(first, first + batches):
        site.store.create(*seal(site, events(1 + ROWS * i, ROWS)))
        ingest(site.store, site.lake, site.config, START + timedelta(days=1, minutes=i))


def bend(site: Site, point: str) -> BentStore:
    """A store that kills its process at an instant: before the commit of the joined files, after it, in the midst of a vacuum."""
    log, seen = f"{site.config.layout.lake('events')}/_delta_log/", {"n": 0}

    def before(verb: str, path: str) -> None:
        if point == "joined" and verb == "create" and path.startswith(log):
            kill_self()
        if point == "vacuum" and verb == "delete" and path.endswith(".parquet"):
            seen["n"] += 1
            if seen["n"] > 3:
                kill_self()

    def after(verb: str, path: str) -> None:
        if point == "committed" and verb == "create" and path.startswith(log):
            kill_self()

    return BentStore(site.store, before=before, after=after)


def child(site: Site, point: str, now: datetime) -> None:
    if point == "aside":  # in the midst of writing
        compaction._adopt = kill_self  # type: ignore[assignment]
    tend(bend(site, point), site.config.layout, {}, now)


def run(target: Any, *arguments: Any) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def demand_every_row_once(site: Site, rows: int) -> None:
    query = "SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM events"
    assert site.lake.connect(events=None).execute(query).fetchall() == [(rows, rows)]


@pytest.mark.parametrize("point", ["aside", "joined", "committed", "vacuum"])
def test_after_a_kill_every_row_is_there_once(tmp_path: Path, point: str) -> None:
    site = make_site(tmp_path)
    take_in(site, BATCHES)
    now = datetime.now(UTC) + timedelta(days=1)
    if point == "vacuum":
        tend(site.store, site.config.layout, {}, datetime.now(UTC))
        now += timedelta(days=8)
    process = run(child, site, point, now)
    process.join(60)
    assert process.exitcode == -9
    demand_every_row_once(site, BATCHES * ROWS)
    take_in(site, 1, BATCHES)
    tend(site.store, site.config.layout, {}, now)
    demand_every_row_once(site, (BATCHES + 1) * ROWS)
    # Nine days later nothing is left of what the killed one wrote.
    tend(site.store, site.config.layout, {}, now + timedelta(days=9))
    names = {entry.path.rpartition("/")[2] for entry in data_files(site.store, site.config.layout, "events")}
    assert names == site.lake.files("events")


def tend_for_ever(site: Site, url: str) -> None:
    upkeep.HISTORY = timedelta(0)
    while True:
        try:
            tend(open_store(url), site.config.layout, {}, NOW)
        except StoreError:  # another's commit came between
            continue


def compactions(site: Site, since: int) -> int:
    found = site.lake.commits("events", since + 1, site.lake.version("events"))
    return sum(commit.operation == "OPTIMIZE" for commit in found)


KILLS = 3


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_two_that_are_killed_again_and_again_beside_an_intake(tmp_path: Path, store_url: str) -> None:
    site = make_site(tmp_path, store=open_store(store_url))
    workers = [run(tend_for_ever, site, store_url) for _ in range(2)]
    taken = killed = since = 0
    try:
        while killed < KILLS:
            take_in(site, 1, taken)
            taken += 1
            if compactions(site, since) >= 3:  # it is at work, wherever that is
                worker = workers[killed % 2]
                worker.kill()
                worker.join()
                workers[killed % 2] = run(tend_for_ever, site, store_url)
                killed, since = killed + 1, site.lake.version("events")
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    demand_every_row_once(site, taken * ROWS)
    rows = site.lake.connect(batches=None).execute("SELECT count(*), count(DISTINCT path) FROM batches").fetchall()
    assert rows == [(taken, taken)]
    assert compactions(site, 0) >= 3 * KILLS
