from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.learning import train_next
from edgeloop.config import parse_loop
from edgeloop.errors import ConfigError
from pipelines.definitions import build
from tests.site import LOOP, START, fill_lake, make_site


def test_the_assets_of_a_loop_and_what_runs_them(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    definitions = build([site.config], site.centre)
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    names = {key.path[-1] for key in graph.get_all_asset_keys()}
    assert names == {
        "events", "batches", "labels", "device_hourly", "release_hourly", "feature_hourly", "completeness", "drift", "label_delay",
        "training_set", "challenger", "validation", "release", "rollout", "fleet",
        "lake_upkeep", "lake_health", "retention", "forgotten",
    }  # fmt: skip
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name in {"intake", "aggregates", "training", "delivery", "lake"}
        assert node.description
    repository = definitions.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {"pump_inbox_sensor"}
    assert len(repository.schedule_defs) == 4
    assert {"pump_intake", "pump_aggregates", "pump_upkeep", "pump_retraining", "signatures"} <= {
        j.name for j in repository.get_all_jobs()
    }


def test_the_sensor_asks_only_when_something_waits(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    sensor = build([site.config], site.centre).get_repository_def().get_sensor_def("pump_inbox_sensor")

    def ask() -> object:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, resources={"centre": site.centre})
            return sensor(context)

    assert isinstance(ask(), dg.SkipReason)
    site.store.create(f"{site.config.layout.inbox}/d/x.parquet", b"x")
    assert isinstance(ask(), dg.RunRequest)


def test_two_loops_with_one_name_in_dagster_are_named(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    loops = [parse_loop(LOOP.replace('"pump"', f'"{name}"')) for name in ("p-1", "other", "p_1")]
    with pytest.raises(ConfigError, match="p-1, p_1"):
        build(loops, site.centre)


def test_retraining_is_due_when_the_last_is_old_enough(tmp_path: Path) -> None:
    site = make_site(tmp_path, LOOP.replace("[training]", '[training]\nevery = "30d"'))
    fill_lake(site, 24 * 8)
    schedule = build([site.config], site.centre).get_repository_def().get_schedule_def("pump_retraining_nightly")

    def ask(day: float) -> object:
        site.clock.now = START + timedelta(days=day)
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(instance, resources={"centre": site.centre})
            return schedule(context)

    assert isinstance(ask(8), dg.RunRequest)
    train_next(site.centre, site.config)
    assert isinstance(ask(9), dg.SkipReason)
    assert isinstance(ask(37.5), dg.SkipReason)
    assert isinstance(ask(37.99), dg.RunRequest)


def test_the_rollout_is_looked_at_also_when_the_challenger_is_refused(tmp_path: Path) -> None:
    site = make_site(tmp_path, LOOP.replace("min_rows = 50", "min_rows = 50\nmin_accuracy = 1.0"))
    fill_lake(site, 24 * 8, wrong=0.3)
    site.clock.now = START + timedelta(days=8)
    job = build([site.config], site.centre).resolve_job_def("pump_retraining")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
    made = {
        event.asset_key.path[-1] for event in result.all_events if event.is_step_materialization and event.asset_key
    }
    assert result.success
    assert {"validation", "rollout", "fleet"} <= made
    assert "release" not in made
