from __future__ import annotations

from pathlib import Path

import dagster as dg

from pipelines.definitions import build
from tests.site import make_site


def test_the_assets_of_a_loop_and_what_runs_them(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    definitions = build([site.config], site.centre)
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    names = {key.path[-1] for key in graph.get_all_asset_keys()}
    assert names == {
        "events", "batches", "labels", "device_hourly", "feature_hourly", "completeness", "drift",
        "training_set", "challenger", "validation", "release", "rollout", "fleet",
    }  # fmt: skip
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name in {"intake", "aggregates", "training", "delivery"}
        assert node.description
    repository = definitions.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {"pump_inbox_sensor"}
    assert len(repository.schedule_defs) == 3
    assert {"pump_intake", "pump_aggregates", "pump_retraining", "signatures"} <= {
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
