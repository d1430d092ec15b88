"""Labels as Dagster shows them: as they should come, from another time zone, and no more."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.labels import label_assets
from edge_runtime.spool import Event
from edgeloop.store import open_store
from ingest.run import ingest
from tests.ingest.batches import MICROSECONDS, events, put_labels, seal, told
from tests.site import START, Site, make_site

HOUR = timedelta(hours=1)


def uneven(count: int) -> list[Event]:
    """Events about 20 s apart, no two alike."""
    found = events(1, count)
    for i, event in enumerate(found):
        event.ts = int((START.timestamp() + moment(i)) * MICROSECONDS)
    return found


def moment(i: int) -> float:
    return 20 * i + i * i % 997 / 100


def look(site: Site, now: datetime) -> tuple[dict[str, dg.AssetCheckEvaluation], set[str]]:
    """The asset's checks and the names of what it shows, after an intake."""
    site.clock.now = now
    ingest(site.store, site.lake, site.config, now)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(label_assets(site.config), resources={"centre": site.centre}, instance=instance)
    (made,) = result.asset_materializations_for_node("pump__label_delay")
    return {check.check_name: check for check in result.get_asset_check_evaluations()}, set(made.metadata)


def test_a_lake_without_labels_has_nothing_to_complain_of(tmp_path: Path) -> None:
    checks, shown = look(make_site(tmp_path), START)
    assert len(checks) == 2
    assert all(check.passed for check in checks.values())
    assert not shown


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_labels_of_another_time_zone_are_a_warning_that_says_by_how_much(tmp_path: Path, store_url: str) -> None:
    site = make_site(tmp_path, store=open_store(store_url))
    site.store.create(*seal(site, uneven(500)))
    put_labels(site, "operator", *(told(moment(i), "bad", 3 + i / 1000) for i in range(100)))
    checks, shown = look(site, START + 4 * HOUR)
    assert all(check.passed for check in checks.values())
    assert shown == {"sources", "the newest labels", "delay", "labels by week"}

    put_labels(site, "lab", *(told(moment(i) + 3600, "bad", 4) for i in range(100)))
    check = look(site, START + 5 * HOUR)[0]["labels_meet_events"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    said = "100 of the newest 100 labels of lab meet no event; most would meet one 3600 s earlier: see the clock and the time"
    assert (check.description or "").startswith(said)


def test_a_source_that_stopped_is_a_warning_until_it_is_given_up(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.store.create(*seal(site, uneven(500)))
    put_labels(site, "operator", *(told(moment(i), "bad", 1 + i / 200) for i in range(500)))
    put_labels(site, "once", told(moment(1), "bad", 1))
    for hours, passed in ((4, True), (9, False), (24 * 180, False), (24 * 190, True)):
        check = look(site, START + hours * HOUR)[0]["labels_come"]
        assert check.passed is passed, hours
        assert ("operator has been silent" in (check.description or "")) is not passed
        assert "once" not in (check.description or "")
