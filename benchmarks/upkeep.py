"""What an upkeep is worth: queries of a lake before and after one."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store, open_store
from ingest.upkeep.compaction import compact
from ingest.upkeep.vacuum import data_files
from tests.site import START

LAYOUT = Layout("pump")
DEVICES, MINUTES, FEATURES = 200, 15, 6
QUERIES = {
    "all of it": "TRUE",
    "a device": "device = 'd007'",
    "an hour": "ts >= '2024-01-03 10:00:00' AND ts < '2024-01-03 11:00:00'",
}
LATER = timedelta(days=9)
"""From one upkeep to the next, so that what the one joined the next one frees."""


def fill(store: Store, files: int) -> None:
    """A month in files as intakes leave them: each a quarter of an hour of every device, a reading a minute, in the order of devices."""
    lake, draw = Lake(store, LAYOUT), np.random.default_rng(0)
    start, names = int(START.timestamp()) * 1_000_000, np.array([f"d{i:03}" for i in range(DEVICES)])
    level = draw.normal(size=(DEVICES, FEATURES))
    for i in range(files):
        walk = level[:, None, :] + draw.normal(scale=0.1, size=(DEVICES, MINUTES, FEATURES)).cumsum(axis=1)
        level, minutes = walk[:, -1, :], np.tile(np.arange(i * MINUTES, (i + 1) * MINUTES), DEVICES)
        values = walk.reshape(-1, FEATURES).round(2).astype(np.float32)
        columns = {
            "device": np.repeat(names, MINUTES),
            "ts": pa.array(start + minutes * 60_000_000, pa.timestamp("us", "UTC")),
            "month": ["2024-01"] * len(minutes),
        }
        lake.append("events", pa.table(columns | {f"f_{k}": values[:, k] for k in range(FEATURES)}), ["month"])


def seconds(store: Store, where: str, times: int = 5) -> float:
    """Of opening the lake and asking it, the least of several."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        Lake(store, LAYOUT).connect(events=None).execute(
            f"SELECT count(*), avg(f_0), max(f_1) FROM events WHERE {where}"
        ).fetchall()
        took.append(time.perf_counter() - began)
    return min(took)


def queries(files: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        store = open_store(name)
        fill(store, files)
        before = {what: seconds(store, where) for what, where in QUERIES.items()}
        size = sum(entry.size for entry in data_files(store, LAYOUT, "events"))
        peak, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        done = compact(store, LAYOUT, "events", datetime.now(UTC))
        took, more = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        after = {what: seconds(store, where) for what, where in QUERIES.items()}
        now = sum(entry.size for entry in data_files(store, LAYOUT, "events")) - size
    print(
        f"{files * DEVICES * MINUTES:,} rows, {done.before} files into {done.after}: {took:.1f} s, {more / 1024:.0f} MB more memory"
    )
    print(f"bytes     {size / 1e6:9.1f} MB before {now / 1e6:9.1f} MB after   ratio {now / size:.2f}")
    for what in QUERIES:
        ratio = after[what] / before[what]
        print(f"{what:9} {before[what] * 1000:9.1f} ms before {after[what] * 1000:9.1f} ms after   ratio {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    queries(parser.parse_args().files)


if __name__ == "__main__":
    main()
