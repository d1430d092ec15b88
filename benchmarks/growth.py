"""What one ingest takes, of five batches, while the lake grows by a thousand of them and every hundred are followed by a night's upkeep."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from edgeloop.store import Store, open_store
from ingest.run import ingest
from ingest.upkeep.nightly import tend
from tests.ingest.batches import events, seal
from tests.minio import serving
from tests.site import START, Site, make_site

BATCHES, ROWS, WINDOW = 5, 30, 100


@contextmanager
def store_in(directory: Path, kind: str) -> Iterator[Store]:
    """A directory, or a bucket of a MinIO of its own."""
    if kind == "directory":
        yield open_store(directory / "store")
        return
    with serving(directory / "minio") as environment, patch.dict(os.environ, environment):
        yield open_store("s3://edgeloop/growth")


def grow(site: Site, ingests: int) -> list[tuple[float, float]]:
    """Seconds of each ingest, and of this process's CPU in it."""
    lake, took = site.lake, list[tuple[float, float]]()
    for i in range(ingests):
        for device in range(BATCHES):
            site.store.create(*seal(site, events(1 + ROWS * i, ROWS), device=f"d{device}"))
        began, worked = time.perf_counter(), time.process_time()
        report = ingest(site.store, lake, site.config, START + timedelta(days=9, seconds=30 * i))
        took.append((time.perf_counter() - began, time.process_time() - worked))
        assert report.rows == BATCHES * ROWS
        if (i + 1) % WINDOW == 0:
            tend(site.store, site.config.layout, {}, START + timedelta(days=9, seconds=30 * i))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ingests", type=int, default=1000)
    parser.add_argument("--store", choices=["directory", "minio"], default="directory")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, store_in(Path(name), wanted.store) as store:
        took = grow(make_site(Path(name), store=store), wanted.ingests)
    windows = [took[i : i + WINDOW] for i in range(0, len(took), WINDOW)]
    medians = [tuple(statistics.median(column) * 1000 for column in zip(*window, strict=True)) for window in windows]
    print("ingests        ms    ms of CPU (medians)")
    for i, (wall, cpu) in enumerate(medians):
        print(f"{(i + 1) * WINDOW:7,} {wall:9.1f} {cpu:9.1f}")
    (wall, cpu), (first, worked) = medians[-1], medians[0]
    print(f"the last {WINDOW} to the first: {wall / first:.2f}, of CPU {cpu / worked:.2f}")


if __name__ == "__main__":
    main()
