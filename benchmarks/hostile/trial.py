"""An inbox with hostile files and good ones side by side, an ingest of it in a process of its own, and where all of it ended.

Whoever sends what is hostile has good batches too: one in the lake before, one that waits beside it.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.hostile.catalogue import ALL
from benchmarks.hostile.sender import FIRST, NOW, Files, Hook, Kind, Sender
from edgeloop.config import LoopConfig, parse_loop
from edgeloop.lake import Lake
from edgeloop.store import open_store
from ingest.checks.check import read_batch
from ingest.quarantine import list_held
from ingest.run import ingest
from tests.site import LOOP, BentStore

GOOD, HONEST = 50, "honest"
"""Events of a good batch, and a device that sends nothing else."""

PATIENCE = 60
"""Seconds for an ingest, and for each file in it: on a machine that does other things as well."""

ROOM = 6 * 2**30
"""Bytes of addresses that one may use: what takes more is not to take the machine with it."""


@dataclass(frozen=True)
class Placed:
    """What a sender has put into the store."""

    kind: Kind
    sender: Sender
    files: Files


@dataclass(frozen=True)
class Ending:
    """Where a kind ended, with the reason that was given, and whether the good batches beside it are in the lake."""

    kind: Kind
    where: str
    reason: str
    good: bool


@dataclass(frozen=True)
class Run:
    """Seconds and peak memory (bytes) of an ingest, and what it failed with."""

    seconds: float
    memory: int
    failed: str


class Stage:
    """A store in a directory, with one loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config: LoopConfig = parse_loop(LOOP)
        self.store = open_store(directory)
        self.lake = Lake(self.store, self.config.layout)

    def prepare(self, senders: Iterable[Sender]) -> None:
        """Take in a good batch of every sender."""
        for sender in senders:
            self.put(sender.named(sender.sealed(1, GOOD), 1))
        ingest(self.store, self.lake, self.config, NOW)

    def place(self, kind: Kind, sender: Sender) -> Placed:
        """Put what is hostile into the store, and a good batch and good labels of the same sender beside it."""
        files = kind.make(sender)
        self.put(files)
        self.put(sender.named(sender.sealed(1 + GOOD, GOOD), 1 + GOOD))
        self.put({path.replace("today", "good"): content for path, content in sender.label().items()})
        return Placed(kind, sender, files)

    def put(self, files: Files) -> None:
        # Past the store's own interface: it would refuse some of the names, and there are other ways into a bucket.
        for path, content in files.items():
            there = self.directory / path
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(content)

    def endings(self, placed: Iterable[Placed]) -> list[Ending]:
        reasons = {held.path: held.reason for held in list_held(self.store, self.config.layout)}
        connection = self.lake.connect(events=None, sketches=None, labels=None, batches=None)
        lost = dict(connection.execute("SELECT path, reason FROM batches WHERE verdict = 'lost'").fetchall())
        count = "SELECT device, count(*), count(DISTINCT seq) FILTER (WHERE seq <= 100) FROM events GROUP BY ALL"
        events = {device: found for device, *found in connection.execute(count).fetchall()}
        labels = dict(connection.execute("SELECT source, count(*) FROM labels GROUP BY ALL").fetchall())
        tables = [t for t in ("events", "sketches") if self.lake.table(t) is not None]
        taken = {b for t in tables for (b,) in connection.execute(f"SELECT DISTINCT batch FROM {t}").fetchall()}

        def ending(one: Placed) -> Ending:
            (path,), name = one.files, one.sender.name
            whole = events.get(name, [0, 0])[1] == 2 * GOOD and labels.get(name, 0) >= 1
            honest = events.get(HONEST, [0, 0]) == [2 * GOOD, 2 * GOOD]
            digest = path[-72:-8]
            if digest in taken or labels.get(name, 0) > 1:
                where = "lake" if self._has_values(one.sender) else "lake, with other values"
                return Ending(one.kind, where, "", whole and honest)
            if path in reasons or path in lost:
                where = "quarantine" if path in reasons else "lost"
                return Ending(one.kind, where, reasons.get(path) or lost[path], whole and honest)
            where = "waits" if (self.directory / path).exists() else "gone"
            return Ending(one.kind, where, "", honest if where == "waits" else whole and honest)

        return [ending(one) for one in placed]

    def _has_values(self, sender: Sender) -> bool:
        """Whether the lake has of the sender's last batch what a device would have sealed."""
        wanted = read_batch(sender.good, self.config)
        query = f"SELECT {', '.join(wanted.column_names)} FROM events WHERE device = ? AND seq >= ? ORDER BY seq"
        found = self.lake.connect(events=None).sql(query, params=[sender.name, FIRST]).to_arrow_table()
        return bool(found.cast(wanted.schema).equals(wanted))


def ingest_apart(stage: Stage, placed: Sequence[Placed]) -> Run:
    """An ingest in a process of its own, which starts with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    work = [(one.kind.name, one.sender.name) for one in placed if one.kind.meddle]
    process = context.Process(target=_ingest, args=(stage.directory, work, theirs))
    process.start()
    theirs.close()
    try:
        patience = PATIENCE * (1 + len(placed))
        return Run(*ours.recv()) if ours.poll(patience) else Run(patience, 0, f"did not end in {patience} seconds")
    except EOFError:
        process.join()
        return Run(0, 0, f"ended with exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _ingest(directory: Path, meddled: list[tuple[str, str]], answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    stage, began, failed = Stage(directory), time.perf_counter(), ""
    senders = [(ALL[kind], Sender(stage.config, name)) for kind, name in meddled]
    hooks: list[Hook] = [kind.meddle(stage.store, kind.make(sender)) for kind, sender in senders if kind.meddle]

    def meddle(verb: str, path: str) -> None:
        for hook in hooks:
            hook(verb, path)

    try:
        for _ in range(2):  # what changes under the hands of the first waits for the next
            ingest(BentStore(stage.store, before=meddle), stage.lake, stage.config, NOW)
    except Exception as error:  # whatever it is, it is what is looked for
        failed = f"{type(error).__name__}: {error}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer.send((time.perf_counter() - began, peak, failed))
