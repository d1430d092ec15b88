"""The campaign: one store and one ingest a kind, and what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.hostile.catalogue import ALL, EXPECTED
from benchmarks.hostile.sender import Sender
from benchmarks.hostile.trial import HONEST, Ending, Run, Stage, ingest_apart

MOST_MEMORY = 300 * 2**20
"""Bytes that a kind may take beyond what an ingest of good batches takes."""


def campaign(directory: Path, names: Sequence[str] = ()) -> list[str]:
    """Try kinds, one by one, and print a line of each; what went wrong."""
    start = Stage(directory / "start")
    start.prepare([Sender(start.config, HONEST), Sender(start.config, "sender")])
    floor = _alone(directory, "as a device seals it")[1].memory
    wrong = []
    for name in names or ALL:
        ending, run = _alone(directory, name)
        faults = mistakes(ending, run, floor)
        wrong += [f"{name}: {fault}" for fault in faults]
        grown = max(0, run.memory - floor) / 2**20
        print(f"{name:40} {ending.where:10} {grown:4.0f} MB {run.seconds:5.1f} s  {ending.reason}", flush=True)
        for fault in faults:
            print(f"  WRONG: {fault}")
    print(f"{len(names or ALL)} kinds, {len(wrong)} faults")
    return wrong


def _alone(directory: Path, name: str) -> tuple[Ending, Run]:
    stage = Stage(shutil.copytree(directory / "start", directory / "now"))
    try:
        honest = Sender(stage.config, HONEST)
        stage.put(honest.named(honest.sealed(51, 50), 51))
        placed = [stage.place(ALL[name], Sender(stage.config, "sender"))]
        run = ingest_apart(stage, placed)
        return stage.endings(placed)[0], run
    finally:
        shutil.rmtree(directory / "now")


def mistakes(ending: Ending, run: Run, floor: int) -> list[str]:
    """What is not as it is to be."""
    found = [f"the ingest failed: {run.failed}"] if run.failed else []
    if ending.where not in EXPECTED[ending.kind.name]:
        found.append(f"it is in {ending.where}, and not in {' or '.join(EXPECTED[ending.kind.name])}")
    if not ending.good:
        found.append("the good batches beside it are not all in the lake")
    if ending.kind.reason not in ending.reason:
        found.append(f"its reason does not say {ending.kind.reason!r}")
    if run.memory - floor > MOST_MEMORY:
        found.append(f"it took {(run.memory - floor) / 2**20:.0f} MB")
    return found
