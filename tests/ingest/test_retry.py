"""Files that a person sends back from quarantine: each is somewhere at every moment, and counted once in the end."""

from __future__ import annotations

import multiprocessing
import os
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeloop.config import parse_loop
from edgeloop.events import LABELS
from edgeloop.lake import Lake
from edgeloop.store import Store, open_store
from ingest.derived.completeness import completeness
from ingest.quarantine import list_held, release
from ingest.retry import Retry
from ingest.run import ingest
from tests.ingest.batches import events, named, seal
from tests.site import LOOP, START, BentStore, Site, kill_self, make_site

EARLY, NOW = START - timedelta(days=9), START + timedelta(days=1)
CONFIG = parse_loop(LOOP)
LABEL_FILE = CONFIG.layout.label_file("lab", "today")


@pytest.fixture(params=["directory", "minio"])
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Site:
    """A batch and a label file are in quarantine, because the centre's clock was slow."""
    site = make_site(tmp_path, store=open_store(store_url))
    site.store.create(*seal(site, events(1, 50)))
    labels = [{"device": "d1", "ts": START, "label": "good", "known_at": START}]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(labels, schema=LABELS), sink)
    site.store.create(LABEL_FILE, sink.getvalue().to_pybytes())
    assert ingest(site.store, site.lake, CONFIG, EARLY).rejected == 2
    return site


def retry_all(store: Store) -> list[str]:
    """What the command does; each outcome."""
    again = Retry(store, Lake(store, CONFIG.layout), CONFIG, NOW)
    done = [again.finish(path) for path in again.under_way()]
    return [found.outcome for found in [*done, *map(again.send_back, list_held(store, CONFIG.layout))]]


def rows(site: Site) -> tuple[int, int]:
    """How many events and labels the lake has."""
    found = site.lake.connect(events=None, labels=None)
    query = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM labels)"
    return found.execute(query).fetchone()  # type: ignore[return-value]


def left(site: Site) -> list[str]:
    """What is under way, waits or is in quarantine."""
    layout = CONFIG.layout
    folders = (layout.inbox, layout.labels, layout.quarantine, layout.retries)
    return [entry.path for folder in folders for entry in site.store.list(folder)]


def test_what_is_sent_back_is_judged_again(site: Site) -> None:
    site.store.create(*named(site, b"junk", device="d2"))
    ingest(site.store, site.lake, CONFIG, EARLY)
    again = Retry(site.store, site.lake, CONFIG, NOW)
    said = [again.foretell(held) for held in list_held(site.store, CONFIG.layout)]
    assert ["it would be taken" in found.why for found in said] == [True, False, True]
    assert "rejected again: it is no Parquet file" in said[1].why
    before = left(site)
    assert retry_all(site.store) == ["waits"] * 3
    assert len(left(site)) == 3
    report = ingest(site.store, site.lake, CONFIG, NOW)
    assert (report.rows, report.labels, report.rejected) == (50, 1, 1)
    assert left(site) == [path for path in before if "/d2/" in path]
    books = completeness(site.store, site.lake, CONFIG.layout).to_pylist()
    assert [(b["device"], b["ingested"], b["quarantined"]) for b in books] == [("d1", 50, 0), ("d2", 0, 1)]
    assert rows(site) == (50, 1)


def test_an_ingest_that_rejects_it_again_meanwhile_loses_nothing(site: Site) -> None:
    """Taken out of quarantine only after it was put back, it would be taken out for good."""

    def overtake(verb: str, path: str) -> None:
        if verb == "create" and ("/inbox/" in path or "/labels/" in path):
            ingest(site.store, site.lake, CONFIG, EARLY)

    before = left(site)
    retry_all(BentStore(site.store, after=overtake))
    assert left(site) == before


def test_what_the_lake_has_by_now_is_only_taken_out(site: Site) -> None:
    path, content = seal(site, events(1, 50))
    site.store.create(path, content)
    site.store.create(LABEL_FILE, label_bytes(site))
    ingest(site.store, site.lake, CONFIG, NOW)
    assert retry_all(site.store) == ["known", "known"]
    assert left(site) == []
    assert rows(site) == (50, 1)


def label_bytes(site: Site) -> bytes:
    return site.store.read(f"{CONFIG.layout.quarantine}/labels/lab/today.parquet")


def test_another_file_of_its_name_is_left_and_so_is_it(site: Site) -> None:
    content = label_bytes(site)
    site.store.create(LABEL_FILE, b"of another day")
    assert retry_all(site.store) == ["waits", "stays"]
    assert site.store.read(LABEL_FILE) == b"of another day"
    site.store.delete(LABEL_FILE)
    assert retry_all(site.store) == ["waits"]
    assert site.store.read(LABEL_FILE) == content


def child(url: str, verb: str, folder: str, when: str) -> None:
    def at(done: str, path: str) -> None:
        if done == verb and f"/{folder}/" in path:
            kill_self()

    store = BentStore(open_store(url), **{when: at})
    retry_all(store) if os.environ["RETRY_KILL"] == "retry" else drop_all(store)


def drop_all(store: Store) -> None:
    for held in list_held(store, CONFIG.layout):
        release(store, CONFIG.layout, held)


def killed(site: Site, monkeypatch: pytest.MonkeyPatch, command: str, *point: str) -> None:
    monkeypatch.setenv("RETRY_KILL", command)
    process = multiprocessing.get_context("spawn").Process(target=child, args=(site.store.url, *point))
    process.start()
    process.join(120)
    assert process.exitcode == -9


# Under way and in quarantine, too; its reason left behind; only under way; put back and under way, too; and that taken in meanwhile.
POINTS = [
    ("copy", "retries", "after", False),
    ("delete", "quarantine", "after", True),
    ("create", "pump", "before", False),
    ("create", "pump", "after", False),
    ("create", "pump", "after", True),
]


@pytest.mark.parametrize(("verb", "folder", "when", "ingested"), POINTS)
def test_a_retry_that_is_killed_loses_nothing_and_counts_nothing_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch, verb: str, folder: str, when: str, ingested: bool
) -> None:
    killed(site, monkeypatch, "retry", verb, folder, when)
    if ingested:
        ingest(site.store, site.lake, CONFIG, NOW)
    retry_all(site.store)
    ingest(site.store, site.lake, CONFIG, NOW)
    assert rows(site) == (50, 1)
    assert left(site) == []


def test_a_drop_that_is_killed_is_ended_by_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(site, monkeypatch, "drop", "delete", "quarantine", "after")
    assert [held.size is None for held in list_held(site.store, CONFIG.layout)] == [True, False]
    drop_all(site.store)
    assert left(site) == []
