"""The hourly tables: made of everything, against DuckDB and Polars on the same files; brought up to date, by what came and what there is.

Of everything, each in a process of its own and in turn: the bare scan of the columns, one row of sums; the plain GROUP BY with the same
outputs that somebody would write, by DuckDB and by Polars, without weights in the quantiles; and ours. Brought up to date: the same
arrival in lakes of more and more rows, then more and more of it in one; and one device that comes back with what it has kept for long.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import polars as pl
import pyarrow as pa

from edgeloop.config import parse_loop
from edgeloop.events import lake_schema
from edgeloop.lake import Lake, open_duckdb
from edgeloop.store import open_store
from ingest.derived.aggregates import AGGREGATES, Made, update_aggregate, update_aggregates
from ingest.tables import LABEL_ROWS
from tests.site import LOOP, START

CONFIG = parse_loop(LOOP)
SCHEMA = lake_schema(CONFIG.schema())
DEVICES = 500
"""Each has an event a minute; every tenth event has a label."""

INTAKE = 60
"""Minutes that one intake brings: 30,000 rows. What was there before has a file a day."""

DAY = 24 * 60

OF_EVENTS = "max(ts), sum(weight), sum(confidence), sum(latency_us), max(device), max(release), count(*) FILTER (prediction = 'good')"
SCANS = {
    "device_hourly": OF_EVENTS,
    "release_hourly": OF_EVENTS,
    "feature_hourly": "max(ts), sum(weight), sum(f_a), sum(f_b), sum(f_mode), sum(f_hour)",
}
GROUPS = {
    "device_hourly": """
        SELECT device, date_trunc('hour', ts) AS hour, release, count(*), sum(weight), avg(confidence),
            quantile_cont(confidence, [0.05, 0.5]), quantile_cont(latency_us, [0.5, 0.99]),
            count(label), count(*) FILTER (label = prediction)
        FROM events LEFT JOIN labels USING (device, ts) GROUP BY ALL""",
    "release_hourly": """
        SELECT release, date_trunc('hour', ts) AS hour, count(*), sum(weight),
            quantile_cont(confidence, [0.05, 0.5]), quantile_cont(latency_us, [0.5, 0.99]),
            count(label), count(*) FILTER (label = prediction)
        FROM events LEFT JOIN labels USING (device, ts) GROUP BY ALL""",
    "feature_hourly": """
        SELECT feature, date_trunc('hour', ts) AS hour, count(*), count(value), avg(value), stddev(value), min(value), max(value),
            quantile_cont(value, [0.01, 0.05, 0.5, 0.95, 0.99])
        FROM (SELECT ts, COLUMNS('^f_') FROM events) UNPIVOT INCLUDE NULLS (value FOR feature IN (COLUMNS('^f_'))) GROUP BY ALL""",
}


EVENTS = """
    SELECT 'dev' || lpad(d::VARCHAR, 4, '0') AS device, 1 AS epoch, i AS seq, make_timestamptz($start + i * 60000000 + d) AS ts,
        repeat(chr((97 + i // 20000 % 4)::INTEGER), 64) AS release, CASE WHEN random() < 0.7 THEN 'good' ELSE 'bad' END AS prediction,
        1 - 0.5 * random() * random() AS confidence, 60 * exp(random() + random()) AS latency_us, 1 AS weight,
        round(random(), 2) AS f_a, round(random() + random(), 2) AS f_b, (random() < 0.3)::INTEGER AS f_mode, i // 60 % 24 AS f_hour,
        repeat('x', 64) AS batch, ts AS ingested_at, strftime(ts, '%Y-%m') AS month
    FROM range($first, $until) AS minutes(i), range($low, $high) AS devices(d)
    ORDER BY i, d
"""


def open_lake(directory: Path) -> Lake:
    return Lake.of(open_store(directory), CONFIG)


def arrive(lake: Lake, first: int, until: int, low: int = 0, high: int = DEVICES) -> None:
    """What devices `low` to before `high` measure in these minutes comes to the lake, by one intake, and labels for a tenth of it."""
    found = open_duckdb().sql(
        EVENTS,
        params={"start": round(START.timestamp() * 1e6), "first": first, "until": until, "low": low, "high": high},
    )
    rows = found.to_arrow_table().select(SCHEMA.names).cast(SCHEMA)
    lake.append("events", rows, ["month"])
    told = pa.Table.from_arrays(
        [*rows.take(pa.array(range(0, rows.num_rows, 10))).select(["device", "ts", "prediction", "ts"]).columns],
        names=["device", "ts", "label", "known_at"],
    )
    told = told.append_column("source", pa.repeat("t", told.num_rows)).append_column("ingested_at", told["ts"])
    lake.append("labels", told.cast(LABEL_ROWS))


def fill(directory: Path, count: int) -> tuple[Lake, int]:
    """A lake of so many rows, a day in a file, and the minute until which it goes."""
    lake, until = open_lake(directory), count // DEVICES
    for first in range(0, until, DAY):
        arrive(lake, first, min(first + DAY, until))
    return lake, until


def run(directory: Path, name: str, way: str) -> int:
    """Make a table in one of the ways; the rows of it."""
    lake = open_lake(directory)
    if way == "ours":
        (aggregate,) = (a for a in AGGREGATES if a.name == name)
        return update_aggregate(lake, aggregate).rows
    if way == "polars":
        return by_polars(lake, name).height
    query = f"SELECT {SCANS[name]} FROM events" if way == "scan" else GROUPS[name]
    return lake.connect(events=None, labels=None).sql(query).to_arrow_table().num_rows


def by_polars(lake: Lake, name: str) -> pl.DataFrame:
    rows, labels = (pl.scan_delta(lake.location(table)[0]) for table in ("events", "labels"))
    hour = pl.col("ts").dt.truncate("1h").alias("hour")
    if name == "feature_hourly":
        long = rows.select(hour, "^f_.*$").unpivot(index="hour", variable_name="feature")
        value = pl.col("value")
        some = [value.quantile(q).alias(f"p{q}") for q in (0.01, 0.05, 0.5, 0.95, 0.99)]
        found = long.group_by("feature", "hour").agg(
            pl.len(),
            value.count().alias("n"),
            value.mean().alias("mean"),
            value.std().alias("std"),
            value.min().alias("min"),
            value.max().alias("max"),
            *some,
        )
    else:
        keys = ["device", "release"] if name == "device_hourly" else ["release"]
        some = [
            pl.col(c).quantile(q).alias(f"{c}{q}")
            for c, q in (("confidence", 0.05), ("confidence", 0.5), ("latency_us", 0.5), ("latency_us", 0.99))
        ]
        found = (
            rows.join(labels.select("device", "ts", "label"), on=["device", "ts"], how="left")
            .group_by(hour, *keys)
            .agg(
                pl.len(),
                pl.col("weight").sum(),
                pl.col("confidence").mean(),
                *some,
                pl.col("label").count().alias("labelled"),
                (pl.col("label") == pl.col("prediction")).sum().alias("correct"),
            )
        )
    return found.collect(engine="streaming")


def measured(directory: Path, name: str, way: str) -> list[float]:
    """Seconds, those of the processor, and MiB at the most, of a process that does it, its imports not counted."""
    if way == "ours":
        shutil.rmtree(directory / "loops/pump/lake" / name, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.hourly", "--run", name, way, str(directory)]
    found: list[float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def compare(directory: Path, names: Iterable[str], rounds: int) -> None:
    """Print what each way takes, medians of rounds in which they take turns, and as a ratio of ours."""
    print("of everything                  s   CPU s     MiB   s by ours   CPU s by ours", flush=True)
    ways = ("scan", "duckdb", "polars", "ours")
    for name in names:
        found = [{way: measured(directory, name, way) for way in ways} for _ in range(rounds)]
        for way in ways:
            taken = [median(one[way][i] for one in found) for i in range(3)]
            ratios = [median(one[way][i] / one["ours"][i] for one in found) for i in range(2)]
            print(
                f"{name:15} {way:7} {taken[0]:7.1f} {taken[1]:7.1f} {taken[2]:7.0f} {ratios[0]:11.2f} {ratios[1]:15.2f}",
                flush=True,
            )


def grow(directory: Path, counts: list[int], rounds: int) -> None:
    """Print what it takes to bring the tables up to date, medians of rounds in which the cases take turns."""
    lakes = {count: fill(directory / str(count), count) for count in counts}
    for lake, _ in lakes.values():
        update_aggregates(lake)
    last = counts[-1]
    cases = [(count, INTAKE) for count in counts] + [(last, 4 * INTAKE), (last, 16 * INTAKE)]
    seconds: dict[tuple[int, int], list[tuple[float, float]]] = {case: [] for case in cases}
    made: dict[object, dict[str, Made]] = {}
    for _ in range(rounds):
        for case in cases:
            lake, until = lakes[case[0]]
            arrive(lake, until, until + case[1])
            lakes[case[0]] = lake, until + case[1]
            seconds[case].append(timed(lambda lake=lake, case=case: made.update({case: update_aggregates(lake)})))
    print("brought up to date                           s   CPU s   CPU s by the first   made of each", flush=True)
    for count, minutes in cases:
        found = seconds[count, minutes]
        taken = [median(one[i] for one in found) for i in (0, 1)]
        ratio = median(one[1] / first[1] for one, first in zip(found, seconds[cases[0]], strict=True))
        case = f"{DEVICES * minutes:9,} rows came to {count:12,}"
        print(
            f"{case:38} {taken[0]:7.2f} {taken[1]:7.2f} {ratio:20.2f}   {described(made[count, minutes])}", flush=True
        )
    lake, _ = lakes[last]
    days = min(10 * DAY, last // DEVICES)
    arrive(lake, 0, days, DEVICES, DEVICES + 1)  # a device that was without a link
    for aggregate in AGGREGATES:
        took = timed(lambda aggregate=aggregate: made.update(late={aggregate.name: update_aggregate(lake, aggregate)}))
        case = f"{days:9,} old ones of one, {aggregate.name}"
        print(f"{case:40} {took[0]:5.2f} {took[1]:7.2f} {'':20}   {described(made['late'])}", flush=True)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and those of the processor, which tell more where others use it too."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def described(made: dict[str, Made]) -> str:
    return "; ".join(f"{m.rows:,} rows of {m.hours} h, {m.files} of {m.of} files" for m in made.values())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=50_000_000)
    arguments.add_argument(
        "--grow", type=int, nargs="*", default=[720_000, 2_880_000, 11_520_000], help="rows, of whole days"
    )
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--tables", nargs="*", default=[aggregate.name for aggregate in AGGREGATES])
    arguments.add_argument("--run", nargs=3, metavar=("TABLE", "WAY", "DIRECTORY"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.run:
        name, way, directory = given.run
        took = timed(lambda: run(Path(directory), name, way))
        (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(json.dumps([*took, int(peak.split()[1]) / 1024]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if given.grow:
            grow(Path(scratch), given.grow, given.rounds)
        if given.rows:
            fill(Path(scratch) / "all", given.rows)
            compare(Path(scratch) / "all", given.tables, given.rounds)


if __name__ == "__main__":
    main()
