from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeloop.config import parse_loop
from edgeloop.errors import ConfigError, StoreError
from edgeloop.events import LABELS
from edgeloop.store import Store
from ingest.checks.check import MAX_BYTES
from ingest.derived.aggregates import update_aggregates
from ingest.derived.completeness import completeness
from ingest.run import ingest
from ingest.tables import BATCHES
from tests.ingest.batches import events, named, planned, rewrite, seal
from tests.site import LOOP, START, BentStore, Site, link_down, make_site, readings

NOW = START + timedelta(days=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def put(site: Site, path: str, content: bytes) -> str:
    site.store.create(path, content)
    return path


def run(site: Site):  # type: ignore[no-untyped-def]
    return ingest(site.store, site.lake, site.config, NOW)


def count(
    site: Site, query: str = "SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM events"
) -> tuple[int, ...]:
    (row,) = site.lake.connect(events=None, batches=None, labels=None).execute(query).fetchall()
    return tuple(row)


def test_late_reordered_and_sent_again_every_row_is_there_once(site: Site) -> None:
    first, second, third = (seal(site, events(1 + 50 * i, 50)) for i in range(3))
    put(site, *third)
    put(site, *first)
    assert run(site).rows == 100
    put(site, *second)
    assert run(site).rows == 50
    put(site, *first)  # the reply was lost, so the device sends it again after it was taken and deleted
    report = run(site)
    assert (report.rows, report.duplicates, report.rejected) == (0, 1, 0)
    assert count(site) == (150, 150)
    assert not list(site.store.list(site.config.layout.inbox))
    assert run(site).plan == 0


def test_an_overlap_with_other_content_is_rejected_with_the_remedy(site: Site) -> None:
    put(site, *seal(site, events(1, 50)))
    run(site)
    put(site, *seal(site, events(40, 50)))
    assert run(site).rejected == 1
    (reason,) = (e.path for e in site.store.list(site.config.layout.quarantine) if e.path.endswith(".reason.json"))
    assert "40 to 89 overlap" in site.store.read(reason).decode()
    assert "new epoch" in site.store.read(reason).decode()
    assert count(site) == (50, 50)


def test_a_store_that_fails_in_the_middle_loses_and_doubles_nothing(site: Site) -> None:
    for i in range(3):
        put(site, *seal(site, events(1 + 50 * i, 50)))
    with pytest.raises(StoreError):
        ingest(
            BentStore(site.store, before=lambda verb, _: link_down() if verb == "delete" else None),
            site.lake,
            site.config,
            NOW,
        )
    report = run(site)
    assert report.recovered
    assert count(site) == (150, 150)
    assert not list(site.store.list(site.config.layout.inbox))


LABEL = {"device": "d1", "ts": START, "label": "good", "known_at": START}


def label_file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_bad_labels_are_quarantined_and_good_ones_taken(site: Site) -> None:
    good = pa.Table.from_pylist([LABEL], schema=LABELS)
    files = {
        "good": good,
        "stranger": pa.Table.from_pylist([{**LABEL, "label": "evil"}], schema=LABELS),
        "late": pa.Table.from_pylist([{**LABEL, "known_at": NOW + timedelta(days=9)}], schema=LABELS),
        "twice": good.append_column("label", pa.array(["bad"])),
        "nested": good.set_column(2, "label", pa.array([{"a": "good"}])),
        "bomb": pa.concat_tables([good.set_column(0, "device", pa.array(["d" * 1_000_000]))] * 1000),
    }
    for name, table in files.items():
        put(site, site.config.layout.label_file("lab", name), label_file(table))
    put(site, site.config.layout.label_file("lab", "torn"), b"PAR1")
    put(site, f"{site.config.layout.labels}/no-source.parquet", label_file(good))
    report = run(site)
    assert (report.labels, report.rejected) == (1, len(files) - 1 + 2)
    assert not list(site.store.list(site.config.layout.labels))


def test_a_name_used_again_is_read_again(site: Site) -> None:
    """A label source that writes `today.parquet` every day, and a batch that is sent again after a damaged copy of it was
    taken away: neither is what the last plan was about."""
    today = site.config.layout.label_file("lab", "today")
    path, content = seal(site, events(1, 50))
    put(site, path, content[:-1] + b"x")
    put(site, today, label_file(pa.Table.from_pylist([LABEL], schema=LABELS)))
    assert run(site).rejected == 1
    put(site, path, content)
    put(site, today, label_file(pa.Table.from_pylist([{**LABEL, "label": "bad"}], schema=LABELS)))
    report = run(site)
    assert (report.rows, report.labels, report.rejected, report.recovered) == (50, 1, 0, False)
    assert count(site, "SELECT count(*) FROM labels") == (2,)


def left_behind(site: Site) -> None:
    """What an ingest leaves that is killed once it has written its plan."""
    site.store.create(site.config.layout.plan(1), planned(site, NOW).encode())


def test_a_planned_batch_that_is_gone_is_lost_and_stops_nothing(site: Site) -> None:
    gone, changed, kept = (seal(site, events(1 + 50 * i, 50)) for i in range(3))
    for batch in (gone, changed, kept):
        put(site, *batch)
    left_behind(site)
    site.store.delete(gone[0])
    site.store.replace(changed[0], b"other bytes")
    assert run(site).rejected == 1  # those other bytes
    assert count(site) == (50, 50)
    verdicts = site.lake.connect(batches=None).execute("SELECT verdict, count(*) FROM batches GROUP BY 1 ORDER BY 1")
    assert verdicts.fetchall() == [("accepted", 1), ("lost", 2), ("rejected", 1)]
    (books,) = completeness(site.store, site.lake, site.config.layout).to_pylist()
    assert (books["produced"], books["ingested"], books["missing"]) == (150, 50, 100)
    put(site, *gone)  # found again, on a backup
    assert run(site).rows == 50


def test_a_planned_batch_that_is_gone_is_in_the_lake_if_its_ingest_goes_on(site: Site) -> None:
    gone, kept = (seal(site, events(1 + 50 * i, 50)) for i in range(2))
    for batch in (gone, kept):
        put(site, *batch)

    def take_away(verb: str, path: str) -> None:
        if path == site.config.layout.plan(1):
            site.store.delete(gone[0])

    assert ingest(BentStore(site.store, after=take_away), site.lake, site.config, NOW).rows == 100
    assert count(site) == (100, 100)
    assert count(site, "SELECT count(*) FROM batches WHERE verdict = 'accepted'") == (2,)


def test_what_is_taken_is_read_once(site: Site) -> None:
    paths = [put(site, *seal(site, events(1 + 50 * i, 50))) for i in range(3)]
    read = list[str]()
    ingest(BentStore(site.store, before=lambda verb, path: read.append(path)), site.lake, site.config, NOW)
    assert sorted(path for path in read if path in paths) == sorted([*paths, *paths])  # and is deleted once


@pytest.mark.parametrize("plan", [False, True])
@pytest.mark.parametrize("content", [b"", b"x" * (MAX_BYTES + 1_000_000)])
def test_a_batch_that_is_another_once_it_was_looked_at_stops_nothing_and_fills_no_memory(
    site: Site, monkeypatch: pytest.MonkeyPatch, plan: bool, content: bytes
) -> None:
    path = put(site, *seal(site, events(1, 50)))
    put(site, *seal(site, events(51, 50)))
    if plan:
        left_behind(site)

    def exchange(verb: str, read: str) -> None:
        if verb == "read" and read == path:
            site.store.replace(path, content)

    def measured(*arguments: Any) -> bytes:
        sizes.append(len(found := read(*arguments)))
        return found

    read, sizes = Store.read, list[int]()
    monkeypatch.setattr(Store, "read", measured)
    ingest(BentStore(site.store, before=exchange), site.lake, site.config, NOW)
    assert max(sizes) <= MAX_BYTES
    assert count(site) == (50, 50)


def test_objects_that_cannot_be_read_and_names_without_room_stop_nothing(site: Site) -> None:
    long = put(site, f"{site.config.layout.inbox}/d1/{'x' * 250}", b"junk")
    put(site, *seal(site, events(1, 50)))

    def take_away(verb: str, path: str) -> None:
        if verb == "read" and path == other[0]:
            site.store.delete(path)

    other = seal(site, events(51, 50))
    put(site, *other)
    report = ingest(BentStore(site.store, before=take_away), site.lake, site.config, NOW)
    assert (report.rows, report.rejected) == (50, 1)
    reasons = [e.path for e in site.store.list(site.config.layout.quarantine) if e.path.endswith(".reason.json")]
    assert [msgspec.json.decode(site.store.read(path))["path"] for path in reasons] == [long]


def test_an_ingest_ends_though_devices_go_on_shipping(site: Site) -> None:
    put(site, *seal(site, events(1, 50)))
    shipped = [0]

    def ship(verb: str, path: str) -> None:
        if verb == "delete" and "inbox/" in path and shipped[0] < 20:
            shipped[0] += 1
            put(site, *seal(site, events(1 + 50 * shipped[0], 50)))

    assert ingest(BentStore(site.store, after=ship), site.lake, site.config, NOW).rows == 50
    assert shipped == [1]
    assert run(site).rows == 50


@pytest.mark.parametrize(("bound", "value"), [("PLAN_FILES", 2), ("PLAN_ROWS", 51), ("PLAN_BYTES", None)])
def test_more_than_a_plan_holds_is_taken_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, bound: str, value: int | None
) -> None:
    for i in range(5):
        put(site, *seal(site, events(1 + 50 * i, 50)))
    largest = max(entry.size for entry in site.store.list(site.config.layout.inbox))
    monkeypatch.setattr(f"ingest.judging.{bound}", value or largest + 1)
    report = run(site)
    assert (report.rows, report.plan) == (250, 3)


def test_other_features_are_refused_before_anything_is_planned(site: Site) -> None:
    put(site, *seal(site, events(1, 50)))
    run(site)
    put(site, *seal(site, events(51, 50)))
    wider = parse_loop(LOOP.replace('numbers = ["a", "b"]', 'numbers = ["a", "b", "c"]'))
    with pytest.raises(ConfigError, match=r"f_c.*put them back"):
        ingest(site.store, site.lake, wider, NOW)
    assert run(site).rows == 50


def test_two_ingests_of_one_plan_commit_it_once(site: Site) -> None:
    """The second has read the table before the first commits, and finds that out when it commits itself."""
    put(site, *seal(site, events(1, 50)))
    left_behind(site)

    def overtake(verb: str, path: str) -> None:
        if verb == "read" and "inbox/" in path and not overtaken:
            overtaken.append(run(site))

    overtaken: list[object] = []
    ingest(BentStore(site.store, before=overtake), site.lake, site.config, NOW)
    assert overtaken
    assert count(site) == (50, 50)
    assert count(site, "SELECT count(*) FROM batches") == (1,)


def test_the_books_say_what_is_missing_and_aggregates_follow_late_data(site: Site) -> None:
    put(site, *seal(site, events(1, 50)))
    put(site, *seal(site, events(101, 50)))
    run(site)
    (books,) = completeness(site.store, site.lake, site.config.layout).to_pylist()
    assert (books["produced"], books["ingested"], books["missing"], books["quarantined"]) == (150, 100, 50, 0)
    assert update_aggregates(site.lake)["device_hourly"].rows == 1
    assert not any(made.rows for made in update_aggregates(site.lake).values())
    put(site, *seal(site, events(51, 50)))
    ingest(site.store, site.lake, site.config, NOW + timedelta(hours=1))
    update_aggregates(site.lake)
    hourly = site.lake.connect(device_hourly=None).execute("SELECT sum(events), count(*) FROM device_hourly").fetchall()
    assert hourly == [(150, 1)]
    features = (
        site.lake.connect(feature_hourly=None)
        .execute("SELECT feature, events, missing, mean FROM feature_hourly ORDER BY 1")
        .fetchall()
    )
    assert features == [("f_a", 150, 0, 1.0), ("f_hour", 150, 0, 3.0), ("f_mode", 150, 0, 0.0)]  # f_b was never there


def test_aggregates_miss_nothing_that_has_an_older_time(site: Site) -> None:
    """Labels whose commit a crash delayed carry the time of their plan, which the aggregates have already passed."""
    put(site, *seal(site, events(1, 50)))
    run(site)
    update_aggregates(site.lake)
    ts = START + timedelta(seconds=7)
    put(site, site.config.layout.label_file("lab", "a"), label_file(pa.Table.from_pylist([{**LABEL, "ts": ts}])))
    ingest(site.store, site.lake, site.config, NOW - timedelta(hours=1))
    update_aggregates(site.lake)
    query = "SELECT sum(labelled), sum(correct) FROM device_hourly"
    assert site.lake.connect(device_hourly=None).execute(query).fetchall() == [(1, 1)]


def test_a_device_that_lies_about_its_books_spoils_only_its_own(site: Site) -> None:
    put(site, *seal(site, events(1, 50)))
    put(site, *rewrite(site, seal(site, events(1, 5))[1], None, {"edgeloop.shed": "9999"}))
    put(site, *named(site, b"junk", device="only-rejects"))
    put(site, *seal(site, events(1, 50), epoch=8))
    run(site)
    books = completeness(site.store, site.lake, site.config.layout).to_pylist()
    assert [(b["device"], b["epoch"], b["quarantined"]) for b in books] == [
        ("d1", 7, 0),
        ("d1", 8, 1),
        ("only-rejects", 0, 1),
    ]
    assert all(b["produced"] == b["ingested"] + b["shed"] + b["missing"] and b["missing"] >= 0 for b in books)


def test_a_batch_has_the_store_s_time_beside_its_own_and_an_older_lake_goes_on(site: Site) -> None:
    older = pa.schema([field for field in BATCHES if field.name != "stored_at"])
    site.lake.append("batches", pa.Table.from_pylist([{"device": "d9", "verdict": "rejected"}], schema=older))
    put(site, *seal(site, events(1, 5)))
    (entry,) = site.store.list(site.config.layout.inbox)
    ingest(site.store, site.lake, site.config, NOW)
    query = "SELECT sealed_at, stored_at FROM batches WHERE device = ?"
    found = site.lake.connect(batches=None)
    assert found.execute(query, ["d1"]).fetchall() == [(START + timedelta(hours=1), entry.modified)]
    assert found.execute(query, ["d9"]).fetchall() == [(None, None)]


def test_a_plan_without_the_store_s_time_is_carried_out(site: Site) -> None:
    path = put(site, *seal(site, events(1, 5)))
    plan = planned(site, NOW)
    older = msgspec.to_builtins(plan)
    del older["batches"][0]["stored_at"]
    site.store.create(site.config.layout.plan(1), msgspec.json.encode(older))
    assert ingest(site.store, site.lake, site.config, NOW).recovered
    assert path not in {entry.path for entry in site.store.list(site.config.layout.inbox)}
    assert site.lake.connect(batches=None).execute("SELECT stored_at FROM batches").fetchall() == [(None,)]


def test_what_was_measured_before_the_clock_was_set_is_quarantined_by_itself(site: Site) -> None:
    now, site.clock.now = site.clock.now, datetime(1970, 1, 1, tzinfo=UTC)
    with site.open("dev") as device:
        device.predict_many(readings(30))
        site.clock.now = now
        device.predict_many(readings(70))
        assert device.exchange()
        assert device.status().spooled == 0
    report = ingest(site.store, site.lake, site.config, now + timedelta(hours=1))
    assert (report.rows, report.rejected) == (70, 1)
    (books,) = completeness(site.store, site.lake, site.config.layout).to_pylist()
    assert (books["produced"], books["ingested"], books["missing"], books["quarantined"]) == (100, 70, 30, 1)
    (reason,) = (entry.path for entry in site.store.list(site.config.layout.quarantine) if "reason" in entry.path)
    assert b"from 1970-01-01 00:00 to 1970-01-01 00:00, outside 2000 to now plus a day" in site.store.read(reason)
