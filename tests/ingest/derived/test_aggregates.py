"""Aggregates that are kept up to date, against the same ones made of everything at once: whatever comes, goes or is cut short."""

from __future__ import annotations

import tempfile
from dataclasses import astuple
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import ingest.derived.aggregates as under_test
from edgeloop.config import parse_loop
from edgeloop.errors import StoreError
from edgeloop.events import TIME, lake_schema
from edgeloop.lake import Lake, run_sql
from edgeloop.store import open_store
from ingest.derived.aggregates import AGGREGATES, update_aggregates
from ingest.run import ingest
from ingest.tables import LABEL_ROWS
from tests.ingest.batches import events, seal_aggregated
from tests.site import LOOP, START, make_site

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DEVICES = ("d1", "d2")
NAMES = tuple(aggregate.name for aggregate in AGGREGATES)
HOURS = (0, 1, 24 * 31 - 1, 24 * 31)
"""Of these some are neighbours, and in different months."""


SCHEMA = lake_schema(parse_loop(LOOP).schema())


class Killed(BaseException):
    """What a kill -9 is to the code: nothing after it runs."""


def from_scratch(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """Each aggregate as its query gives it of all rows of its sources."""
    found = {}
    for aggregate in AGGREGATES:
        connection = lake.connect(**dict.fromkeys(aggregate.sources))
        connection.register("sketched", aggregate.sketched(connection))
        found[aggregate.name] = in_order(run_sql(connection, aggregate.query))
    return found


def kept(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    connection = lake.connect(**dict.fromkeys(NAMES))
    there = lake.names()
    return {name: in_order(connection.sql(f"FROM {name}").to_arrow_table()) if name in there else [] for name in NAMES}


def in_order(rows: pa.Table) -> list[dict[str, Any]]:
    """Sorted, and a sum to so many digits that it does not tell in which order it was added up."""
    found = [
        {k: round(v, 9) if isinstance(v, float) else v for k, v in sorted(row.items())} for row in rows.to_pylist()
    ]
    return sorted(found, key=lambda row: [str(row.get(k)) for k in KEY])


KEY = ("device", "feature", "hour", "release", "events")


def append(lake: Lake, device: str, times: dict[int, datetime], **told: Any) -> None:
    """Events by their sequence number, of one intake."""
    rows = []
    for n, ts in times.items():
        found = {"device": device, "epoch": 1, "seq": n, "ts": ts, "weight": 1.0, "release": "r1", "prediction": "good"}
        found |= {
            "confidence": n % 8 / 8,
            "latency_us": float(n % 5),
            "f_a": float(n % 7),
            "f_b": None if n % 3 else 1.0,
        }
        rows.append({**found, "batch": "x", "ingested_at": ts, "month": f"{ts:%Y-%m}", **told})
    lake.append("events", pa.Table.from_pylist(rows, schema=SCHEMA), ["month"])


def tell(lake: Lake, device: str, ts: datetime, label: str, known: int = 0, source: str = "t") -> None:
    row = {
        "device": device,
        "ts": ts,
        "label": label,
        "known_at": ts + known * HOUR,
        "source": source,
        "ingested_at": ts,
    }
    lake.append("labels", pa.Table.from_pylist([row], schema=LABEL_ROWS))


class Growth(RuleBasedStateMachine):
    """A lake in which everything happens between two updates that can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.site = make_site(Path(self.scratch.name))
        self.lake, self.next = self.site.lake, 0
        self.arrive(1, HOURS[0], "d1", 1.0, "r1")

    def teardown(self) -> None:
        self.scratch.cleanup()

    def handle(self, name: str) -> DeltaTable | None:
        return self.lake.table(name)

    def time(self, hour: int, number: int) -> datetime:
        return START + hour * HOUR + timedelta(seconds=number % 3600)

    @rule(
        count=st.integers(1, 5),
        hour=st.sampled_from(HOURS),
        device=st.sampled_from(DEVICES),
        weight=st.sampled_from([1.0, 1.0, 3.0]),
        release=st.sampled_from([None, "r1", "r2"]),
    )
    def arrive(self, count: int, hour: int, device: str, weight: float, release: str | None) -> None:
        """A batch's events, of an hour that may have had some before, or a later one may."""
        numbers = range(self.next + 1, self.next + count + 1)
        self.next += count
        append(self.lake, device, {n: self.time(hour, n) for n in numbers}, weight=weight, release=release)

    @rule(
        number=st.integers(1, 30),
        hour=st.sampled_from(HOURS),
        device=st.sampled_from(DEVICES),
        label=st.sampled_from(["good", "bad"]),
        known=st.integers(0, 3),
    )
    def label(self, number: int, hour: int, device: str, label: str, known: int) -> None:
        """A truth, the first or another one, for an event that is there or is not yet."""
        tell(self.lake, device, self.time(hour, number), label, known)

    @rule(hour=st.sampled_from(HOURS), count=st.integers(10, 12))
    def sketch(self, hour: int, count: int) -> None:
        """A batch of aggregates, through the intake itself."""
        rows = events(self.next + 1, count)
        self.next += count
        for event in rows:
            event.ts += hour * 3_600_000_000
        self.site.store.create(*seal_aggregated(self.site, rows, device="d2"))
        assert ingest(self.site.store, self.lake, self.site.config, START + 60 * 24 * HOUR).batches == 1

    @rule(name=st.sampled_from(["events", "labels", *NAMES]))
    def compact(self, name: str) -> None:
        if table := self.handle(name):
            table.optimize.compact()

    @rule(name=st.sampled_from(["events", "labels", "sketches", *NAMES]))
    def vacuum(self, name: str) -> None:
        if table := self.handle(name):
            table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)

    @rule(device=st.sampled_from(DEVICES))
    def forget(self, device: str) -> None:
        for name in ("events", "sketches", "labels"):
            if table := self.handle(name):
                table.delete(f"device = '{device}'")

    @rule()
    def retain(self) -> None:
        """The first month leaves, as a whole."""
        for name in ("events", "sketches"):
            if table := self.handle(name):
                table.delete("month = '2024-01'")

    @rule(at=st.integers(0, 2 * len(NAMES) - 1))
    def killed(self, at: int) -> None:
        """An update that ends before or after one of its commits."""
        write, seen = under_test.write_deltalake, 0

        def cut_short(*args: Any, **options: Any) -> None:
            nonlocal seen
            for step in (lambda: None, lambda: write(*args, **options)):
                step()
                seen += 1
                if seen > at:
                    raise Killed

        under_test.write_deltalake = cut_short
        try:
            update_aggregates(self.lake)
        except Killed:
            pass
        finally:
            under_test.write_deltalake = write

    @rule(hour=st.sampled_from(HOURS), device=st.sampled_from(DEVICES))
    def arrive_between_updates(self, hour: int, device: str) -> None:
        self.update()
        self.arrive(2, hour, device, 1.0, "r1")
        self.update()

    @rule()
    def update(self) -> None:
        update_aggregates(self.lake)
        assert kept(self.lake) == from_scratch(self.lake)
        assert not any(made.rows for made in update_aggregates(self.lake).values())


Growth.TestCase.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
TestGrowth = Growth.TestCase


def write_down(lake: Lake) -> dict[str, int]:
    """Events of two devices in two months, an intake an hour; the version that each aggregate has of them."""
    for device in DEVICES:
        for hour in HOURS:
            append(lake, device, {hour + 1: START + hour * HOUR, hour + 2: START + hour * HOUR + MINUTE})
    tell(lake, "d1", START, "good")
    update_aggregates(lake)
    return {name: lake.version(name) for name in NAMES}


def made(lake: Lake) -> dict[str, tuple[int, int, int, int]]:
    """What an update does for each aggregate; what comes of it is what comes of everything."""
    found = {name: astuple(of_it) for name, of_it in update_aggregates(lake).items()}
    assert kept(lake) == from_scratch(lake)
    return found


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_only_hours_that_something_came_for_are_made_and_only_their_files_are_read(store_url: str) -> None:
    lake = Lake.of(open_store(store_url), parse_loop(LOOP))
    before = write_down(lake)
    files = 2 * len(HOURS)
    append(lake, "d1", {9: START + 2 * MINUTE})  # late, by a month
    assert made(lake) == {
        "device_hourly": (1, 1, 3, files + 2),  # two intakes of d1 and a label, of all files of events and of labels
        "release_hourly": (1, 1, 4, files + 2),
        "feature_hourly": (2, 1, 3, files + 1),
    }
    tell(lake, "d2", START, "bad")
    assert made(lake) == {
        "device_hourly": (1, 1, 2, files + 3),
        "release_hourly": (1, 1, 5, files + 3),
        "feature_hourly": (0, 0, 0, 0),
    }
    tell(lake, "d3", START, "bad")  # for an event that has not come
    assert made(lake)["device_hourly"][:2] == (0, 0)
    assert {name: lake.version(name) - since for name, since in before.items()} == {
        "device_hourly": 3,
        "release_hourly": 3,
        "feature_hourly": 1,
    }


def test_a_compaction_has_nothing_made_and_what_is_deleted_leaves_by_itself(tmp_path: Path) -> None:
    lake = make_site(tmp_path).lake
    write_down(lake)
    for name in ("events", "labels", *NAMES):
        table = lake.table(name)
        assert table is not None
        table.optimize.compact()
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    before = {name: lake.version(name) for name in NAMES}
    assert set(made(lake).values()) == {(0, 0, 0, 0)}
    assert {name: lake.version(name) for name in NAMES} == before
    events = lake.table("events")
    assert events is not None
    events.delete("device = 'd1'")
    events.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    made(lake)
    assert {row["device"] for row in kept(lake)["device_hourly"]} == {"d2"}
    events.delete("month = '2024-01'")
    made(lake)
    assert {row["month"] for name in NAMES for row in kept(lake)[name]} == {"2024-02"}


def test_of_two_updates_at_once_the_later_fails_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_site(tmp_path).lake
    write_down(lake)
    append(lake, "d1", {9: START + 2 * MINUTE})
    write = under_test.write_deltalake

    def overtaken(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(under_test, "write_deltalake", write)
        append(lake, "d2", {9: START + 2 * MINUTE})
        update_aggregates(lake)
        write(*args, **options)

    monkeypatch.setattr(under_test, "write_deltalake", overtaken)
    with pytest.raises(StoreError, match="device_hourly"):
        update_aggregates(lake)
    assert set(made(lake).values()) == {(0, 0, 0, 0)}


def test_another_precedence_of_labels_or_a_table_of_before_is_made_again(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    lake = site.lake
    old = pa.table({"device": ["d1"], "hour": [START], "events": [7], "month": ["2023-12"]})
    lake.append("device_hourly", old.set_column(1, "hour", old["hour"].cast(TIME)), ["month"])
    write_down(lake)
    tell(lake, "d1", START, "bad", known=1, source="guess")
    made(lake)
    right = [row["correct"] for row in kept(lake)["device_hourly"]]
    other = Lake.of(site.store, parse_loop(LOOP.replace("[features]", 'sources = ["t"]\n[features]', 1)))
    assert made(other)["device_hourly"][0] == 2 * len(HOURS)
    assert [row["correct"] for row in kept(other)["device_hourly"]] == [1, *right[1:]] != right
    assert made(other)["feature_hourly"] == (0, 0, 0, 0)
