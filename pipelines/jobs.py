"""The jobs: intake (whenever something waits), aggregates (by the hour), retraining, the upkeep of the lake and of signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from assets.centre import Centre, asset_prefix
from edgeloop.config import LoopConfig
from fleet.repository import in_turn, refresh

if TYPE_CHECKING:  # what define_asset_job returns has no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

INTAKE = ("events", "batches", "labels", "rollout")
AGGREGATES = (
    "device_hourly",
    "release_hourly",
    "feature_hourly",
    "completeness",
    "drift",
    "label_delay",
    "fleet",
    "lake_health",
)
UPKEEP = ("retention", "forgotten", "lake_upkeep", "lake_health")
RETRAINING = ("training_set", "challenger", "validation", "release", "rollout", "fleet")


def intake_job(config: LoopConfig) -> UnresolvedAssetJobDefinition:
    """Ingest, and look at the rollout."""
    return _job(config, "intake", INTAKE, "Take in what devices sent, and look at the rollout again.")


def aggregates_job(config: LoopConfig) -> UnresolvedAssetJobDefinition:
    """Aggregate, measure drift, draw up the books."""
    return _job(
        config, "aggregates", AGGREGATES, "Aggregates, drift, completeness, and the fleet and the lake as they are."
    )


def retraining_job(config: LoopConfig) -> UnresolvedAssetJobDefinition:
    """Train a challenger, judge it, publish it if it passed, begin its rollout."""
    return _job(config, "retraining", RETRAINING, "Train, judge, publish, begin to roll out.")


def upkeep_job(config: LoopConfig) -> UnresolvedAssetJobDefinition:
    """Remove what is too old from the lake, and who is to be forgotten; compact and vacuum it."""
    return _job(
        config, "upkeep", UPKEEP, "Remove what is too old or nobody needs any more, and join the lake's small files."
    )


def job_name(config: LoopConfig, name: str) -> str:
    """What a loop's job is called in Dagster."""
    return f"{asset_prefix(config)}_{name}"


def _job(config: LoopConfig, name: str, assets: tuple[str, ...], description: str) -> UnresolvedAssetJobDefinition:
    prefix = asset_prefix(config)
    selection = dg.AssetSelection.assets(*([prefix, asset] for asset in assets))
    return dg.define_asset_job(
        job_name(config, name), selection, description=description, tags={"edgeloop/loop": config.name}
    )


@dg.op(
    description="Sign timestamp again, and snapshot and rollouts when half of their life is over.",
    retry_policy=dg.RetryPolicy(max_retries=3, delay=60),  # the schedule comes again in six hours only
)
def refresh_signatures(centre: dg.ResourceParam[Centre]) -> None:
    """Keep what devices hold against the clock from expiring."""
    in_turn(lambda: refresh(centre.store, centre.keys, centre.clock()))


@dg.job(
    name="signatures",
    description="Keep the release metadata fresh: an expired timestamp stops updates, never inference.",
)
def maintenance_job() -> None:
    """The upkeep of signatures, as a job."""
    refresh_signatures()
