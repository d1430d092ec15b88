"""Every kind of `python -m benchmarks.hostile`, all in one inbox: one of them that stopped the ingest would stop it for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hostile.campaign import campaign, mistakes
from benchmarks.hostile.catalogue import ALL, HOSTILE, WAITING
from benchmarks.hostile.fuzz import REFUSED, TAKEN, checked, fuzz, good_files
from benchmarks.hostile.sender import Sender
from benchmarks.hostile.trial import HONEST, Ending, Run, Stage, ingest_apart

FILES = 400
"""How many the fuzzer makes."""

TOGETHER = {name: kind for name, kind in ALL.items() if kind not in WAITING}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Ending], Run, int]:
    """Where each kind ended, the ingest of all of them, and the memory that one of good batches takes."""
    stage = Stage(tmp_path_factory.mktemp("hostile"))
    senders = [Sender(stage.config, f"h{number:03}") for number in range(len(TOGETHER))]
    honest = Sender(stage.config, HONEST)
    stage.prepare([honest, *senders])
    stage.put(honest.named(honest.sealed(51, 50), 51))
    floor = ingest_apart(stage, [])
    placed = [stage.place(kind, sender) for kind, sender in zip(TOGETHER.values(), senders, strict=True)]
    run = ingest_apart(stage, placed)
    return {ending.kind.name: ending for ending in stage.endings(placed)}, run, floor.memory


@pytest.mark.parametrize("name", TOGETHER)
def test_it_ends_where_it_should_for_a_reason_that_says_why(
    ended: tuple[dict[str, Ending], Run, int], name: str
) -> None:
    endings, run, floor = ended
    assert not mistakes(endings[name], run, floor)


def test_what_cannot_be_named_waits_alone(tmp_path: Path) -> None:
    assert campaign(tmp_path, [kind.name for kind in WAITING]) == []


def test_files_are_good_before_they_are_changed() -> None:
    for kind, files in good_files().items():
        for content in files:
            assert checked(kind, content).num_rows > 0


def test_changed_files_are_refused_or_taken_as_another_reader_reads_them() -> None:
    found = fuzz(0, range(FILES))
    assert found.wrong == []
    assert found.ended[REFUSED] > FILES / 2
    assert found.ended[TAKEN] > FILES / 50


def test_there_are_many_and_each_is_told(ended: tuple[dict[str, Ending], Run, int]) -> None:
    kinds = [kind for kinds in HOSTILE.values() for kind in kinds]
    assert len(kinds) >= 60
    assert all(kind.what and kind.reason for kind in kinds)
