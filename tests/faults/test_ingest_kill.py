"""kill -9 of ingest at every step, in a process of its own: afterwards the lake has every row once."""

from __future__ import annotations

import multiprocessing
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

import ingest.committing
from benchmarks.ingest_kills import campaign
from ingest.derived.completeness import completeness
from ingest.run import ingest as run_ingest
from tests.ingest.batches import events, named, seal, seal_aggregated
from tests.site import START, BentStore, Site, kill_self, make_site

NOW = START + timedelta(days=1)
BATCHES, ROWS = 6, 20


def fill(site: Site) -> None:
    for i in range(BATCHES):
        site.store.create(*seal(site, events(1 + ROWS * i, ROWS)))
        site.store.create(*seal_aggregated(site, events(1 + ROWS * i, ROWS), device="d2"))
    site.store.create(*named(site, b"junk"))


def bend(site: Site, point: str, after: int) -> BentStore:
    """A store that kills its process after that many operations of a kind; or, for commits, the commit itself does."""
    seen = {"n": 0}

    def at(verb: str, path: str) -> None:
        wanted = {
            "plan": ("create", "plans/"),
            "copy": ("copy", "quarantine/"),
            "reason": ("replace", "quarantine/"),
            "delete": ("delete", "inbox/"),
        }.get(point)
        if wanted and verb == wanted[0] and wanted[1] in path:
            seen["n"] += 1
            if seen["n"] > after:
                kill_self()

    if point == "commit":
        write = ingest.committing.write_deltalake

        def counted(*args: object, **options: object) -> None:
            write(*args, **options)  # type: ignore[arg-type]
            seen["n"] += 1
            if seen["n"] > after:
                kill_self()

        ingest.committing.write_deltalake = counted  # type: ignore[assignment]
    return BentStore(
        site.store, before=at if point != "plan" else lambda *_: None, after=at if point == "plan" else lambda *_: None
    )


def child(site: Site, point: str, after: int) -> None:
    run_ingest(bend(site, point, after), site.lake, site.config, NOW)


# After the plan and before any commit; after the commits of events, of sketches and of batches; before the move to quarantine,
# between the move and its reason; before the first delete and in the middle of them.
POINTS = [
    *(("plan", 0), ("commit", 0), ("commit", 1), ("commit", 2)),
    *(("copy", 0), ("reason", 0), ("delete", 0), ("delete", 3)),
]


@pytest.mark.parametrize(("point", "after"), POINTS)
def test_after_a_kill_every_row_is_there_once(tmp_path: Path, point: str, after: int) -> None:
    site = make_site(tmp_path)
    fill(site)
    for _ in range(2):  # killed at the same step twice over: recovery is killed too
        process = multiprocessing.get_context("spawn").Process(target=child, args=(site, point, after))
        process.start()
        process.join(60)
        assert process.exitcode in (-9, 0)
        if _ == 0:
            assert process.exitcode == -9
    run_ingest(site.store, site.lake, site.config, NOW + timedelta(hours=1))
    found = (
        site.lake.connect(events=None)
        .execute("SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM events")
        .fetchall()
    )
    assert found == [(BATCHES * ROWS, BATCHES * ROWS)]
    query = "SELECT count(*), count(DISTINCT batch), sum(events) FROM sketches WHERE measure = 'event'"
    assert site.lake.connect(sketches=None).execute(query).fetchall() == [(BATCHES, BATCHES, BATCHES * ROWS)]
    books = completeness(site.store, site.lake, site.config.layout).to_pylist()
    assert [(b["device"], b["produced"], b["ingested"], b["missing"]) for b in books] == [
        *((device, BATCHES * ROWS, BATCHES * ROWS, 0) for device in ("d1", "d2"))
    ]
    batches = (
        site.lake.connect(batches=None)
        .execute("SELECT verdict, count(*) FROM batches GROUP BY 1 ORDER BY 1")
        .fetchall()
    )
    assert batches == [("accepted", 2 * BATCHES), ("rejected", 1)]
    assert not list(site.store.list(site.config.layout.inbox))
    assert len(list(site.store.list(site.config.layout.quarantine))) == 2


def test_however_ingest_is_killed_while_devices_go_on_every_event_is_there_once(tmp_path: Path) -> None:
    # The short version of `python -m benchmarks.ingest_kills`.
    if shutil.which("minio") is None:
        pytest.skip("no MinIO on this machine; `make minio-server` makes it")
    found = campaign(tmp_path, kills=12)
    assert found.kills == 12
    assert found.unfinished
    assert found.produced > found.resent > 0
    assert not {what: times for what, times in found.never.items() if times}
