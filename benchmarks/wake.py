"""Seconds from a batch in the inbox to the intake that is asked for, and to its rows in the lake: told of by MinIO, against listed."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from statistics import median
from unittest.mock import patch

import dagster as dg

from edgeloop.store import open_store
from examples.minio import BUCKET, running
from tests.site import LOOP, Site, make_site, readings


@contextmanager
def daemon(home: Path, site: Site, *, told: bool) -> Iterator[dg.DagsterInstance]:
    """Dagster's daemon on a site; without threads for sensors, as in a home of before there was a bell, it only lists."""
    home.mkdir()
    settings = files("pipelines").joinpath("dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(settings.replace("use_threads: true", f"use_threads: {str(told).lower()}"))
    (site.directory / "loop.toml").write_text(LOOP)
    own = {
        "DAGSTER_HOME": str(home),
        "EDGELOOP_LOOPS": str(site.directory / "loop.toml"),
        "EDGELOOP_STORE": site.store.url,
        "EDGELOOP_KEYS": str(site.keys.directory),
    }
    with patch.dict(os.environ, own), (home / "log").open("wb") as log:
        command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "pipelines.definitions"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            with dg.DagsterInstance.get() as instance:
                yield instance
        finally:
            process.terminate()
            process.wait()


def delays(site: Site, instance: dg.DagsterInstance, times: int, draw: random.Random) -> list[tuple[float, float]]:
    """Of `times` batches at random instants: seconds until an intake was asked for, and until the inbox was empty again."""
    found = []
    with site.open("dev") as device:
        for _ in range(times + 1):
            for reading in readings(10):
                device.predict(reading)
            runs, began = instance.get_runs_count(), time.monotonic()
            assert device.exchange()
            asked = until(lambda runs=runs: instance.get_runs_count() > runs, began)  # type: ignore[misc]
            ingested = until(lambda: not any(site.store.list(site.config.layout.inbox)), began)
            found.append((asked, ingested))
            time.sleep(draw.uniform(0, 35))
    return found[1:]  # the first was before the daemon was up


def until(condition: Callable[[], bool], began: float) -> float:
    while not condition():
        time.sleep(0.1)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wake")
    parser.add_argument("--times", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with running(directory / "minio") as minio, patch.dict(os.environ, minio.environment):
            for what, told in (("listed", False), ("told", True)):
                site = make_site(directory / what, store=open_store(f"s3://{BUCKET}/{what}"))
                with daemon(directory / what / "dagster", site, told=told) as instance:
                    asked, ingested = zip(*delays(site, instance, options.times, random.Random(0)), strict=True)
                print(
                    f"{what:>6}: asked for after {median(asked):5.1f} s (at most {max(asked):.1f}),"
                    f" in the lake after {median(ingested):5.1f} s (at most {max(ingested):.1f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
