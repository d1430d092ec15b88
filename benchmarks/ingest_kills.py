"""Ingest killed with -9 again and again on a real MinIO, two at a time, while devices go on writing; then the books: every event once."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from edge_runtime.device import Device
from edgeloop.clock import system_clock
from edgeloop.config import parse_loop
from edgeloop.errors import AlreadyExists, NotFound
from edgeloop.lake import Lake
from edgeloop.store import Store, open_store
from examples.minio import BUCKET, running
from ingest import committing
from ingest.lanes import WHOLE, Lane
from ingest.plan import list_plans
from ingest.run import ingest
from tests.site import LOOP, make_site, readings

STORE = f"s3://{BUCKET}/kills"
CONFIG = parse_loop(LOOP)
DEVICES = 6
READINGS = 20
"""Of each device at a time: each time makes a batch."""

STAGES = ("check", "read", "plan", "commit", "quarantine", "delete", "done")
"""Where an ingest is: `check` is all that is not one of the others, which are calls."""

PATIENCE = 10.0
"""Seconds for an ingest to come to where it is to be killed; there may be nothing to put into quarantine."""

LANES = (WHOLE, Lane(0, 2), Lane(1, 2))
"""What an ingest takes: all of it, or half. Two run at a time, and nobody has told them to agree."""

WITHIN = 0.02
"""Seconds after it came there at the most: within the call, or behind it."""

JUNK = b"no Parquet"


class Stage(Protocol):
    """A number that two processes share: an index of `STAGES`."""

    value: int


@dataclass
class Findings:
    """What a campaign found; all that `never` names is to be 0. `fell` is where the killed ones were, `unfinished` how
    often one left a plan for the next to finish."""

    kills: int = 0
    batches: int = 0
    resent: int = 0
    produced: int = 0
    rows: int = 0
    numbers: int = 0
    outside: int = 0
    waiting: int = 0
    noted: int = 0
    taken: int = 0
    junk: int = 0
    held: int = 0
    unfinished: int = 0
    fell: Counter[str] = field(default_factory=Counter)

    @property
    def never(self) -> dict[str, int]:
        return {
            "events missing from the lake": self.produced - self.numbers,
            "events doubled in the lake": self.rows - self.numbers,
            "events in the lake that no device produced": self.outside,
            "files left in the inbox": self.waiting,
            "batches written down twice, or not at all": abs(self.noted - self.taken),
            "rejected files that are not in quarantine": abs(self.junk - self.held),
        }


def campaign(directory: Path, kills: int, seed: int = 0) -> Findings:
    """Kill `kills` ingests on a MinIO in `directory`, while six devices go on producing, shipping and sending again."""
    with running(directory / "minio", tls=False) as minio, patch.dict(os.environ, minio.environment):
        site = make_site(directory / "site", store=open_store(STORE))
        for number in range(DEVICES):
            site.home(f"d{number}")
        with _fleet(directory / "site") as produced:
            found = _kill(kills, random.Random(seed))
        ingest(site.store, site.lake, CONFIG, system_clock())
        _hold_against(found, site.store, produced)
    return found


def _kill(kills: int, draw: random.Random) -> Findings:
    found, store = Findings(), open_store(STORE)
    beside = _Victim(draw.choice(LANES))
    for _ in range(kills):
        victim, beside = beside, _Victim(draw.choice(LANES))  # one begins while the other is at work, often in its lane
        _wait(victim.stage, draw.randrange(len(STAGES)))
        time.sleep(draw.uniform(0, WITHIN))
        found.fell[victim.kill()] += 1
        found.kills += 1
        found.unfinished += bool(list_plans(store, CONFIG.layout).unfinished)
    beside.kill()
    return found


class _Victim:
    """An ingest without an end, in a process of its own."""

    def __init__(self, lane: Lane) -> None:
        processes = _processes()
        self.stage = processes.RawValue("i", 0)
        self._process = processes.Process(target=take_in, args=(_reach(), lane, self.stage), daemon=True)
        self._process.start()

    def kill(self) -> str:
        """kill -9; where it was."""
        assert self._process.is_alive(), "an ingest ended by itself"
        self._process.kill()
        self._process.join()
        return STAGES[self.stage.value]


def _wait(stage: Stage, wanted: int) -> None:
    until = time.monotonic() + PATIENCE
    while stage.value != wanted and time.monotonic() < until:
        time.sleep(0.0005)


def take_in(reach: dict[str, str], lane: Lane, stage: Stage) -> None:
    """Ingest without a pause, and say where it is, as long as it is let."""
    os.environ.update(reach)
    _mark(stage)
    store = open_store(STORE)
    lake = Lake(store, CONFIG.layout)
    while True:
        ingest(store, lake, CONFIG, system_clock(), lane)


def _mark(stage: Stage) -> None:
    calls = {"read": "read", "copy": "quarantine", "replace": "quarantine", "delete_all": "delete"}
    for name, where in calls.items():
        _tell(stage, Store, name, lambda *_, where=where: where)
    _tell(stage, Store, "create", lambda _, path, __: "done" if path.endswith(".done") else "plan")
    _tell(stage, committing, "write_deltalake", lambda *_: "commit")


def _tell(stage: Stage, owner: Any, name: str, where: Callable[..., str]) -> None:
    """Have `owner.name` say where it is while it runs."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def told(*args: Any, **options: Any) -> Any:
        stage.value = STAGES.index(where(*args))
        try:
            return real(*args, **options)
        finally:
            stage.value = 0

    setattr(owner, name, told)


@contextmanager
def _fleet(directory: Path) -> Iterator[dict[str, int]]:
    """Devices in a process of their own; at the end there is in here what each has produced, and how often was sent again and junk."""
    processes, produced = _processes(), dict[str, int]()
    done, (told, teller) = processes.Event(), processes.Pipe(duplex=False)
    process = processes.Process(target=produce, args=(_reach(), directory, done, teller), daemon=True)
    process.start()
    teller.close()  # so that nobody waits for the word of a process that died
    try:
        yield produced
    finally:
        done.set()
        produced.update(told.recv())
        process.join()


def produce(reach: dict[str, str], directory: Path, done: Event, teller: multiprocessing.connection.Connection) -> None:
    """Be six devices that predict and ship, and somebody who sends a batch again or junk, until it is `done`."""
    os.environ.update(reach)
    draw, counts, store = random.Random(0), Counter[str](), open_store(STORE)
    kept: list[tuple[str, bytes]] = []
    with ExitStack() as stack:
        devices = {f"d{n}": stack.enter_context(Device.open(directory / f"devices/d{n}")) for n in range(DEVICES)}
        while not done.is_set():
            for name, device in devices.items():
                for reading in readings(READINGS):
                    device.predict(reading)
                counts[name] += READINGS
                device.flush()
                device.ship()
            _disturb(store, kept, counts, draw)
            time.sleep(draw.uniform(0, 0.2))
        while any(device.status().spooled for device in devices.values()):
            for device in devices.values():
                device.ship()
    teller.send(dict(counts))


def _disturb(store: Store, kept: list[tuple[str, bytes]], counts: Counter[str], draw: random.Random) -> None:
    """Keep a batch that waits, send one that was kept, as after a lost reply; now and then, send junk."""
    for entry in list(store.list(CONFIG.layout.inbox))[:1]:
        with suppress(NotFound):
            kept.append((entry.path, store.read(entry.path)))
    if kept:
        with suppress(AlreadyExists):
            store.create(*draw.choice(kept))
            counts["resent"] += 1
    if draw.random() < 0.2:
        counts["junk"] += 1
        store.create(f"{CONFIG.layout.inbox}/d0/junk-{counts['junk']}.parquet", JUNK)


def _hold_against(found: Findings, store: Store, produced: dict[str, int]) -> None:
    found.resent, found.junk = produced.pop("resent", 0), produced.pop("junk", 0)
    found.produced = sum(produced.values())
    connection = Lake(store, CONFIG.layout).connect(events=None, batches=None)
    rows = "SELECT device, count(*), count(DISTINCT (epoch, seq)), count(*) FILTER (seq NOT BETWEEN 1 AND $last) FROM events"
    for device, last in produced.items():
        query = f"{rows} WHERE device = $device GROUP BY device"
        (_, count, numbers, outside) = connection.execute(query, {"device": device, "last": last}).fetchall()[0]
        found.rows, found.numbers, found.outside = found.rows + count, found.numbers + numbers, found.outside + outside
    counts = connection.execute(
        "SELECT count(*), count(DISTINCT sha256) FILTER (verdict = 'accepted') FROM batches WHERE verdict <> 'rejected'"
    )
    found.noted, found.batches = counts.fetchall()[0]
    found.taken = connection.execute("SELECT count(DISTINCT batch) FROM events").fetchall()[0][0]
    found.waiting = len(list(store.list(CONFIG.layout.inbox)))
    held = {entry.path for entry in store.list(CONFIG.layout.quarantine)}
    found.held = sum(path.endswith(".parquet") for path in held)


def _reach() -> dict[str, str]:
    """What reaches the store: the server that forks may be older than it."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def _processes() -> ForkServerContext:
    """Each process is a fork of one that has imported everything and begun nothing."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, "edge_runtime.device"])
    return processes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest_kills")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the draws; instants are the machine's all the same")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        found = campaign(Path(name), options.kills, options.seed)
    left = ", ".join(f"{what} {times}" for what, times in found.fell.most_common())
    print(
        f"{found.kills} kills in {time.perf_counter() - began:.0f} s, {found.unfinished} with a plan for the next to finish; {left}"
    )
    print(
        f"{found.batches} batches of {DEVICES} devices, {found.resent} sent again, {found.junk} that are none; {found.produced} events"
    )
    for what, times in found.never.items():
        print(f"{what:50}{times:6}")
    sys.exit(any(found.never.values()))


if __name__ == "__main__":
    main()
