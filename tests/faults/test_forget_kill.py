"""kill -9 of forgetting and of retention at every step, in a process of its own: whoever goes on ends where it would have ended."""

from __future__ import annotations

import multiprocessing
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import ingest.upkeep.erasure
from edgeloop.store import open_store
from ingest.upkeep.forgetting import ask, forget, make_request, subject_of
from ingest.upkeep.retention import retain
from ingest.upkeep.tombstones import digest_of, loop_salt, read_proofs, read_requests
from ingest.upkeep.traces import find_traces
from tests.ingest.upkeep.test_forgetting import GONE, NOW, OTHER, fill, rows
from tests.site import LOOP, START, BentStore, Site, fill_lake, kill_self, make_site

TABLES = ("events", "sketches", "labels", "device_hourly", "feature_hourly")
COLUMNS = {"events": "* EXCLUDE (ingested_at)", "sketches": "* EXCLUDE (ingested_at)"}


def bend(site: Site, verb: str, where: str, count: int) -> BentStore:
    """A store that kills its process after so many operations of a kind; or, for `commit`, a delete in a table itself does."""
    seen = {"n": 0}

    def reached() -> None:
        seen["n"] += 1
        if seen["n"] > count:
            kill_self()

    if verb == "commit":
        write = ingest.upkeep.erasure.write_deltalake

        def counted(*arguments: object, **options: object) -> None:
            write(*arguments, **options)  # type: ignore[call-overload]
            reached()

        ingest.upkeep.erasure.write_deltalake = counted  # type: ignore[assignment]
    return BentStore(site.store, after=lambda v, path: reached() if v == verb and where in path else None)


def forgetting(site: Site, verb: str, where: str, count: int) -> None:
    store = bend(site, verb, where, count)
    request = make_request(site.config, [GONE], None, None, NOW)
    request = ask(store, site.config.layout, request)
    forget(store, site.lake, site.config, request, NOW, None)


def retaining(site: Site, verb: str, where: str, count: int) -> None:
    retain(bend(site, verb, where, count), site.lake, site.config, START + timedelta(days=6))


# The request; what was counted; objects; the commit without the rows in a table; the log of older versions, which goes last, of a
# table and of what is derived; the proof, and what goes after it.
POINTS = [
    *(("create", "/forgetting/", 0), ("create", ".plan.json", 0), ("delete", "/quarantine/", 1)),
    *(("commit", "", 0), ("commit", "", 3), ("delete", "/lake/events/_delta_log", 0)),
    *(("delete", "/lake/device_hourly/_delta_log", 0), ("create", "/forgotten/", 1), ("delete", "/forgetting/", 0)),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = make_site(tmp_path_factory.mktemp("with"))
    fill(site, [GONE, OTHER], labels_wait=False)
    return site


@pytest.fixture
def site(tmp_path: Path, filled: Site) -> Site:
    """A copy of its own of what is there before."""
    shutil.copytree(filled.directory / "store", tmp_path / "store")
    return replace(filled, directory=tmp_path, store=open_store(tmp_path / "store"))


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the lake has if the device had never been there."""
    site = make_site(tmp_path_factory.mktemp("without"))
    fill(site, [OTHER])
    return {table: rows(site, table, COLUMNS.get(table, "*")) for table in TABLES}


def killed(target: object, *arguments: object) -> None:
    """Twice at the same step: who goes on is killed, too."""
    codes = []
    for _ in range(2):
        process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)  # type: ignore[arg-type]
        process.start()
        process.join(120)
        codes.append(process.exitcode)
    assert codes[0] == -9
    assert codes[1] in (-9, 0)


@pytest.mark.parametrize(("verb", "where", "count"), POINTS)
def test_after_a_kill_it_is_forgotten_once(
    site: Site, wanted: dict[str, object], verb: str, where: str, count: int
) -> None:
    layout = site.config.layout
    killed(forgetting, site, verb, where, count)
    for request in read_requests(site.store, layout):
        forget(site.store, site.lake, site.config, request, NOW, None)
    assert not read_requests(site.store, layout)
    ((_, proof),) = read_proofs(site.store, layout)
    assert proof.devices == (digest_of(loop_salt(site.store, layout), GONE),)
    assert proof.rows == {"batches": 7, "device_hourly": 3, "events": 120, "labels": 58, "sketches": 16}
    assert proof.objects == {"inbox": 1, "quarantine": 4, "status": 1, "trainings": 1}
    subject = subject_of(site.config, make_request(site.config, [GONE], None, None, NOW))
    assert find_traces(site.store, layout, subject, None).objects == []
    assert {table: rows(site, table, COLUMNS.get(table, "*")) for table in TABLES} == wanted


AGEING = [("commit", "", 0), ("delete", "/lake/events/month", 0), ("delete", "/lake/events/_delta_log", 0)]


@pytest.mark.parametrize(("verb", "where", "count"), AGEING)
def test_after_a_kill_what_is_too_old_is_gone(tmp_path: Path, verb: str, where: str, count: int) -> None:
    site = make_site(tmp_path, LOOP + '\n[privacy]\nretention = "3d"\n')
    fill_lake(site, 24 * 5)
    killed(retaining, site, verb, where, count)
    retain(site.store, site.lake, site.config, START + timedelta(days=6))
    for table in ("events", "labels"):
        assert rows(site, table, "count(*), min(ts)") == [(3 * 48, START + timedelta(days=3))]
        there = {
            entry.path for entry in site.store.list(site.config.layout.lake(table)) if "/_delta_log/" not in entry.path
        }
        live = site.lake.table(table)
        assert live is not None
        assert {path.rpartition("/")[2] for path in there} == {uri.rpartition("/")[2] for uri in live.file_uris()}
        versions = [entry.path for entry in site.store.list(f"{site.config.layout.lake(table)}/_delta_log")]
        assert len([path for path in versions if path.endswith(".json")]) == 1
