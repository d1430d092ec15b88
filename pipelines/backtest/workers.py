"""The device processes of a backtest: started, moved forward in time, killed, started again.

Up to `PROCESSES` of them, each with a device of its own while that suffices; in a larger fleet they share, and a kill
takes all devices of the process with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from edgeloop.errors import EdgeloopError
from edgeloop.status import DeviceStatus

PROCESSES = 16
KILL_AFTER = 0.02
"""Seconds of work on a tick before a process is killed: long enough to be in the middle, short enough not to be done."""


@dataclass
class Worker:
    """One device process and the devices in it."""

    specification: Path
    devices: tuple[str, ...]
    log: Path
    process: subprocess.Popen[str] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_runtime.replay", str(self.specification)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def send(self, command: dict[str, Any]) -> None:
        stdin, _ = self._pipes()
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()

    def receive(self) -> dict[str, DeviceStatus]:
        """The statuses after a command. Raises `EdgeloopError` with the end of its log if the process has died."""
        _, stdout = self._pipes()
        line = stdout.readline()
        if not line:
            tail = self.log.read_text()[-800:]
            raise EdgeloopError(
                f"the process of {', '.join(self.devices)} ended by itself: {tail}", remedy=f"See {self.log}."
            )
        return msgspec.convert(json.loads(line)["devices"], dict[str, DeviceStatus])

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close_pipes()

    def stop(self) -> None:
        """Let it finish, by the end of its input."""
        if self.process is not None and self.process.poll() is None:
            self._pipes()[0].close()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._close_pipes()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def _close_pipes(self) -> None:
        for pipe in self._pipes():
            pipe.close()


class Fleet:
    """All device processes of a backtest; a context manager that leaves none behind.

    Args:
        homes: the home directory of each device.
        readings: the Parquet file of each device.
        directory: where specifications and logs of the processes go.
        start: what the devices' clocks show when they start.
    """

    def __init__(self, homes: dict[str, Path], readings: dict[str, Path], directory: Path, start: datetime) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        groups = [tuple(sorted(homes))[i::PROCESSES] for i in range(min(PROCESSES, len(homes)))]
        self._workers = [self._worker(i, group, homes, readings, directory, start) for i, group in enumerate(groups)]
        self.statuses: dict[str, DeviceStatus] = {}
        self.kills = 0

    @staticmethod
    def _worker(
        i: int,
        group: tuple[str, ...],
        homes: dict[str, Path],
        readings: dict[str, Path],
        directory: Path,
        start: datetime,
    ) -> Worker:
        specification = directory / f"process-{i:02d}.json"
        devices = [{"home": str(homes[d]), "readings": str(readings[d]), "start": start.isoformat()} for d in group]
        specification.write_text(json.dumps({"devices": devices}))
        return Worker(specification, group, directory / f"process-{i:02d}.log")

    def __enter__(self) -> Fleet:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.kill() if exc[0] else worker.stop()

    def advance(self, start: datetime, until: datetime, online: Collection[str], kill: Collection[str] = ()) -> None:
        """Let every device live from `start` to `until`; the processes of the devices in `kill` die on the way and are started again."""
        command = {"now": start.isoformat(), "until": until.isoformat(), "online": sorted(online)}
        for worker in self._workers:
            worker.send(command)
        victims = [w for w in self._workers if set(w.devices) & set(kill)]
        if victims:
            time.sleep(KILL_AFTER)
        for worker in victims:
            worker.kill()
            worker.start()
            worker.send(command)
            self.kills += 1
        for worker in self._workers:
            self.statuses.update(worker.receive())
