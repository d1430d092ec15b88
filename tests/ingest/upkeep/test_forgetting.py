"""Everything of a device goes, and the rest is as if it had never been there."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeloop.errors import DataError, VersionGone
from edgeloop.events import LABELS
from fleet.rollouts import DECISIONS
from ingest import received as received_module
from ingest import run as ingest_run
from ingest.derived.aggregates import update_aggregates
from ingest.derived.completeness import completeness
from ingest.run import ingest
from ingest.upkeep.forgetting import ask, find, forget, make_request, subject_of
from ingest.upkeep.retention import retain
from ingest.upkeep.tombstones import Proof, digest_of, loop_salt, read_proofs, read_requests, read_tombstones, readmit
from ingest.upkeep.traces import find_traces
from tests.ingest.batches import events, named, seal, seal_aggregated
from tests.site import LOOP, START, Site, fill_lake, make_site

GONE, OTHER = "badge-0017", "badge-0018"
NOW = START + timedelta(days=1)
HOUR = 3600
NAMES_IT = re.compile(rb"badge-0017(?![0-9])")


@pytest.fixture(autouse=True)
def received(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was received is written down at each ingest."""
    monkeypatch.setattr("ingest.received.FILES", 1)


def label(site: Site, devices: list[str], name: str = "one", count: int = 40, folder: str = "") -> None:
    """A label file of the first events of `devices`."""
    rows = [
        {"device": d, "ts": START + timedelta(seconds=n), "label": "good", "known_at": START + timedelta(hours=2)}
        for d in devices
        for n in range(1, count)
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=LABELS), sink)
    site.store.create(f"{folder or site.config.layout.labels}/people/{name}.parquet", sink.getvalue().to_pybytes())


def fill(site: Site, devices: list[str], *, labels_wait: bool = True) -> None:
    """Two ingests with aggregates after each, so that there are older versions of all; then some that wait."""
    for k in range(2):
        for device in devices:
            site.store.create(*seal(site, events(1 + 30 * k, 30), device=device))
            site.store.create(*seal(site, events(1 + 2 * HOUR + 30 * k, 30), device=device, epoch=8))
            site.store.create(*seal_aggregated(site, events(1 + 30 * k, 30), device=device, epoch=9))
        label(site, devices, f"f{k}", 20 + 20 * k)
        ingest(site.store, site.lake, site.config, NOW)
        update_aggregates(site.lake)
    if GONE in devices:
        site.store.create(*named(site, b"junk of badge-0017", device=GONE))
        site.store.create(*named(site, b"other junk", device=OTHER))
        path, content = seal(site, events(500, 10), device=GONE)
        site.store.create(path.replace(GONE, OTHER), content)  # the reason for its rejection says whose it is
        ingest(site.store, site.lake, site.config, NOW)
        site.store.create(site.config.layout.status(GONE), b"{}")
        site.store.create(site.config.layout.status(OTHER), b"{}")
        site.store.create(
            site.config.layout.training(1, "verdict.json"), b'{"says": "Worst off is device badge-0017, by 0.1"}'
        )
        site.store.create(*seal(site, events(100, 30), device=GONE))
        if labels_wait:
            label(site, devices, "waits", 60)


def rows(site: Site, table: str, columns: str = "*") -> list[tuple[object, ...]]:
    return site.lake.connect(**{table: None}).execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()


def do_forget(site: Site, *devices: str, since: datetime | None = None, until: datetime | None = None) -> Proof:
    request = ask(site.store, site.config.layout, make_request(site.config, devices, since, until, NOW))
    return forget(site.store, site.lake, site.config, request, NOW, None)[1]


def test_nothing_of_a_device_is_left_and_the_rest_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    site, without = make_site(tmp_path / "with"), make_site(tmp_path / "without")
    fill(site, [GONE, OTHER])
    fill(without, [OTHER])
    versions = {name: site.lake.version(name) for name in site.lake.names()}
    proof = do_forget(site, GONE)
    label(without, [OTHER], "waits", 60)
    ingest(without.store, without.lake, without.config, NOW)
    update_aggregates(without.lake)
    for table, columns in {
        "events": "* EXCLUDE (ingested_at)",
        "sketches": "* EXCLUDE (ingested_at)",
        "labels": "*",
        "device_hourly": "*",
        "feature_hourly": "*",
        "release_hourly": "*",
    }.items():
        assert rows(site, table, columns) == rows(without, table, columns)
    for path in (tmp_path / "with/store").rglob("*"):
        assert not NAMES_IT.search(str(path).encode())
        if path.is_file():
            assert not NAMES_IT.search(path.read_bytes()), path
            if "lake" in path.parts and path.name.startswith("part-") and "device" in pq.read_schema(path).names:
                assert GONE not in pq.read_table(path, columns=["device"], partitioning=None)["device"].to_pylist()
    for name, version in versions.items():
        with pytest.raises(VersionGone):
            site.lake.table(name, version)
    assert proof.rows["events"] == 120
    assert proof.rows["batches"] == 7
    assert proof.devices == (digest_of(loop_salt(site.store, site.config.layout), GONE),)
    assert proof.objects == {"inbox": 1, "quarantine": 4, "status": 1, "trainings": 1}
    assert proof.left == ()
    assert not read_requests(site.store, site.config.layout)
    assert site.store.read(site.config.layout.status(OTHER)) == b"{}"
    verdict = site.store.read(site.config.layout.training(1, "verdict.json")).decode()
    assert re.search(r"device forgotten-[0-9a-f]{8}, by", verdict)
    assert {b["device"] for b in completeness(site.store, site.lake, site.config.layout).to_pylist()} == {OTHER}


def test_what_still_comes_of_it_is_deleted_unread_until_it_is_enrolled_again(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site, [GONE, OTHER])
    do_forget(site, GONE)
    layout = site.config.layout
    site.store.create(*seal(site, events(200, 30), device=GONE))
    site.store.create(*seal(site, events(200, 30), device=OTHER))
    site.store.create(layout.status(GONE), b"{}")
    label(site, [GONE, OTHER], "late", 80)
    before = len(rows(site, "labels"))
    report = ingest(site.store, site.lake, site.config, NOW)
    assert (report.refused, report.batches, report.rejected) == (1, 1, 0)
    assert len(rows(site, "labels")) == before + 79
    subject = subject_of(site.config, make_request(site.config, [GONE], None, None, NOW))
    assert not find_traces(site.store, layout, subject, None).objects

    day = 24 * HOUR
    assert readmit(site.store, layout, GONE, NOW + timedelta(seconds=310))
    assert not readmit(site.store, layout, OTHER, NOW)
    site.store.create(*seal(site, events(day + 300, 30), device=GONE))
    report = ingest(site.store, site.lake, site.config, NOW)
    assert (report.refused, report.batches) == (0, 1)
    assert rows(site, "events", "count(*), min(seq)")[0][0] > 0
    mine = site.lake.connect(events=None).execute("SELECT count(*), min(seq) FROM events WHERE device = ?", [GONE])
    assert mine.fetchone() == (20, day + 310)


def test_several_go_at_once_out_of_what_others_say_too_and_what_is_signed_is_said(tmp_path: Path) -> None:
    """A decision says which device put a release back, and so does the rollout that is signed on it."""
    site = make_site(tmp_path)
    fill_lake(site, 48, devices=3)
    update_aggregates(site.lake)
    said = "2 device(s) put it back; d1: it crashed"
    evidence = '{"put_back": {"d1": "it crashed", "d10": "it crashed", "d2": "so did d2."}}'
    row = {"decided": NOW, "rollout": 3, "release": "r0002", "verdict": "reject", "reason": said, "evidence": evidence}
    site.lake.append("decisions", pa.Table.from_pylist([row], schema=DECISIONS))
    signed = "releases/targets/rollouts/0123.pump.json"
    site.store.create(signed, f'{{"reason": "{said}"}}'.encode())
    proof = do_forget(site, "d1", "d2")
    assert proof.left == (signed,)
    assert proof.rows["events"] == 2 * 48
    assert len(proof.devices) == 2
    assert rows(site, "events", "DISTINCT device") == [("d0",)]
    salt = loop_salt(site.store, site.config.layout)
    one, two = (f"forgotten-{digest_of(salt, device)[:8]}" for device in ("d1", "d2"))
    assert rows(site, "decisions", "reason, evidence") == [
        (
            said.replace("d1", one),
            evidence.replace('"d1"', f'"{one}"').replace('"d2"', f'"{two}"').replace("d2.", f"{two}."),
        )
    ]


@pytest.mark.parametrize("moment", ["look", "judge"])
def test_an_ingest_that_had_looked_at_its_files_before_takes_nothing_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Forgotten once its batch was looked at, or judged and about to be planned; another ingest finds nothing of it either."""
    site = make_site(tmp_path)
    fill(site, [GONE, OTHER])
    site.store.create(*seal(site, events(200, 30), device=OTHER))
    real = getattr(ingest_run, moment)

    def overtaken(*arguments: object) -> object:
        found = real(*arguments)
        monkeypatch.setattr(ingest_run, moment, real)
        do_forget(site, GONE)
        return found

    monkeypatch.setattr(ingest_run, moment, overtaken)
    ingest(site.store, site.lake, site.config, NOW)
    ingest(site.store, site.lake, site.config, NOW)
    subject = subject_of(site.config, make_request(site.config, [GONE], None, None, NOW))
    assert find_traces(site.store, site.config.layout, subject, None).objects == []
    assert site.lake.connect(events=None).execute(
        "SELECT count(*) FROM events WHERE seq BETWEEN 200 AND 229"
    ).fetchone() == (30,)


def test_a_span_of_time_goes_alone_also_of_what_comes_late(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site, [GONE, OTHER])
    since, until = START + timedelta(seconds=11), START + timedelta(seconds=51)
    kept = "ts < TIMESTAMPTZ '2024-01-01 00:00:11+00' OR ts >= TIMESTAMPTZ '2024-01-01 00:00:51+00'"
    ingest(site.store, site.lake, site.config, NOW)
    wanted = {
        table: site.lake.connect(**{table: None})
        .execute(f"SELECT * FROM {table} WHERE device <> '{GONE}' OR {kept} ORDER BY ALL")
        .fetchall()
        for table in ("events", "labels")
    }
    books = completeness(site.store, site.lake, site.config.layout).to_pylist()
    proof = do_forget(site, GONE, since=since, until=until)
    assert proof.rows["events"] == 40
    assert {table: rows(site, table) for table in wanted} == wanted
    assert completeness(site.store, site.lake, site.config.layout).to_pylist() == books
    assert rows(
        site, "device_hourly", f"sum(events) FILTER (device = '{GONE}' AND hour < '2024-01-01 01:00:00+00')"
    ) == [(20 + 30,)]
    site.store.create(*seal(site, events(1, 60), device=GONE, epoch=12))
    site.store.create(*seal(site, events(20, 10), device=GONE, epoch=13))
    assert ingest(site.store, site.lake, site.config, NOW).batches == 2
    late = "SELECT count(*) FROM events WHERE epoch >= 12"
    assert site.lake.connect(events=None).execute(late).fetchone() == (20,)
    verdicts = "SELECT verdict, count(*) FROM batches WHERE epoch >= 12 GROUP BY ALL"
    assert site.lake.connect(batches=None).execute(verdicts).fetchall() == [("accepted", 2)]


def test_hours_that_are_too_old_to_be_made_again_go_if_it_was_alone_in_them(tmp_path: Path) -> None:
    site = make_site(tmp_path, LOOP + '\n[privacy]\nretention = "5d"\n')
    fill_lake(site, 24 * 3, devices=1)
    fill_lake(site, 24 * 2, devices=2, since=START + timedelta(days=1))
    update_aggregates(site.lake)
    late = START + timedelta(days=20)
    retain(site.store, site.lake, site.config, late)
    assert rows(site, "events", "count(*)") == [(0,)]
    request = ask(site.store, site.config.layout, make_request(site.config, ["d0"], None, None, late))
    forget(site.store, site.lake, site.config, request, late, None)
    for table in ("device_hourly", "feature_hourly", "release_hourly"):
        ends = (START + timedelta(days=1), START + timedelta(days=3) - timedelta(hours=1))
        assert rows(site, table, "min(hour), max(hour)") == [ends]


def test_what_is_found_is_told_without_a_change(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site, [GONE, OTHER])
    before = sorted((e.path, e.version) for e in site.store.list(""))
    found = find(site.store, site.lake, site.config, make_request(site.config, [GONE], None, None, NOW))
    assert found.rows == {"batches": 7, "device_hourly": 3, "events": 120, "labels": 58, "sketches": 16}
    assert len(found.delete) == 6
    assert sorted((e.path, e.version) for e in site.store.list("")) == before


def test_a_proof_that_was_changed_is_none(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site, [GONE, OTHER])
    do_forget(site, GONE)
    layout = site.config.layout
    ((digest, proof),) = read_proofs(site.store, layout)
    path = f"{layout.forgotten}/{digest}.json"
    site.store.replace(path, site.store.read(path).replace(b'"events":120', b'"events":0'))
    with pytest.raises(DataError, match="not what its name says"):
        read_tombstones(site.store, layout)
    assert GONE not in repr(proof)


def test_an_ingest_that_is_slow_to_write_what_it_received_names_nobody_who_was_forgotten_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, join = make_site(tmp_path), received_module.join
    layout = site.config.layout
    request = make_request(site.config, [GONE], None, None, NOW)
    for device in (GONE, OTHER):
        site.store.create(*seal(site, events(1, 50), device=device))
    ingest(site.store, site.lake, site.config, NOW)

    def after_a_forgetting(ranges: pa.Table) -> pa.Table:
        monkeypatch.setattr(received_module, "join", join)
        forget(site.store, site.lake, site.config, ask(site.store, layout, request), NOW, None)
        return join(ranges)

    monkeypatch.setattr(received_module, "join", after_a_forgetting)
    site.store.create(*seal(site, events(101, 50), device=OTHER))
    ingest(site.store, site.lake, site.config, NOW)
    assert not find_traces(site.store, layout, subject_of(site.config, request), None).objects
