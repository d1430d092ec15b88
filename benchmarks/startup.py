"""A device's process, `edgeloop device run`, against the least that can predict: onnxruntime, numpy and a session.

Seconds from the start of the process to its first answer, with a release in the home; memory after a thousand predictions, once the
process has polled its store, and once it has sealed and shipped them; and what it takes of a core while it waits for readings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.device_faults.centre import Offers, prepare
from tests.site import Site, readings

ROUNDS, PREDICTIONS, IDLE = 7, 1000, 10.0

DEVICE = "from edgeloop.cli import main; main()"
FLOOR = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
row = numpy.zeros((1, 4), numpy.float32)
for line in sys.stdin:
    print(session.run(["probabilities"], {"features": row})[0].argmax(), flush=True)
"""


class Run:
    """A process that answers each line on its stdin by a line on its stdout, started and asked once: `first` is the seconds."""

    def __init__(self, *arguments: str) -> None:
        self._lines = [json.dumps(reading) + "\n" for reading in readings(PREDICTIONS)]
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-c", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._ask(self._lines[0])
        self.first = time.perf_counter() - began

    def megabytes(self) -> float:
        """Its resident memory after a thousand predictions."""
        for line in self._lines[1:]:
            self._ask(line)
        return self.resident()

    def resident(self) -> float:
        """Its resident memory now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def idle(self, seconds: float) -> float:
        """The share of a core that it takes while nothing is asked."""
        before = self._cpu()
        time.sleep(seconds)
        return (self._cpu() - before) / seconds

    def end(self) -> None:
        self._process.communicate()

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        assert self._process.stdout.readline().strip()

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled(site: Site) -> Path:
    """The home of a device that runs a release and is past its probation."""
    with site.open("bench") as device:
        device.poll()
        for reading in readings(10):
            assert device.predict(reading).label
        assert device.status().update.state == "committed"
    return site.directory / "devices/bench"


def after_shipping(run: Run, site: Site) -> float:
    """Its resident memory once all that it predicted is in the store."""
    inbox = site.directory / "store" / site.config.layout.inbox / "bench"
    before = -1
    while (batches := len(list(inbox.glob("*.parquet")))) != before or not batches:
        before = batches
        time.sleep(3)
    return run.resident()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        site = prepare(Path(name))
        Offers(site).next()
        home = settled(site)
        (model,) = home.glob("models/*/model.onnx")
        commands = {"floor": (FLOOR, str(model)), "device run": (DEVICE, "device", "run", str(home))}
        first: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):  # by turns: what else the machine does falls on both
            for name, command in commands.items():
                run = Run(*command)
                first[name].append(run.first)
                run.end()
        memory, shipped = {}, {}
        for name, command in commands.items():
            run = Run(*command)
            time.sleep(1)
            memory[name] = shipped[name] = run.megabytes()
            share = run.idle(IDLE) if name == "device run" else 0.0
            run.end()
        run = Run(*commands["device run"], "--every", "1")
        run.megabytes()
        shipped["device run"] = after_shipping(run, site)
        run.end()
    seconds = {name: median(times) for name, times in first.items()}
    print("                            floor   device run    ratio")
    print_line("first answer after, s", seconds)
    print_line("memory, MB", memory)
    print_line("once it has shipped, MB", shipped)
    print(f"waiting for readings, `device run` takes {share:.2%} of a core")


def print_line(what: str, found: dict[str, float]) -> None:
    floor, ours = found["floor"], found["device run"]
    print(f"{what:24}{floor:9.2f}{ours:13.2f}{ours / floor:9.2f}")


if __name__ == "__main__":
    main()
