"""The ways into the lake on a real MinIO that need no download at run time: seconds, memory and bytes fetched of the same queries.

Each way and query is in a process of its own that opens the table and asks, as `edgeloop sql -c` does; the floor is all of the
table's files, fetched and queried on disk. What counts is what a filter and a choice of columns spare of their bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from edgeloop.config import parse_loop
from edgeloop.events import lake_schema
from edgeloop.lake import Lake
from edgeloop.store import open_store, s3_settings

STORE = "s3://edgeloop"
CONFIG = parse_loop(
    """
version = 1
[loop]
name = "pump"
[table]
device = "device"
time = "time"
[label]
column = "state"
classes = ["good", "bad"]
[features]
numbers = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11"]
"""
)
QUERIES = {
    "a few rows": "SELECT * FROM events LIMIT 10",
    "two columns of all": "SELECT prediction, avg(confidence) AS c, count(*) AS n FROM events GROUP BY prediction",
    "two columns, a month": "SELECT avg(confidence) AS c, count(*) AS n FROM events WHERE month = '2024-02'",
    "a device, a month": "SELECT * FROM events WHERE month = '2024-02' AND device = 'd007'",
}
PATIENCE = 20
"""Seconds for a process, after which it hangs."""

Ask = Callable[[str], int]


def rows(month: int, seed: int, count: int, devices: int) -> pa.Table:
    """Events of a month as they come, so that each file has all devices."""
    draw, schema = np.random.default_rng(seed), lake_schema(CONFIG.schema())
    start = datetime(2024, month, 1, tzinfo=UTC)
    columns = {c: draw.normal(20, 5, count).astype(np.float32).round(1) for c in CONFIG.schema().columns}
    columns |= {
        "device": [f"d{i * devices // count:03d}" for i in range(count)],
        "epoch": np.ones(count, np.int32),
        "seq": np.arange(count) + 1,
        "ts": pa.array([start + timedelta(seconds=i) for i in range(count)], schema.field("ts").type),
        "release": ["0" * 64] * count,
        "prediction": draw.choice(["good", "bad"], count),
        "confidence": draw.uniform(0.5, 1, count).astype(np.float32).round(4),
        "latency_us": draw.uniform(50, 99, count).astype(np.float32).round(1),
        "weight": np.ones(count, np.float32),
        "batch": [f"{seed:064x}"] * count,
        "ingested_at": pa.array([start] * count, schema.field("ingested_at").type),
        "month": [f"2024-{month:02d}"] * count,
    }
    return pa.table(columns).select(schema.names).cast(schema)


def fill(files: int, count: int) -> None:
    """The table `events`, in so many files of four months."""
    lake = Lake(open_store(STORE), CONFIG.layout)
    for i in range(files):
        lake.append("events", rows(1 + i % 4, i, count, 20), ["month"])


def found_table() -> Any:
    table = Lake(open_store(STORE), CONFIG.layout).table("events")
    assert table is not None
    return table


def asked_of_duckdb(events: Any) -> Ask:
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.register("events", events)
    return lambda query: len(connection.execute(query).fetchall())


def by_lake() -> Ask:
    connection = Lake(open_store(STORE), CONFIG.layout).connect(events=None)
    return lambda query: len(connection.execute(query).fetchall())


def by_arrow() -> Ask:
    return asked_of_duckdb(found_table().to_pyarrow_dataset())


def by_fsspec() -> Ask:
    import duckdb
    from obstore.fsspec import FsspecStore

    known = s3_settings()
    connection = duckdb.connect(":memory:")
    plain = {"client_options": {"allow_http": True}} if known.pop("allow_http", None) else {}
    connection.register_filesystem(FsspecStore("s3", config=known, **plain))
    files = ", ".join(f"'{uri}'" for uri in found_table().file_uris())
    connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet([{files}], hive_partitioning = true)")
    return lambda query: len(connection.execute(query).fetchall())


def by_query_builder() -> Ask:
    from deltalake import QueryBuilder

    builder = QueryBuilder().register("events", found_table())
    return lambda query: pa.table(builder.execute(query).read_all()).num_rows


def by_polars() -> Ask:
    import polars as pl

    context = pl.SQLContext(events=pl.scan_delta(found_table()))
    return lambda query: context.execute(query).collect().height


def by_whole_files() -> Ask:
    import duckdb

    store, folder = open_store(STORE), Path(tempfile.mkdtemp(dir=os.environ["SCRATCH"]))
    for i, uri in enumerate(found_table().file_uris()):
        month = uri.partition("month=")[2].partition("/")[0]
        (folder / f"month={month}").mkdir(exist_ok=True)
        (folder / f"month={month}/{i}.parquet").write_bytes(store.read(uri.removeprefix(f"{STORE}/")))
    connection = duckdb.connect(":memory:")
    connection.execute(f"CREATE VIEW events AS FROM read_parquet('{folder}/*/*', hive_types_autocast = false)")
    return lambda query: len(connection.execute(query).fetchall())


WAYS = {
    "whole files by obstore": by_whole_files,
    "deltalake's dataset": by_arrow,
    "DuckDB over fsspec": by_fsspec,
    "deltalake's QueryBuilder": by_query_builder,
    "Polars scan_delta": by_polars,
    "ours: dataset, Arrow's S3": by_lake,
}


def in_this_process(way: str, query: str, times: int) -> dict[str, float]:
    """Open and ask, so many times: seconds each time in the middle, and by how many MB memory rose at its highest."""
    before, taken, count = peak(), [], 0
    for _ in range(times):
        began = time.perf_counter()
        count = WAYS[way]()(QUERIES[query])
        taken.append(time.perf_counter() - began)
    return {"seconds": median(taken), "first": taken[0], "mb": peak() - before, "rows": count}


def peak() -> float:
    """MB of this process at its highest; `getrusage` would begin at those of its parent."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def in_another(way: str, query: str, times: int, endpoint: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.lake_reading", "--way", way, "--query", query, "--times", str(times)]
    environment = {**os.environ, "AWS_ENDPOINT_URL": endpoint}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
        said, ended = done.stdout, "well" if done.returncode == 0 else f"code {done.returncode}"
    except subprocess.TimeoutExpired as late:
        said, ended = (late.stdout or b"").decode(), "hangs"
    nothing = dict.fromkeys(("seconds", "first", "mb", "rows"), float("nan"))
    return nothing | json.loads(said or "{}") | {"ended": ended}


def measured(times: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every way of every query: bytes and requests over a line that counts, the rest without it."""
    from tests.integration.test_fetch import line_to  # not where a way is measured: it brings the trainers

    direct = os.environ["AWS_ENDPOINT_URL"]
    for query in QUERIES:
        for way in WAYS:
            with line_to(direct) as line:
                first = in_another(way, query, 1, f"http://{line.address}")["ended"]
                fetched = {"bytes": line.down, "requests": len(line.requests)}
            found = in_another(way, query, times, direct)
            yield query, way, fetched | found | {"ended": found["ended"] if first == "well" else first}


def bundled() -> str:
    """What comes of DuckDB's own extension for S3 where nothing may be downloaded."""
    import duckdb

    try:
        duckdb.connect(":memory:").execute("SET autoinstall_known_extensions = false; LOAD httpfs")
    except duckdb.Error as error:
        return f"not bundled ({str(error).splitlines()[0]})"
    return "bundled"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lake_reading")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rows", type=int, default=10_000, help="in each file")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--query", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(in_this_process(options.way, options.query, options.times)))
        return
    from tests.minio import serving

    with (
        tempfile.TemporaryDirectory() as drive,
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(drive)) as environment,
    ):
        os.environ |= environment | {"SCRATCH": scratch}
        fill(options.files, options.rows)
        print(f"DuckDB's httpfs: {bundled()}")
        print(f"{'':24}{'':26}{'s':>7}{'first':>7}{'+ MB':>7}{'requests':>10}{'MB':>8}{'of all':>8}{'rows':>8}  ends")
        for query, way, f in measured(options.times):
            if way == next(iter(WAYS)):
                everything = f["bytes"]
            print(
                f"{query:24}{way:26}{f['seconds']:7.2f}{f['first']:7.2f}{f['mb']:7.0f}{f['requests']:10.0f}"
                f"{f['bytes'] / 1e6:8.1f}{f['bytes'] / everything:8.2f}{f['rows']:8.0f}  {f['ended']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
