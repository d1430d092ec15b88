"""Rows that are older than the loop keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.config import parse_loop
from edgeloop.errors import ConfigError, VersionGone
from edgeloop.lake import Lake
from ingest.derived.aggregates import update_aggregates
from ingest.derived.kept import kept_from, kept_since
from ingest.plan import Plan, Rejected, decode_plan, list_plans, write_done
from ingest.quarantine import hold
from ingest.run import ingest
from ingest.tables import LABEL_ROWS
from ingest.upkeep.erasure import drop_history
from ingest.upkeep.retention import retain
from tests.ingest.batches import events, seal, seal_aggregated
from tests.site import LOOP, START, Site, fill_lake, make_site

KEPT = LOOP + '\n[privacy]\nretention = "30d"\n'
DAYS = 40
NOW = START + timedelta(days=60, hours=7)
HOURLY = ("device_hourly", "release_hourly", "feature_hourly")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path, KEPT)
    fill_lake(site, 24 * DAYS)
    return site


def rows(site: Site, table: str) -> list[tuple[object, ...]]:
    return site.lake.connect(**{table: None}).execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()


def count(site: Site, table: str, version: int | None = None) -> tuple[int, datetime]:
    return site.lake.connect(**{table: version}).execute(f"SELECT count(*), min(ts) FROM {table}").fetchone()  # type: ignore[return-value]


TIMES = st.datetimes(datetime(1990, 1, 1), timezones=st.just(UTC))


@given(TIMES, st.timedeltas(timedelta(days=1), timedelta(days=4000)))
def test_a_row_is_kept_for_as_long_as_it_says_and_less_than_a_day_more(now: datetime, retention: timedelta) -> None:
    since = kept_from(now, retention)
    assert since == since.replace(hour=0, minute=0, second=0, microsecond=0)
    assert timedelta(0) <= (now - retention) - since < timedelta(days=1)


def test_older_rows_go_from_every_version_and_others_stay(site: Site) -> None:
    before = site.lake.version("events")
    found = retain(site.store, site.lake, site.config, NOW)
    since = START + timedelta(days=30)
    assert found is not None
    assert found.rows == {"events": 3 * 24 * 30, "labels": 3 * 24 * 30}
    assert found.since == kept_since(site.lake.table("events")) == since
    for table in ("events", "labels"):
        assert count(site, table) == (3 * 24 * 10, since)
        with pytest.raises(VersionGone, match=f"version {before} of {table} is not kept"):
            count(site, table, before)
    assert retain(site.store, site.lake, site.config, NOW) is not None
    version = site.lake.version("events")
    again = retain(site.store, site.lake, site.config, NOW + timedelta(hours=1))
    assert again is not None
    assert not any(again.rows.values())
    assert site.lake.version("events") == version


def test_the_hourly_tables_keep_what_they_counted(site: Site) -> None:
    """Also when late labels come for the day from which on rows are kept, when the log does not go back, and when another source counts."""
    tables = ("device_hourly", "release_hourly", "feature_hourly")

    def counted() -> dict[str, list[tuple[object, ...]]]:
        return {name: rows(site, name) for name in tables}

    update_aggregates(site.lake)
    before = counted()
    retain(site.store, site.lake, site.config, NOW)
    update_aggregates(site.lake)
    assert counted() == before
    kept = START + timedelta(days=30)
    late = [
        {"device": "d0", "ts": ts, "label": "bad", "known_at": NOW, "source": "t", "ingested_at": NOW}
        for ts in (kept - timedelta(hours=1), kept)
    ]
    site.lake.append("labels", pa.Table.from_pylist(late, schema=LABEL_ROWS))
    update_aggregates(site.lake)
    for name in ("release_hourly", "feature_hourly"):
        assert [row[:3] for row in counted()[name]] == [row[:3] for row in before[name]]
    site.lake.append("labels", pa.Table.from_pylist(late[1:], schema=LABEL_ROWS))
    drop_history(site.store, site.lake, site.config.layout, "labels")
    update_aggregates(site.lake)
    assert len(counted()["device_hourly"]) == 3 * 24 * DAYS
    update_aggregates(Lake(site.store, site.config.layout, ("t", "other")))
    assert len(counted()["device_hourly"]) == 3 * 24 * DAYS
    assert counted()["feature_hourly"] == before["feature_hourly"]


def test_a_loop_without_it_keeps_all(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 48)
    assert retain(site.store, site.lake, site.config, NOW) is None
    assert count(site, "events")[0] == 3 * 48
    assert kept_since(site.lake.table("events")) is None


def test_what_is_taken_in_afterwards_is_there_once(site: Site) -> None:
    late = timedelta(days=50) // timedelta(seconds=1)
    for first in (1, 1 + late):
        site.store.create(*seal(site, events(first, 20)))
        site.store.create(*seal_aggregated(site, events(first, 20), device="d2"))
    ingest(site.store, site.lake, site.config, NOW)
    found = retain(site.store, site.lake, site.config, NOW)
    assert found is not None
    assert found.rows["events"] == 3 * 24 * 30 + 20
    assert found.rows["sketches"] > 0
    assert count(site, "events")[0] == 3 * 24 * 10 + 20
    windows = site.lake.connect(sketches=None).execute("SELECT DISTINCT hour > ? FROM sketches", [found.since])
    assert windows.fetchall() == [(True,)]
    site.store.create(*seal(site, events(1 + late + 20, 20)))
    assert ingest(site.store, site.lake, site.config, NOW).rows == 20


def test_files_in_quarantine_and_plans_go_as_they_age(site: Site) -> None:
    layout, store = site.config.layout, site.store
    for number in (1, 2, 3):
        plan = Plan(1, number, "pump", START + timedelta(days=20 * number), duplicates=(f"{layout.inbox}/d1/a",))
        store.create(layout.plan(number), plan.encode())
        write_done(store, layout, number)
    store.create(f"{layout.inbox}/d1/junk", b"junk")
    hold(store, layout, Rejected(f"{layout.inbox}/d1/junk", "it is junk"))
    found = retain(store, site.lake, site.config, NOW)
    assert found is not None
    assert (found.quarantined, found.plans) == (0, 1)  # by the store's clock the file is of today
    told = [bool(decode_plan(store.read(layout.plan(number))).paths) for number in (1, 2, 3)]
    assert told == [False, True, True]
    assert len(list(store.list(layout.quarantine))) == 2
    assert list_plans(store, layout).unfinished == ()
    found = retain(store, site.lake, site.config, datetime.now(UTC) + timedelta(days=32))
    assert found is not None
    assert (found.quarantined, found.plans) == (1, 2)
    assert not list(store.list(layout.quarantine))
    assert (list_plans(store, layout).newest, list_plans(store, layout).unfinished) == (5, ())


def test_it_is_a_day_at_least() -> None:
    with pytest.raises(ConfigError, match=r"privacy\.retention is 12h"):
        parse_loop(KEPT.replace("30d", "12h"))


def test_when_a_whole_month_went_nothing_is_made_again_but_what_comes(site: Site) -> None:
    update_aggregates(site.lake)
    assert retain(site.store, site.lake, site.config, START + timedelta(days=61, hours=7)).rows["events"]  # type: ignore[union-attr]
    assert {name: made.hours for name, made in update_aggregates(site.lake).items()} == dict.fromkeys(HOURLY, 0)


def test_what_other_lanes_take_in_beside_a_retention_is_all_that_is_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_aggregates(site.lake)

    def beside(lake: Lake, *, mark: bool) -> None:
        update_aggregates(lake, mark=mark)
        late = events(1, 5)
        for event in late:
            event.ts += 39 * 86_400_000_000
        site.store.create(*seal(site, late, "d9"))
        ingest(site.store, site.lake, site.config, NOW)

    monkeypatch.setattr("ingest.upkeep.retention.update_aggregates", beside)
    retain(site.store, site.lake, site.config, NOW)
    assert {name: made.hours for name, made in update_aggregates(site.lake).items()} == dict.fromkeys(HOURLY, 1)
