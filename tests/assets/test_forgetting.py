"""What leaves the lake for good, by the nightly job."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg

from assets.forgetting import forgetting_assets
from edgeloop.events import lake_schema
from ingest.upkeep.forgetting import ask, make_request
from ingest.upkeep.tombstones import read_proofs, read_requests
from pipelines.definitions import build
from tests.ingest.upkeep.test_forgetting import GONE, OTHER, fill
from tests.site import LOOP, START, Site, fill_lake, make_site


def check_of(site: Site) -> dg.AssetCheckEvaluation:
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(forgetting_assets(site.config), resources={"centre": site.centre}, instance=instance)
    (check,) = done.get_asset_check_evaluations()
    return check


def test_a_request_that_was_interrupted_is_ended_and_what_came_back_is_an_error(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill(site, [GONE, OTHER])
    ask(site.store, site.config.layout, make_request(site.config, [GONE], None, None, START))
    assert check_of(site).passed
    assert not read_requests(site.store, site.config.layout)
    assert len(list(read_proofs(site.store, site.config.layout))) == 1
    fill_lake(site, 5, devices=1)  # by somebody who writes to the lake past the intake
    assert check_of(site).passed
    theirs = site.lake.connect(events=None).sql(f"SELECT * REPLACE ('{GONE}' AS device) FROM events LIMIT 3")
    site.lake.append("events", theirs.to_arrow_table().cast(lake_schema(site.config.schema())))
    check = check_of(site)
    assert not check.passed
    assert check.metadata["rows of events"].value == 3


def test_the_nightly_job_removes_what_is_too_old(tmp_path: Path) -> None:
    site = make_site(tmp_path, LOOP + '\n[privacy]\nretention = "2d"\n')
    fill_lake(site, 24 * 4)
    site.clock.now = START + timedelta(days=5)
    job = build([site.config], site.centre).resolve_job_def("pump_upkeep")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance)
    assert site.lake.connect(events=None).execute("SELECT count(*) FROM events").fetchone() == (3 * 24,)
    (made,) = done.asset_materializations_for_node("pump__retention")
    assert made.metadata["rows of events that went"].value == 3 * 24 * 3
