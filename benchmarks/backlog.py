"""A hundred thousand batches that wait, of two thousand devices: files a second, and memory against that for a tenth of them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import msgspec

from benchmarks.growth import store_in
from edgeloop.config import parse_loop
from edgeloop.lake import Lake
from edgeloop.store import Store, open_store
from ingest.run import ingest
from tests.ingest.batches import events, seal
from tests.site import LOOP, START, Site, make_site

DEVICES, ROWS = 2000, 30


class Taken(msgspec.Struct):
    """What an ingest took: files and rows, in how many seconds, and the megabytes of memory before it and at the most."""

    batches: int
    rows: int
    seconds: float
    before: float
    peak: float


def fill(site: Site, batches: int) -> None:
    """Batches as devices seal them; all begin alike, and each goes on for itself."""
    said = [events(1 + ROWS * i, ROWS) for i in range(-(-batches // DEVICES))]

    def put(i: int) -> None:
        site.store.create(*seal(site, said[i // DEVICES], device=f"device-{i % DEVICES}"))

    with ThreadPoolExecutor(4) as crew:
        for _ in crew.map(put, range(batches)):
            pass


def take(store: Store) -> Taken:
    config = parse_loop(LOOP)
    before, began = _peak(), time.perf_counter()
    report = ingest(store, Lake(store, config.layout), config, START + timedelta(days=9))
    return Taken(report.batches, report.rows, time.perf_counter() - began, before, _peak())


def _peak() -> float:
    # Not by getrusage: it counts what the process was forked from, which has made the batches.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def in_a_process(url: str) -> Taken:
    done = subprocess.run([sys.executable, "-m", __spec__.name, "--take", url], stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Taken)


def measure(kind: str, batches: int) -> Taken:
    with tempfile.TemporaryDirectory() as name, store_in(Path(name), kind) as store:
        fill(make_site(Path(name), store=store), batches)
        found = in_a_process(store.url)
    assert (found.batches, found.rows) == (batches, batches * ROWS)
    print(
        f"{batches:9,} {found.seconds:9.1f} {batches / found.seconds:15.0f} {found.before:12.0f} {found.peak:8.0f}",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--store", choices=["directory", "minio"], default="directory")
    parser.add_argument("--take", metavar="URL", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.take:
        os.write(1, msgspec.json.encode(take(open_store(wanted.take))))
        return
    print("  batches   seconds   files a second   MB before   at most")
    small, large = (measure(wanted.store, batches) for batches in (wanted.batches // 10, wanted.batches))
    print(f"memory at most, of {wanted.batches:,} to a tenth of it: {large.peak / small.peak:.2f}")


if __name__ == "__main__":
    main()
