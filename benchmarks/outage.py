"""A month without a link, an event a second, in the default disk budget: what is kept of it, and what it takes.

Every second event is written at once with the one before, as `flush_every` has it at that pace; small groups are the worst case for
the spool. Only the seconds are simulated, and that a write does not wait for the disk. The floor is a bare SQLite table of all of it.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

from benchmarks.spool import Row, bare
from edge_runtime.groups import unpack
from edge_runtime.spool import Spool
from edgeloop.config import DeviceSection
from tests.site import START

DAY = 24 * 3600
READINGS = 50_000


def rows(count: int) -> Iterator[Row]:
    """An event a second; readings as a sensor gives them, slow and with few decimals, over and over."""
    draw, values, readings = random.Random(0), [20.0, 1.0, 50.0, 3.0], list[tuple[float, list[float]]]()
    for _ in range(READINGS):
        values = [round(value + draw.gauss(0, 0.1), 2) for value in values]
        readings.append((round(draw.random(), 6), values))
    start = int(START.timestamp()) * 1_000_000
    for number, (confidence, inputs) in enumerate(islice(cycle(readings), count)):
        yield start + number * 1_000_000, "f" * 64, "good", confidence, 8.5, inputs


def spooled(spool: Spool, events: int) -> tuple[float, float]:
    """Record and write all of it; seconds in all, and those of the slowest event."""
    spool._state._connection.execute("PRAGMA synchronous = OFF")
    began, slowest = time.perf_counter(), 0.0
    for number, row in enumerate(rows(events)):
        before = time.perf_counter()
        spool.record(*row)
        if number % 2:
            spool.flush()
        slowest = max(slowest, time.perf_counter() - before)
    return time.perf_counter() - began, slowest


def weights_by_day(path: Path, days: int) -> list[float]:
    """The sums of the weights of what was kept, by day."""
    found, start = [0.0] * days, int(START.timestamp())
    with closing(sqlite3.connect(path)) as connection:
        for first_seq, content in connection.execute("SELECT first_seq, content FROM groups"):
            for event in unpack(first_seq, content):
                found[(event.ts // 1_000_000 - start) // DAY] += event.weight
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage")
    parser.add_argument("--days", type=int, default=30)
    days = parser.parse_args().days
    section = DeviceSection()
    with tempfile.TemporaryDirectory() as name:
        floor, path = Path(name) / "bare.sqlite", Path(name) / "state.sqlite"
        bare_seconds = bare(floor, rows(days * DAY), section.flush_events)
        with closing(Spool(path, section, START)) as spool:
            seconds, slowest = spooled(spool, days * DAY)
            produced, _, shed = spool.books
            megabytes = sum(file.stat().st_size for file in Path(name).glob("state.sqlite*")) / 1e6
        by_day = weights_by_day(path, days)
        bare_megabytes = floor.stat().st_size / 1e6
    print(f"{produced} events in {days} days, {section.spool_mb:g} MB budget")
    print(
        f"on disk: bare SQLite {bare_megabytes:.0f} MB, spool {megabytes:.0f} MB, ratio {megabytes / bare_megabytes:.2f}"
    )
    print(f"seconds: bare SQLite in full groups {bare_seconds:.0f}, spool in groups of two {seconds:.0f}")
    print(f"shed {shed / produced:.1%}; weights add up to {sum(by_day) / produced:.4f} of what was produced,")
    print(f"and of each day to {min(by_day) / DAY:.3f} at the least, {max(by_day) / DAY:.3f} at the most")
    print(f"slowest event {slowest * 1000:.0f} ms")


if __name__ == "__main__":
    main()
