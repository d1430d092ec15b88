"""Record and write events by the spool, against bare SQLite inserts of the same events, grouped and as durable as they are."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from pathlib import Path

from edge_runtime.spool import Spool
from edgeloop.config import DeviceSection
from edgeloop.duration import Duration
from tests.site import START

ROUNDS = 5
SIZES = {"group": (512, 51_200), "event": (1, 1_000)}
"""Events of a group, and of a round, by durability."""

Row = tuple[int, str, str, float, float, list[float]]


def row(number: int) -> Row:
    """An event with four inputs, as a sensor's: slow, with few decimals."""
    return (
        number * 1_000_000,
        "f" * 64,
        "good",
        (number % 997) / 997,
        8.5,
        [round(number % 83 * 0.13, 2), 1.5, 0.0, 7.0],
    )


def bare(path: Path, rows: Iterable[Row], group: int) -> float:
    """Seconds to insert the rows, each a row of a table with a column for everything, a transaction a group."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, ts INTEGER, release TEXT, prediction TEXT,"
            " confidence REAL, latency REAL, a REAL, b REAL, c REAL, d REAL)"
        )
        began, events = time.perf_counter(), iter(rows)
        while taken := list(islice(events, group)):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO events (ts, release, prediction, confidence, latency, a, b, c, d) VALUES (?,?,?,?,?,?,?,?,?)",
                [(*values, *inputs) for *values, inputs in taken],
            )
            connection.execute("COMMIT")
        return time.perf_counter() - began


def spooled(path: Path, rows: list[Row], durability: str) -> float:
    """Seconds to record the rows and have them written."""
    section = DeviceSection(durability=durability, flush_every=Duration(hours=1))
    with closing(Spool(path, section, START)) as spool:
        began = time.perf_counter()
        for values in rows:
            spool.record(*values)
        assert spool.flush()
        took = time.perf_counter() - began
        assert spool.produced == len(rows)
    return took


def main() -> None:
    print("events a second     bare SQLite      spool    ratio")
    for durability, (group, events) in SIZES.items():
        rows, best = [row(n) for n in range(events)], [float("inf"), float("inf")]
        for _ in range(ROUNDS):  # by turns, and the best of each: the disk is not ours alone
            with tempfile.TemporaryDirectory() as name:
                best[0] = min(best[0], bare(Path(name) / "bare.sqlite", rows, group))
                best[1] = min(best[1], spooled(Path(name) / "state.sqlite", rows, durability))
        floor, ours = (events / seconds for seconds in best)
        print(f'"{durability}"{floor:24,.0f}{ours:11,.0f}{ours / floor:9.2f}')


if __name__ == "__main__":
    main()
