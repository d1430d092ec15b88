"""Ingest of 1,000 batches that devices sealed, whole, against bare decoding of the same files in the same run, and where its time goes.

Both are measured on one processor and on two, each in a process of its own that may use no more, for decoding is by one thread
and an ingest by as many as there are. Seconds of CPU are what others on the machine disturb least.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from edge_runtime.groups import Event
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import settings_of
from edgeloop.config import LoopConfig, parse_loop
from edgeloop.events import batch_schema
from edgeloop.lake import Lake
from edgeloop.store import Store, open_store
from examples.minio import BUCKET, running
from ingest.run import ingest
from tests.site import START

DEVICES, EACH, ROWS = 40, 25, 300
FEATURES = (8, 20)
LOOP = """
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
numbers = {}
"""
STAGES = {
    "list": ("waiting.py", "_listed"),
    "wait for files": ("_base.py", "result"),
    "footers": ("footer.py", "read_footer"),
    "page headers": ("pages.py", "demand_bounded"),
    "decode": ("columns.py", "decode_columns"),
    "check rows": ("check.py", "check_rows"),
    "rows": ("committing.py", "_rows"),
    "append": ("writer.py", "write_deltalake"),
    "delete": ("store.py", "delete_all"),
}
"""Of each stage, the function that is all of it."""


def loop(features: int) -> LoopConfig:
    return parse_loop(LOOP.format(json.dumps([f"n{i}" for i in range(features)])))


def events(first: int, features: int, draw: np.random.Generator) -> list[Event]:
    """Readings as sensors give them: slow, most with one to three decimals, one in five with all that a float has."""
    start = int(START.timestamp()) * 1_000_000
    walk = np.cumsum(draw.normal(scale=0.1, size=(ROWS, features)), axis=0)
    columns = [walk[:, i].round(1 + i % 3) if i % 5 else walk[:, i].astype(np.float32) for i in range(features)]
    inputs = np.column_stack(columns).tolist()
    confidence, latency = draw.uniform(0.5, 1, ROWS).tolist(), draw.gamma(9, 1, ROWS).tolist()
    return [
        Event(n, start + n * 1_000_000, "f" * 64, ("good", "bad")[n % 7 > 4], confidence[i], latency[i], inputs[i])
        for i, n in enumerate(range(first, first + ROWS))
    ]


def seal_all(directory: Path, features: int) -> None:
    """Every batch of every device, as a file."""
    config, draw = loop(features), np.random.default_rng(0)
    for device in (f"d{i:02d}" for i in range(DEVICES)):
        folder = directory / device
        folder.mkdir(parents=True)
        for i in range(EACH):
            rows = events(1 + i * ROWS, features, draw)
            batch = seal_batch(rows, settings_of(config, device, "memory://"), 1, 0, START + timedelta(hours=3))
            (folder / batch.name).write_bytes(batch.content)


def by_arrow(files: Sequence[bytes]) -> None:
    for content in files:
        pq.read_table(pa.BufferReader(content))


def by_arrow_alone(files: Sequence[bytes]) -> None:
    for content in files:
        pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


def into_delta(files: Sequence[bytes], config: LoopConfig) -> None:
    """Decode all and append it to a table: what no intake can do without, were nothing checked, hashed, planned or deleted."""
    schema = batch_schema(config.schema())
    rows = pa.concat_tables(pq.read_table(pa.BufferReader(content)).cast(schema) for content in files)
    with tempfile.TemporaryDirectory() as name:
        write_deltalake(name, rows)


def floors(store: Store, config: LoopConfig, sealed: Path) -> dict[str, Callable[[], object]]:
    """Ways to decode every file and do nothing else, and to have the rows in a table then."""
    paths = sorted(map(str, sealed.glob("*/*")))

    def read(decode: Callable[[Sequence[bytes]], None]) -> Callable[[], object]:
        return lambda: decode([store.read(entry.path) for entry in store.list(config.layout.inbox)])

    return {
        "pyarrow read_table": read(by_arrow),
        "pyarrow ParquetFile, one thread": read(by_arrow_alone),
        "read_table, and append to Delta": read(lambda files: into_delta(files, config)),
        "DuckDB read_parquet of the list": lambda: duckdb.connect().read_parquet(paths).to_arrow_table(),
    }


def measured(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def fill(store: Store, config: LoopConfig, sealed: Path) -> None:
    for file in sealed.glob("*/*"):
        store.create(f"{config.layout.inbox}/{file.parent.name}/{file.name}", file.read_bytes())


def in_this_process(sealed: Path, url: str, features: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """One after the other, so many rounds: [seconds of the clock, of CPU] of each; and of a last ingest the share of its stages."""
    config, found = loop(features), dict[str, list[tuple[float, float]]]()

    def take_in(store: Store) -> None:
        report = ingest(store, Lake(store, config.layout), config, START + timedelta(days=9))
        assert report.rows == DEVICES * EACH * ROWS

    for n in range(rounds):
        store = open_store(f"{url}/{os.getpid()}-{n}")
        fill(store, config, sealed)
        for name, decode in floors(store, config, sealed).items():
            found.setdefault(name, []).append(measured(decode))
        found.setdefault("ingest", []).append(measured(lambda store=store: take_in(store)))  # type: ignore[misc]
    store = open_store(f"{url}/{os.getpid()}-stages")
    fill(store, config, sealed)
    middle = {name: [median(column) for column in zip(*times, strict=True)] for name, times in found.items()}
    return {"seconds": middle, "stages": stages(lambda: take_in(store))}


def stages(run: Callable[[], object]) -> dict[str, list[float]]:
    """The share of each stage in the seconds of the clock, by a profiler, which makes what is in Python look dearer than it is."""
    with cProfile.Profile() as profile:
        run()
    stats = pstats.Stats(profile)
    took = {(Path(file).name, name): cumulative for (file, _, name), (*_, cumulative, _) in stats.stats.items()}  # type: ignore[attr-defined]
    return {name: [took.get(place, 0.0) / stats.total_tt] for name, place in STAGES.items()}  # type: ignore[attr-defined]


def in_another(processors: int, *arguments: object) -> dict[str, dict[str, list[float]]]:
    command = [sys.executable, "-m", "benchmarks.ingest", "--here", *map(str, arguments)]
    mine = sorted(os.sched_getaffinity(0))[:processors]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, mine)
    )
    found: dict[str, dict[str, list[float]]] = json.loads(done.stdout)
    return found


def show(features: int, processors: int, found: dict[str, dict[str, list[float]]]) -> None:
    ours = found["seconds"].pop("ingest")
    print(f"{DEVICES * EACH} × {ROWS}, {features} features, processors: {processors}; ingest", end=" ")
    print(f"{ours[0]:.2f} s, {ours[1]:.2f} s of CPU")
    for name, floor in found["seconds"].items():
        ratios = [mine / its for mine, its in zip(ours, floor, strict=True)]
        print(
            f"    {name:32} {floor[0]:5.2f} s {floor[1]:5.2f} s of CPU: ratio {ratios[0]:.2f}, of CPU {ratios[1]:.2f}"
        )
    shares = ", ".join(f"{name} {share:.0%}" for name, (share,) in found["stages"].items())
    print(f"    of an ingest: {shares}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest")
    parser.add_argument("--minio", action="store_true", help="on a MinIO, not in a directory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--here", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        sealed, url, features, rounds = options.here
        print(json.dumps(in_this_process(Path(sealed), url, int(features), int(rounds))))
        return
    with (
        tempfile.TemporaryDirectory() as name,
        running(Path(name, "minio")) if options.minio else nullcontext() as minio,
    ):
        os.environ |= minio.environment if minio else {}
        url = f"s3://{BUCKET}" if options.minio else f"{name}/stores"
        for features in FEATURES:
            sealed = Path(name, "sealed", str(features))
            seal_all(sealed, features)
            for processors in (1, 2):
                show(features, processors, in_another(processors, sealed, url, features, options.rounds))


if __name__ == "__main__":
    main()
