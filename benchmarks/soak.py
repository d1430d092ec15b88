"""An hour's worth of events, a hundred a second, through `edgeloop device run` at full speed, exchanging every second: is memory flat?

The process is fed and its answers are read as fast as it can; its resident memory is read at each tenth of the way. The floor is itself,
at the first tenth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO

from benchmarks.device_faults.centre import Offers, prepare
from benchmarks.startup import DEVICE, settled
from edge_runtime.device import Device
from tests.site import readings

SECONDS, RATE, PARTS = 3600, 100, 10


def feed(pipe: IO[str], count: int) -> None:
    """Write `count` readings, and end the input."""
    lines = [json.dumps(reading) + "\n" for reading in readings(1000)]
    for line in islice(cycle(lines), count):
        pipe.write(line)
    pipe.close()


def memory_of(home: Path, count: int) -> Iterator[float]:
    """The resident memory of the process at each tenth of its way through `count` readings, in MB."""
    command = [sys.executable, "-c", DEVICE, "device", "run", str(home), "--every", "1"]
    process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    threading.Thread(target=feed, args=(process.stdin, count), daemon=True).start()
    for number, _ in enumerate(islice(process.stdout, count), 1):
        if number % (count // PARTS) == 0:
            status = Path(f"/proc/{process.pid}/status").read_text()
            yield int(status.partition("VmRSS:")[2].split()[0]) / 1024
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--events", type=int, default=SECONDS * RATE)
    count = parser.parse_args().events
    with tempfile.TemporaryDirectory() as name:
        site = prepare(Path(name))
        Offers(site).next()
        home = settled(site)
        began = time.perf_counter()
        found = list(memory_of(home, count))
        seconds = time.perf_counter() - began
        with Device.inspect(home) as device:
            status = device.status()
    print(
        f"{count:,} events in {seconds:.0f} s, {count / seconds:,.0f} a second; waiting at the end: {status.spooled}, shed: {status.shed}"
    )
    print("MB at each tenth: " + " ".join(f"{size:.0f}" for size in found))
    print(f"last against first: {found[-1] / found[0]:.2f}")


if __name__ == "__main__":
    main()
