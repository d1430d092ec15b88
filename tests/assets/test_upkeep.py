"""The upkeep as Dagster runs it: what a release was trained on stays to the byte, the rest of the past goes, and the health is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import assets.upkeep
from assets.delivery import publish_newest
from assets.learning import train_next
from ingest.derived.aggregates import Made, update_aggregates
from ingest.run import ingest
from ingest.upkeep.health import lake_health
from pipelines.definitions import build
from tests.ingest.batches import events, seal
from tests.site import START, Site, fill_lake, make_site
from training.rows import Pin, read_rows

LATER = timedelta(days=9)
EVERYTHING = "SELECT count(*), count(DISTINCT (device, seq)), sum(f_a) FROM events"


def run(site: Site, job: str) -> tuple[dict[str, dict[str, Any]], dg.AssetCheckEvaluation]:
    """Run a job; the metadata of what it made by table, and the check on the lake."""
    found = build([site.config], site.centre).resolve_job_def(f"pump_{job}")
    with dg.DagsterInstance.ephemeral() as instance:
        result = found.execute_in_process(instance=instance)
    assert result.success
    made = {
        event.asset_key.path[-1]: event.materialization.metadata
        for event in result.all_events
        if event.is_step_materialization and event.asset_key
    }
    tables = {
        row.data["table"]: row.data
        for name in ("lake_upkeep", "lake_health")
        if name in made
        for row in made[name]["tables"].value.records  # type: ignore[union-attr]
    }
    (check,) = (c for c in result.get_asset_check_evaluations() if c.check_name == "upkeep_keeps_up")
    return tables, check


def take_in(site: Site, first: int, batches: int) -> None:
    for i in range(batches):
        site.store.create(*seal(site, events(first + 20 * i, 20)))
        ingest(site.store, site.lake, site.config, START + timedelta(days=1, minutes=first + i))


def contents(site: Site, table: str, version: int) -> set[str]:
    """Digests of the files of a version."""
    pinned = site.lake.table(table, version)
    assert pinned is not None
    return {sha256(Path(uri).read_bytes()).hexdigest() for uri in pinned.file_uris()}


def test_a_pinned_training_set_stays_and_the_rest_of_the_past_is_freed(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    take_in(site, 1, 4)
    site.clock.now = START + timedelta(days=9)
    lineage = train_next(site.centre, site.config).manifest.lineage
    pin, as_of = Pin(lineage.events_version, lineage.labels_version), site.clock()
    assert publish_newest(site.centre, site.config) is not None
    take_in(site, 1001, 8)
    update_aggregates(site.lake)
    rows = read_rows(site.lake, site.config, pin, as_of).sha256
    before = contents(site, "events", pin.events), contents(site, "labels", pin.labels)
    count = site.lake.connect(events=None).sql(EVERYTHING).fetchall()
    between = site.lake.table("events", pin.events + 3)
    assert between is not None

    site.clock.now = datetime.now(UTC)
    tables, _ = run(site, "upkeep")
    assert tables["events"]["compacted"]
    assert between.to_pyarrow_table().num_rows > 0  # for a week every version can be read
    site.clock.now += LATER
    assert lake_health(site.store, site.config.layout, {"events": {pin.events}}, site.clock())[0].unused > 0
    tables, _ = run(site, "upkeep")
    with pytest.raises(FileNotFoundError):
        between.to_pyarrow_table()
    assert read_rows(site.lake, site.config, pin, as_of).sha256 == rows
    assert (contents(site, "events", pin.events), contents(site, "labels", pin.labels)) == before
    assert site.lake.connect(events=None).sql(EVERYTHING).fetchall() == count
    # Nothing is left to do, and nothing is new to the aggregates.
    assert {(table["due"], table["unused"]) for table in tables.values()} == {(0, 0)}
    assert {table["oldest"] for table in tables.values()} >= {pin.events, pin.labels}
    assert set(update_aggregates(site.lake).values()) == {Made()}


def test_it_is_said_when_upkeep_does_not_keep_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path)
    take_in(site, 1, 9)
    site.clock.now = START + timedelta(days=2)
    monkeypatch.setattr(assets.upkeep, "MOST_DUE", 8)
    tables, check = run(site, "aggregates")
    assert (tables["events"]["files"], tables["events"]["rows"], tables["events"]["due"]) == (9, 180, 9)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["behind"].value == "events, batches"
    tables, check = run(site, "upkeep")
    assert (tables["events"]["files"], tables["events"]["rows"], tables["events"]["due"]) == (1, 180, 0)
    assert tables["events"]["past"] > tables["events"]["bytes"] > 0
    assert (tables["events"]["oldest"], tables["events"]["unchecked"]) == (0, 0)
    assert check.passed
