"""Processes that ingest from one MinIO at once, in one lane, in several, and by counts of shards that do not agree, while devices write."""

from __future__ import annotations

import multiprocessing
import random
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

import ingest.judging
from edgeloop.config import parse_loop
from edgeloop.lake import Lake
from edgeloop.store import open_store
from ingest.lanes import parse_lane
from ingest.run import ingest as run_ingest
from tests.ingest.batches import events, seal
from tests.ingest.test_lanes import NOW
from tests.site import LOOP, Site, make_site

DEVICES, BATCHES, ROWS, ROUNDS = 12, 6, 10, 3

SHARDS = {
    "one lane": ["1/1", "1/1", "1/1"],
    "several": ["1/3", "2/3", "3/3"],
    "several that do not agree": ["1/1", "1/2", "3/3"],
}


@pytest.fixture
def store_kind() -> str:
    return "minio"


@pytest.mark.parametrize("shards", SHARDS.values(), ids=SHARDS)
def test_every_row_is_in_the_lake_once(shards: list[str], tmp_path: Path, store_url: str) -> None:
    site = make_site(tmp_path, store=open_store(store_url))
    batches = [(device, i) for device in range(DEVICES) for i in range(BATCHES)]
    random.Random(str(shards)).shuffle(batches)
    send(site, batches[::2])
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(shards) + 1)
    crew = [spawn.Process(target=work, args=(store_url, shard, barrier)) for shard in shards]
    for one in crew:
        one.start()
    barrier.wait(120)
    send(site, batches[1::2])
    for one in crew:
        one.join(240)
    assert [one.exitcode for one in crew] == [0] * len(crew)
    assert site.lake.version("batches") > len(crew)  # they did take turns
    run_ingest(site.store, site.lake, site.config, NOW)
    query = "SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM events"
    assert site.lake.connect(events=None).execute(query).fetchall() == [(len(batches) * ROWS, len(batches) * ROWS)]
    query = "SELECT verdict, count(*), count(DISTINCT sha256) FROM batches GROUP BY 1"
    assert site.lake.connect(batches=None).execute(query).fetchall() == [("accepted", len(batches), len(batches))]
    assert not list(site.store.list(site.config.layout.inbox))


def send(site: Site, batches: list[tuple[int, int]]) -> None:
    for device, i in batches:
        site.store.create(*seal(site, events(1 + ROWS * i, ROWS), device=f"d{device}"))


def work(url: str, shard: str, barrier: Barrier) -> None:
    """Some ingests of a shard, by plans of a few files."""
    ingest.judging.PLAN_FILES = 5
    store, config = open_store(url), parse_loop(LOOP)
    barrier.wait(120)
    for _ in range(ROUNDS):
        run_ingest(store, Lake(store, config.layout), config, NOW, parse_lane(shard))
