"""What wakes the loop: something in the inbox."""

from __future__ import annotations

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from assets.centre import Centre
from edgeloop.config import LoopConfig
from ingest.waiting import Waiting
from pipelines.bell import Bell
from pipelines.jobs import job_name

UNDER_WAY = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]

WAIT = 28.0
"""Seconds that a tick listens for what comes: until the next one may begin."""


def inbox_sensor(config: LoopConfig) -> dg.SensorDefinition:
    """Asks for an intake run whenever batches or labels wait and none is under way: at once where the store tells of a batch."""
    job, bell = job_name(config, "intake"), Bell(config.layout.inbox)

    @dg.sensor(
        name=f"{job_name(config, 'inbox')}_sensor",
        job_name=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Batches or labels wait in the store.",
    )
    def inbox(context: dg.SensorEvaluationContext, centre: dg.ResourceParam[Centre]) -> dg.RunRequest | dg.SkipReason:
        bell.attend(centre.store.url)  # before looking, or what comes right after would not be heard
        if not _waits(centre, config) and not (_may_wait(context) and bell.rings(WAIT)):
            return dg.SkipReason(f"the inbox is empty{bell.deaf and f' ({bell.deaf})'}")
        if context.instance.get_runs_count(RunsFilter(job_name=job, statuses=UNDER_WAY)):
            return dg.SkipReason("an intake is under way")
        # No run key: Dagster remembers those for ever, and an intake that failed must be asked for again. Which batches
        # were taken is ingest's own knowledge; asking twice does nothing twice.
        return dg.RunRequest()

    return inbox


def _waits(centre: Centre, config: LoopConfig) -> bool:
    return any(True for _ in Waiting(centre.store, config.layout))


def _may_wait(context: dg.SensorEvaluationContext) -> bool:
    """Whether each sensor has a thread of its own: without, those of other loops would wait too."""
    return bool(context.instance.get_settings("sensors").get("use_threads"))
