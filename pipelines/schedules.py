"""When things happen by the clock. All run as soon as Dagster's daemon does."""

from __future__ import annotations

import dagster as dg

from edgeloop.config import LoopConfig
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


def retraining_schedule(config: LoopConfig) -> dg.ScheduleDefinition:
    """Retraining by the calendar: cron cannot say `every 91 days`, so it follows `training.every` to the nearest period."""
    days = config.training.every.total_seconds() / 86400
    cron = "0 3 * * *" if days < 7 else "0 3 * * 1" if days < 28 else "0 3 1 * *" if days < 84 else "0 3 1 */3 *"
    return dg.ScheduleDefinition(
        name=f"{job_name(config, 'retraining')}_by_the_calendar",
        job_name=job_name(config, "retraining"),
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Retraining every {config.training.every}, to the nearest day, week, month or quarter.",
    )
