"""The intake as Dagster runs it, with devices that send nonsense."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg

from pipelines.definitions import build
from tests.ingest.batches import events, named, seal
from tests.site import START, Site, make_site


def take_in(site: Site, job: str = "pump_intake") -> tuple[dict[str, dg.AssetCheckEvaluation], set[str]]:
    """Run a job; its checks by name, and what was made."""
    site.clock.now = START + timedelta(days=1)
    found = build([site.config], site.centre).resolve_job_def(job)
    with dg.DagsterInstance.ephemeral() as instance:
        result = found.execute_in_process(instance=instance)
    assert result.success
    made = {e.asset_key.path[-1] for e in result.all_events if e.is_step_materialization and e.asset_key}
    return {check.check_name: check for check in result.get_asset_check_evaluations()}, made


def test_one_bad_device_is_a_warning_with_its_reasons_and_blocks_no_other(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    for i in range(19):
        site.store.create(*seal(site, events(1, 50), device=f"d{i}"))
    for first in (101, 201):
        site.store.create(*named(site, b"junk", first, device="bad"))
    checks, made = take_in(site)
    check = checks["no_batch_rejected"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert {"events", "batches", "rollout"} <= made
    said = {name: value.value for name, value in check.metadata.items()}
    assert (said["rejected"], said["of"]) == (2, 21)
    assert [row.data for row in said["by sender"].records] == [{"what": "bad", "files": 2}]
    ((reason, files),) = (row.data.values() for row in said["by reason"].records)
    assert (reason[:21], files) == ("it is no Parquet file", 2)
    assert site.lake.connect(events=None).execute("SELECT count(*) FROM events").fetchall() == [(19 * 50,)]


def test_a_tenth_is_an_error_and_a_run_without_any_is_well(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.store.create(*seal(site, events(1, 50)))
    site.store.create(*named(site, b"junk", device="bad"))
    checks, _ = take_in(site)
    assert (checks["no_batch_rejected"].passed, checks["no_batch_rejected"].severity) == (
        False,
        dg.AssetCheckSeverity.ERROR,
    )
    checks, _ = take_in(site)
    assert checks["no_batch_rejected"].passed


def test_the_books_show_the_gaps_and_a_missing_event_is_no_good(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.store.create(*seal(site, events(1, 50)))
    site.store.create(*seal(site, events(61, 50)))
    take_in(site)
    checks, made = take_in(site, "pump_aggregates")
    assert "completeness" in made
    check = checks["nothing_missing"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["missing and not waiting on a device"].value == 10
    site.store.create(*seal(site, events(51, 10)))
    take_in(site)
    assert take_in(site, "pump_aggregates")[0]["nothing_missing"].passed
