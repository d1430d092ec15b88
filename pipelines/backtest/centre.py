"""The centre in a backtest: the real jobs, run by Dagster in this process, on a simulated clock."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from assets.centre import Centre
from edgeloop import errors
from edgeloop.clock import SimulatedClock
from edgeloop.config import LoopConfig
from edgeloop.errors import EdgeloopError, StoreError
from edgeloop.store import Store
from fleet.keys import Keys
from fleet.repository import refresh, renew_offline_roles
from pipelines.definitions import build
from pipelines.jobs import job_name

if TYPE_CHECKING:  # a step's error has no public name
    from dagster_shared.error import SerializableErrorInfo

T = TypeVar("T")

RUNS = 3
"""Of a job whose store fails: its sensor, or its schedule, would ask for it again long before the next tick."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class SimulatedCentre:
    """Runs the loop's jobs at simulated times; the runs stay visible in the Dagster home.

    Args:
        instance: the Dagster instance that records the runs.
    """

    def __init__(
        self, config: LoopConfig, store: Store, keys: Keys, instance: dg.DagsterInstance, start: datetime
    ) -> None:
        self.clock = SimulatedClock(start)
        self.centre = Centre(store, keys, self.clock)
        self._config = config
        self._instance = instance
        definitions = build([config], self.centre)
        self._jobs = {
            name: definitions.resolve_job_def(job_name(config, name)) for name in ("intake", "aggregates", "retraining")
        }

    def run(self, job: str, now: datetime) -> None:
        """Run `intake` or `aggregates` as of `now`.

        Raises:
            EdgeloopError: the run failed; the message is its own error's.
        """
        if failure := self._execute(job, now):
            raise type(failure)(
                f"the {job} run at {now:%Y-%m-%d} failed: {failure.message}",
                remedy="Look at the run with `edgeloop ui`.",
            )

    def retrain(self, now: datetime) -> str:
        """Run `retraining` as of `now`; why it failed, or nothing. A training that fails leaves the champion in force."""
        failure = self._execute("retraining", now)
        return failure.message if failure else ""

    def _execute(self, job: str, now: datetime) -> EdgeloopError | None:
        self.clock.now = now
        try:
            return insist(lambda: self._run_once(job, now))
        except StoreError as error:
            return error

    def _run_once(self, job: str, now: datetime) -> EdgeloopError | None:
        result = self._jobs[job].execute_in_process(
            instance=self._instance,
            run_config=QUIET,
            tags={"edgeloop/simulated_time": now.isoformat()},
            raise_on_error=False,
        )
        failure = None if result.success else _failure(result)
        if isinstance(failure, StoreError):
            raise failure
        return failure

    def refresh_signatures(self, now: datetime) -> None:
        """What the schedule of the timestamp role does, and the yearly ceremony of the offline keys."""
        self.clock.now = now
        insist(lambda: renew_offline_roles(self.centre.store, self.centre.keys, now))
        insist(lambda: refresh(self.centre.store, self.centre.keys, now))


def insist(attempt: Callable[[], T]) -> T:
    """Do what can be done again, again while the store fails: whoever does it in the field has days until the next tick."""
    for _ in range(RUNS - 1):
        with suppress(StoreError):
            return attempt()
    return attempt()


@contextmanager
def dagster_home(directory: Path) -> Iterator[dg.DagsterInstance]:
    """A persistent Dagster home at `directory`, made if missing, with our settings."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = directory / "dagster.yaml"
    if not settings.exists():
        settings.write_text(files("pipelines").joinpath("dagster.yaml").read_text())
    os.environ["DAGSTER_HOME"] = str(directory)
    logging.getLogger("dagster").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=dg.BetaWarning)
        with dg.DagsterInstance.from_config(str(directory)) as instance:
            yield instance


def _failure(result: dg.ExecuteInProcessResult) -> EdgeloopError:
    """What a step failed with: Dagster keeps it as text, and the class decides the exit code."""
    for event in result.all_events:
        if event.is_step_failure and (chain := list(_chain(event.step_failure_data.error))):
            # The outermost that is ours knows best; what it came of may be a library's.
            error = next((e for e in chain if hasattr(errors, e.cls_name or "")), chain[-1])
            kind = getattr(errors, error.cls_name or "", EdgeloopError)
            return kind(error.message.strip().removeprefix(f"edgeloop.errors.{error.cls_name}: "))
    return EdgeloopError("unknown")


def _chain(error: SerializableErrorInfo | None) -> Iterator[SerializableErrorInfo]:
    while error is not None:
        yield error
        error = error.cause
