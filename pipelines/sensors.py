"""What wakes the loop: something in the inbox."""

from __future__ import annotations

from itertools import islice

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from assets.centre import Centre
from edgeloop.config import LoopConfig
from pipelines.jobs import job_name

UNDER_WAY = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


def inbox_sensor(config: LoopConfig) -> dg.SensorDefinition:
    """Asks for an intake run whenever batches or labels wait and none is under way."""
    job = job_name(config, "intake")

    @dg.sensor(
        name=f"{job_name(config, 'inbox')}_sensor",
        job_name=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Batches or labels wait in the store.",
    )
    def inbox(context: dg.SensorEvaluationContext, centre: dg.ResourceParam[Centre]) -> dg.RunRequest | dg.SkipReason:
        folders = (config.layout.inbox, config.layout.labels)
        if not any(True for folder in folders for _ in islice(centre.store.list(folder), 1)):
            return dg.SkipReason("the inbox is empty")
        if context.instance.get_runs_count(RunsFilter(job_name=job, statuses=UNDER_WAY)):
            return dg.SkipReason("an intake is under way")
        # No run key: Dagster remembers those for ever, and an intake that failed must be asked for again. Which batches
        # were taken is ingest's own knowledge; asking twice does nothing twice.
        return dg.RunRequest()

    return inbox
