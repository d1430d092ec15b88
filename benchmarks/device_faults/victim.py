"""A device whose process is killed, and what its parent knows of it."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from benchmarks.device_faults.diary import HANDED, Diary
from benchmarks.device_faults.life import live
from edge_runtime.settings import DeviceSettings, create_home
from tests.site import Site

GROUP = 16
"""Events of a group: what a kill may cost a device that does not write each by itself."""

LONGEST_LIFE = 0.5
"""Seconds. Lives are drawn evenly up to it; the shortest end while the device starts."""

SHORT = 0.004
"""Seconds from a stage's beginning to a kill that is aimed at it, at the most."""

AIMS = ("write", "seal", "upload", "acknowledge", "download", "self-test", "activate")

# A fork of a process that has imported all a device needs, and has used none of it: a life begins in milliseconds.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["benchmarks.device_faults.life"])
_turn = threading.Lock()
"""`multiprocessing` looks after all children at each start; of two threads one would miss how its own child ended."""


class Victim:
    """A device at `site`, set up; its lives are one after the other."""

    def __init__(self, site: Site, durability: str, signed: set[str]) -> None:
        # What is tried here is the books under kills, not the crash loop, which would rightly refuse every release in the end.
        section = msgspec.structs.replace(
            site.config.device, durability=durability, flush_events=GROUP, crash_limit=1_000_000
        )
        self.name = f"by-{durability}"
        self.window = 0 if durability == "event" else GROUP
        self.home = site.directory / "devices" / self.name
        settings = DeviceSettings(1, site.config.name, self.name, site.store.url, site.config.schema(), section)
        create_home(self.home, settings, site.root)
        self._path = self.home.with_suffix(".diary")
        self.diary, self.signed = Diary(self._path), signed
        self.ends: list[int] = []
        self.fell: Counter[str] = Counter()
        self.unsigned = 0

    def kill(self, draw: random.Random) -> None:
        """One life, ended by kill -9: at any instant, or, every other time, soon after some stage was begun."""
        process = self._start(60)
        if draw.random() < 0.5:
            time.sleep(draw.uniform(0, LONGEST_LIFE))
        else:
            self._await(draw.choice(AIMS))
            time.sleep(SHORT * draw.random() ** 2)
        process.kill()
        with _turn:
            process.join()
        assert process.exitcode == -9, f"{self.name} ended by itself with {process.exitcode}"
        self.fell.update(self.diary.stages())
        self.ends.append(self.diary[HANDED])
        self.unsigned += sum(digest not in self.signed for digest in _installed(self.home))

    def live(self, seconds: float) -> None:
        """One life that ends by itself, with everything shipped."""
        process = self._start(seconds)
        process.join()
        assert process.exitcode == 0, f"{self.name} ended with {process.exitcode}"

    def _start(self, seconds: float) -> multiprocessing.process.BaseProcess:
        process = _forks.Process(target=live, args=(self.home, self._path, seconds), daemon=True)
        self.diary.begin()
        with _turn:
            process.start()
        return process

    def _await(self, stage: str) -> None:
        until = time.monotonic() + LONGEST_LIFE
        while stage not in self.diary.stages() and time.monotonic() < until:
            time.sleep(0.0002)


def _installed(home: Path) -> Iterator[str]:
    """The digests of all that a device has of releases as whole files."""
    for file in (home / "models").glob("*/*"):
        if file.suffix != ".part":
            yield sha256(file.read_bytes()).hexdigest()
