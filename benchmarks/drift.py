"""A look for drift at a million events of 50 features and 200 devices, and as many of the training, against DuckDB's scan of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np

from edgeloop.config import Drift, LoopConfig, parse_loop
from edgeloop.events import lake_schema
from edgeloop.lake import Lake
from edgeloop.manifest import MANIFEST_VERSION, Golden, Lineage, ReleaseManifest
from edgeloop.store import open_store
from ingest.drift.blocks import Asked, Bins, count, window_before
from ingest.drift.measure import measure_drift
from tests.site import START
from training.reference import make_reference

EVENTS, FEATURES, DEVICES, DAYS = 1_000_000, 50, 200, 30
NAMES = [f"f{i}" for i in range(FEATURES)]
LOOP = f"""
version = 1
[loop]
name = "drift"
[label]
column = "y"
classes = ["no", "yes"]
[features]
numbers = {NAMES}
"""


def fill(lake: Lake, config: LoopConfig) -> None:
    """Events of 60 days, in the order of their time as ingest has them: 30 that are trained on, and 30 more."""
    columns = ", ".join(
        f"(random() + (i % {DEVICES}) % {k + 7} * 0.01)::FLOAT AS f_{name}" for k, name in enumerate(NAMES)
    )
    for part in range(2):
        rows = duckdb.sql(
            f"""SELECT 'd' || i % {DEVICES} AS device, 1 AS epoch, i AS seq,
                TIMESTAMPTZ '{START + timedelta(days=DAYS * part)}' + to_microseconds((i * {DAYS * 86400_000_000 // EVENTS})::BIGINT) AS ts,
                'x' AS release, 'no' AS prediction, 0.9 AS confidence, 1.0 AS latency_us, 1.0 AS weight, {columns},
                'b' AS batch, ts AS ingested_at, strftime(ts, '%Y-%m') AS month
            FROM range({EVENTS}) AS r(i)"""
        )
        lake.append("events", rows.to_arrow_table().cast(lake_schema(config.schema())), ["month"])


def manifest_of(lake: Lake, config: LoopConfig) -> ReleaseManifest:
    """A release that was trained on the first 30 days."""
    names = ", ".join(config.schema().columns)
    rows = lake.connect(events=None).sql(f"SELECT {names} FROM events LIMIT 100000").to_arrow_table()
    X = np.column_stack([rows[c].to_numpy() for c in config.schema().columns])
    until = START + timedelta(days=DAYS)
    lineage = Lineage(1, 0, 0, "", "", EVENTS, DEVICES, START, until, "none", {}, "")
    reference = make_reference(X, config.schema())
    golden = Golden((), (), 0.0)
    return ReleaseManifest(
        MANIFEST_VERSION,
        "drift",
        "r0001",
        1,
        until,
        config.schema(),
        ("no", "yes"),
        (),
        golden,
        1.0,
        lineage,
        {},
        reference,
    )


def seconds(of: Callable[[], object]) -> float:
    """Of processor, on all threads: the better of two runs."""
    times = []
    for _ in range(2):
        began = time.process_time()
        of()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    config = parse_loop(LOOP)
    with tempfile.TemporaryDirectory() as folder:
        lake, now = Lake(open_store(Path(folder)), config.layout), START + timedelta(days=2 * DAYS)
        fill(lake, config)
        manifest = manifest_of(lake, config)
        means = ", ".join(f"avg({c}), count({c})" for c in config.schema().columns)
        scan = seconds(
            lambda: lake.connect(events=None).sql(f"SELECT device, {means} FROM events GROUP BY device").fetchall()
        )
        columns = dict(zip(NAMES, config.schema().columns, strict=True))
        asked = Asked({columns[n]: Bins.of(r) for n, r in manifest.reference.items()}, "", ("no", "yes"))
        period = window_before(now, timedelta(days=DAYS))
        counted = seconds(lambda: count(lake, period, asked))
        look = seconds(lambda: measure_drift(lake, manifest, "x", Drift(), now))
    size = len(manifest.encode()) / FEATURES
    print(f"{EVENTS:,} events of {FEATURES} features and {DEVICES} devices in the window")
    print(f"{size:,.0f} bytes of manifest a feature")
    print(f"scan of both, mean and count by device  {scan:6.2f} s")
    print(
        f"bins of the window                      {counted:6.2f} s   {2 * counted / scan:5.1f} times the scan of as many"
    )
    print(f"a whole look                            {look:6.2f} s   {look / scan:5.1f} times")


if __name__ == "__main__":
    main()
