"""A loop whose devices ship aggregates: from a reading to the drift alarm, and what such a loop cannot do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.delivery import publish_newest, step_rollout
from assets.drift import drift_asset
from assets.learning import train_next
from edgeloop.config import parse_loop
from edgeloop.errors import ConfigError, DataError
from ingest.derived.aggregates import update_aggregates
from ingest.derived.completeness import completeness
from ingest.run import ingest
from pipelines.backtest.run import check_backtest
from pipelines.definitions import build
from tests.edge_runtime.test_aggregates import AGGREGATED
from tests.site import START, Site, fill_lake, make_site, readings

DAYS = timedelta(days=1)
LIVES = START + 20 * DAYS


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A loop with a release in force, trained on what its devices shipped before they were told to ship aggregates."""
    site = make_site(tmp_path)
    fill_lake(site, 24 * 10)
    site.clock.now = START + 11 * DAYS
    train_next(site.centre, site.config)
    assert publish_newest(site.centre, site.config) is not None
    step_rollout(site.centre, site.config)
    # Its window of drift has the latest two days, and not what it was trained on.
    return replace(site, config=parse_loop(AGGREGATED + '[drift]\nwindow = "3d"\n'))


def live(site: Site, hours: int, shift: float = 0.0) -> None:
    """A reading a minute, `a` of which has moved by `shift`, shipped every hour and taken in at the end."""
    with site.open("d9") as device:
        for reading in readings(60 * hours, seed=9):
            device.predict({**reading, "a": float(str(reading["a"])) + shift})
            site.clock.now += timedelta(minutes=1)
            if site.clock.now.minute == 7:
                assert device.exchange()
        site.clock.now += timedelta(hours=1)
        assert device.exchange()
        assert device.status().acked == device.status().produced
    assert ingest(site.store, site.lake, site.config, site.clock()).rejected == 0


def alarms(site: Site) -> str:
    """The features that the asset `drift` says are over the alarm."""
    found = dg.materialize([drift_asset(site.config)], resources={"centre": site.centre}, raise_on_error=True)
    (check,) = found.get_asset_check_evaluations()
    return str(check.metadata["over the alarm"].value)


@pytest.mark.parametrize(("shift", "says"), [(0.0, ""), (3.0, "a")])
def test_a_shifted_feature_is_noticed_by_sketches_alone(site: Site, shift: float, says: str) -> None:
    site.clock.now = LIVES
    live(site, 48, shift)
    assert update_aggregates(site.lake)["device_hourly"].rows > 48
    assert alarms(site) == says
    books = {b["device"]: b for b in completeness(site.store, site.lake, site.config.layout).to_pylist()}
    assert (books["d9"]["produced"], books["d9"]["ingested"], books["d9"]["missing"]) == (2880, 2880, 0)
    assert site.lake.connect(events=None).sql("SELECT count(*) FROM events WHERE device = 'd9'").fetchall() == [(0,)]


def test_it_cannot_train_and_says_what_to_do(site: Site) -> None:
    with pytest.raises(
        DataError, match=r"ships aggregates.*no rows to train on\. Train with privacy\.ship = \"events\""
    ):
        train_next(site.centre, site.config)
    schedule = build([site.config], site.centre).get_repository_def().get_schedule_def("pump_retraining_nightly")
    with dg.DagsterInstance.ephemeral() as instance:
        site.clock.now += 300 * DAYS
        context = dg.build_schedule_context(instance=instance, resources={"centre": site.centre})
        (asked,) = [schedule(context)]
    assert isinstance(asked, dg.SkipReason)
    assert "ships aggregates" in str(asked.skip_message)


def test_a_backtest_says_so_before_it_begins(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"trains on events.*Play the history with privacy\.ship = \"events\""):
        check_backtest(site.config, None, None)  # type: ignore[arg-type]


def test_a_rollout_is_held_for_want_of_rows(site: Site) -> None:
    site.clock.now = LIVES
    live(site, 1)
    with_rows = parse_loop(AGGREGATED.replace('"aggregates"', '"events"'))
    train_next(site.centre, with_rows)
    assert publish_newest(site.centre, with_rows) is not None
    step_rollout(site.centre, site.config)
    for _ in range(site.config.rollout.max_looks + 1):
        live(site, 1)
        document, decision = step_rollout(site.centre, site.config)
        assert document is not None
        assert (document.candidate and document.candidate.id, document.wave) == ("r0002", 0)
        assert decision is None or (decision.verdict, decision.reason) == ("hold", "0 labelled rows of the 50 needed")
    assert document.verdict == "hold"
