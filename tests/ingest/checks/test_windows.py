"""Batches of aggregates: what is refused, and what comes of those that are taken."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from edgeloop.config import Drift
from edgeloop.duration import Duration
from edgeloop.manifest import Reference
from ingest.derived.aggregates import update_aggregates
from ingest.derived.completeness import completeness
from ingest.drift.measure import FeatureDrift, measure_drift
from ingest.plan import decode_plan
from ingest.run import IngestReport, ingest
from tests.edge_runtime.test_aggregates import AGGREGATED
from tests.ingest.batches import events, planned, rewrite, seal, seal_aggregated
from tests.ingest.drifting import SHA, trained
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, AGGREGATED)


def run(site: Site, *batches: tuple[str, bytes]) -> IngestReport:
    for batch in batches:
        site.store.create(*batch)
    return ingest(site.store, site.lake, site.config, NOW)


def rows(site: Site, query: str) -> list[tuple[object, ...]]:
    names = ("events", "sketches", "batches", "device_hourly", "feature_hourly")
    found: list[tuple[object, ...]] = site.lake.connect(**dict.fromkeys(names)).execute(query).fetchall()
    return found


def rows_made(site: Site) -> dict[str, int]:
    return {name: made.rows for name, made in update_aggregates(site.lake).items()}


def moved(site: Site, reference: dict[str, Reference]) -> FeatureDrift:
    rule = Drift(window=Duration(days=2))
    (found,) = measure_drift(site.lake, trained(site, reference), SHA, rule, NOW).features
    return found


def test_the_books_count_what_a_batch_of_aggregates_stands_for(site: Site) -> None:
    thinned = [event for event in events(101, 60) if event.seq % 2]
    for event in thinned:
        event.weight = 2.0
    first, second = seal_aggregated(site, events(1, 50)), seal_aggregated(site, thinned)
    second = rewrite(site, second[1], None, {"edgeloop.shed": "30"}, first=101)
    assert run(site, second).rows == 30
    assert run(site, first).rows == 50
    assert run(site, first).duplicates == 1
    assert run(site, seal_aggregated(site, events(20, 40))).rejected == 1  # overlaps, whatever kind either is of
    assert run(site, seal(site, events(30, 5))).rejected == 1
    (books,) = completeness(site.store, site.lake, site.config.layout).to_pylist()
    counts = {name: books[name] for name in ("produced", "ingested", "shed", "missing")}
    assert counts == {"produced": 159, "ingested": 80, "shed": 30, "missing": 49}
    assert rows(site, "SELECT sum(events), sum(weight) FROM sketches WHERE measure = 'event'") == [(80, 110)]


def test_hours_are_made_of_both_kinds(site: Site) -> None:
    told, kept = events(1, 40), events(41, 3000)
    draw = np.random.default_rng(2)
    for event in (*told, *kept):
        event.inputs = [float(draw.normal(5.0)), float("nan"), 0.0, 0.0]
        event.latency_us = float(draw.uniform(0, 100))
    values = np.array([e.inputs[0] for e in (*told, *kept)])
    run(site, seal(site, told), seal_aggregated(site, kept[:1500], device="d2"))
    assert rows_made(site) == {"device_hourly": 2, "release_hourly": 1, "feature_hourly": 3}
    assert rows_made(site) == {"device_hourly": 0, "release_hourly": 0, "feature_hourly": 0}
    run(site, seal_aggregated(site, kept[1500:], device="d2"))
    update_aggregates(site.lake)
    devices = rows(site, "SELECT device, events, weighted, labelled FROM device_hourly ORDER BY 1")
    assert devices == [("d1", 40, 40.0, 0), ("d2", 3000, 3000.0, 0)]
    query = "SELECT mean_confidence, latency_us_p50, latency_us_p99 FROM device_hourly WHERE device = 'd2'"
    ((confidence, median, tail),) = rows(site, query)
    assert confidence == pytest.approx(0.9)
    assert median == pytest.approx(50, abs=5)
    assert tail == pytest.approx(99, abs=5)
    (row,) = rows(
        site, "SELECT events, missing, mean, stddev, minimum, maximum FROM feature_hourly WHERE feature = 'f_a'"
    )
    assert row[:2] == (3040, 0)
    assert row[2:4] == (pytest.approx(values.mean(), abs=0.1), pytest.approx(values.std(), abs=0.1))
    assert row[4:] == (pytest.approx(values.min()), pytest.approx(values.max()))


def test_hours_of_events_alone_count_what_was_shed(site: Site) -> None:
    heavy, light = events(1, 1, weight=3.0), events(2, 1)
    heavy[0].inputs, light[0].inputs = [1.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0]
    run(site, seal(site, heavy + light))
    update_aggregates(site.lake)
    query = "SELECT events, mean, stddev FROM feature_hourly WHERE feature = 'f_a'"
    assert rows(site, query) == [(2, 2.0, 2.0)]  # 1, 1, 1 and 5
    reference = {"a": Reference((3.0,), (0.75, 0.25), 0.0)}
    found = moved(site, reference)
    assert (found.psi, found.events, found.missing) == (pytest.approx(0.0), 4, 0.0)


def test_an_hour_of_too_few_is_counted_and_no_feature_is_missing_for_it(site: Site) -> None:
    run(site, seal_aggregated(site, events(1, 9)), seal_aggregated(site, events(1, 20), device="d2"))
    update_aggregates(site.lake)
    assert rows(site, "SELECT device, events FROM device_hourly ORDER BY 1") == [("d1", 9), ("d2", 20)]
    assert rows(site, "SELECT events, missing FROM feature_hourly WHERE feature = 'f_a'") == [(20, 0)]
    reference = {"a": Reference((3.0,), (0.5, 0.5), 0.0)}
    found = moved(site, reference)
    assert (found.events, found.missing) == (20, 0.0)


def test_plans_from_before_are_of_events(site: Site) -> None:
    site.store.create(*seal(site, events(1, 5)))
    plan = planned(site, NOW)
    old = plan.encode().replace(b',"kind":"events"', b"")
    assert old != plan.encode()
    assert decode_plan(old) == plan


def test_a_plan_ends_where_sketches_that_are_small_in_their_files_fill_the_memory(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeated(table: pa.Table) -> pa.Table:
        """The same window hour after hour: a dictionary has each sketch once, and memory has it for every row."""
        back = [pa.scalar(timedelta(hours=hour), pa.duration("us")) for hour in range(100)]
        hours = [{name: pc.subtract(table[name], hour) for name in ("hour", "until")} for hour in back]
        parts = [table.set_column(0, "hour", h["hour"]).set_column(1, "until", h["until"]) for h in hours]
        return pa.concat_tables(parts)

    _, content = seal_aggregated(site, events(1, 50))
    for first in (1, 100_001, 200_001):
        words = {"events": "5000", "last_seq": str(first + 4_999)}
        path, small = rewrite(site, content, repeated, words, first)
        site.store.create(path, small)
    monkeypatch.setattr("ingest.judging.PLAN_MEMORY", 5 * len(small))
    assert run(site).plan == 3
    assert rows(site, "SELECT sum(events) FROM sketches WHERE measure = 'event'") == [(15_000,)]
