"""What `dagster dev` loads: every loop of the deployment that the environment names.

`EDGELOOP_LOOPS`  paths of loop.toml files, separated by `:`
`EDGELOOP_STORE`  the store's URL
`EDGELOOP_KEYS`   the key directory; what is signed here, is what it has the keys for
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from assets.centre import Centre, asset_prefix
from assets.delivery import delivery_assets
from assets.drift import drift_asset
from assets.forgetting import forgetting_assets
from assets.intake import intake_assets
from assets.labels import label_assets
from assets.learning import learning_assets
from assets.upkeep import upkeep_assets
from edgeloop.config import LoopConfig, read_loop
from edgeloop.errors import ConfigError
from edgeloop.store import open_store
from fleet.keys import Keys
from pipelines.jobs import aggregates_job, intake_job, maintenance_job, retraining_job, upkeep_job
from pipelines.schedules import aggregates_schedule, retraining_schedule, timestamp_schedule, upkeep_schedule
from pipelines.sensors import inbox_sensor


def build(configs: Sequence[LoopConfig], centre: Centre) -> dg.Definitions:
    """The definitions of these loops on one centre.

    Raises:
        ConfigError: two loops would have one name in Dagster, where `p-1`, `p.1` and `p_1` are the same.
    """
    names = [asset_prefix(config) for config in configs]
    if clash := [config.name for config in configs if names.count(asset_prefix(config)) > 1]:
        raise ConfigError(
            f"loops {', '.join(clash)} have the same name in Dagster, which knows letters, digits and '_' only.",
            remedy="Rename one of them.",
        )
    return dg.Definitions(
        assets=[
            a
            for c in configs
            for a in (
                *intake_assets(c),
                drift_asset(c),
                *label_assets(c),
                *learning_assets(c),
                *delivery_assets(c),
                *upkeep_assets(c),
                *forgetting_assets(c),
            )
        ],
        jobs=[
            *(job for c in configs for job in (intake_job(c), aggregates_job(c), upkeep_job(c), retraining_job(c))),
            maintenance_job,
        ],
        schedules=[
            *(s for c in configs for s in (aggregates_schedule(c), upkeep_schedule(c), retraining_schedule(c))),
            timestamp_schedule,
        ],
        sensors=[inbox_sensor(c) for c in configs],
        resources={"centre": centre},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The deployment named by the environment."""
    try:
        loops, store, keys = (os.environ[f"EDGELOOP_{name}"] for name in ("LOOPS", "STORE", "KEYS"))
    except KeyError as error:
        raise ConfigError(
            f"{error.args[0]} is not set.",
            remedy="Start the UI with `edgeloop ui WORKDIR` or `make ui`, or set EDGELOOP_LOOPS, EDGELOOP_STORE and EDGELOOP_KEYS.",
        ) from None
    configs = [read_loop(path) for path in loops.split(os.pathsep) if path]
    return build(configs, Centre(open_store(store, waits=True), Keys(Path(keys))))
