"""When things happen by the clock. All run as soon as Dagster's daemon does."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from assets.centre import Centre
from assets.trainings import last_trained
from edgeloop.config import LoopConfig
from edgeloop.sketches import AGGREGATES
from pipelines.jobs import job_name, maintenance_job

timestamp_schedule = dg.ScheduleDefinition(
    name="signatures_every_6_hours",
    job=maintenance_job,
    cron_schedule="17 */6 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Apart from training: devices take updates only while the timestamp is fresh (3 days).",
)


def aggregates_schedule(config: LoopConfig) -> dg.ScheduleDefinition:
    """Aggregates, drift and the books, every hour."""
    return dg.ScheduleDefinition(
        name=f"{job_name(config, 'aggregates')}_hourly",
        job_name=job_name(config, "aggregates"),
        cron_schedule="5 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Only the months that something new came for are done again.",
    )


def upkeep_schedule(config: LoopConfig) -> dg.ScheduleDefinition:
    """The upkeep of the lake, every night."""
    return dg.ScheduleDefinition(
        name=f"{job_name(config, 'upkeep')}_nightly",
        job_name=job_name(config, "upkeep"),
        cron_schedule="40 1 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night before the retraining, which reads all that came.",
    )


def retraining_schedule(config: LoopConfig) -> dg.ScheduleDefinition:
    """Retraining once `training.every` has passed since the last one; asked every night, for cron cannot say `every 91 days`."""

    @dg.schedule(
        name=f"{job_name(config, 'retraining')}_nightly",
        job_name=job_name(config, "retraining"),
        cron_schedule="0 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Every night at 3: retrains if the last training is {config.training.every} old.",
    )
    def nightly(centre: dg.ResourceParam[Centre]) -> dg.RunRequest | dg.SkipReason:
        if config.privacy.ship == AGGREGATES:
            return dg.SkipReason("the loop ships aggregates: there are no rows to train on")
        last = last_trained(centre.store, config.layout)
        # An hour's grace: a training that took ten minutes must not put the next one off by a day.
        if last is not None and centre.clock() - last < config.training.every - timedelta(hours=1):
            return dg.SkipReason(f"last trained {last:%Y-%m-%d %H:%M} UTC, due every {config.training.every}")
        return dg.RunRequest()

    return nightly
