"""kill -9 of an export at every step: afterwards the lake has every event once, whichever way they came."""

from __future__ import annotations

import multiprocessing
import os
from datetime import timedelta
from pathlib import Path

import pytest

from edge_runtime.device import Device
from edgeloop.stick import open_stick
from ingest.carry import carry, remove
from ingest.run import ingest
from tests.site import START, Site, kill_self, make_site, readings

NOW = START + timedelta(hours=2)
EVENTS = 120  # three batches


def export(home: Path, directory: Path) -> None:
    with open_stick(directory) as stick, Device.visit(home, stick, clock=lambda: START) as device:
        device.ship()
        device.report()


def killed_export(home: Path, directory: Path, name: str, after: int) -> None:
    """Export in this process, which is killed at the call number `after` of a function of `os`."""
    real, seen = getattr(os, name), {"n": 0}

    def bent(*arguments: object, **options: object) -> object:
        seen["n"] += 1
        if seen["n"] > after:
            kill_self()
        return real(*arguments, **options)

    setattr(os, name, bent)
    export(home, directory)


def take_in(site: Site, directory: Path, *, move: bool = False) -> None:
    with open_stick(directory) as stick:
        carried = carry(stick, site.store, site.lake, site.config, NOW)
        assert not carried.refused
        ingest(site.store, site.lake, site.config, NOW)
        if move:
            remove(stick, carried)


# In the first folder, in the last; with the first file begun, written, named; in the second batch. What is on the stick then
# comes to the centre at once or later, the rest by the link or by the stick.
POINTS = [
    ("mkdir", 0, False, True),
    ("fsync", 4, True, False),
    ("rename", 0, False, True),
    ("fsync", 5, True, True),
    ("rename", 1, True, False),
    ("fsync", 7, False, True),
]


@pytest.mark.parametrize(("name", "after", "stick_first", "link"), POINTS)
def test_after_a_kill_every_event_is_there_once(
    tmp_path: Path, name: str, after: int, stick_first: bool, link: bool
) -> None:
    site = make_site(tmp_path)
    directory = tmp_path / "stick"
    directory.mkdir()
    with site.open("dev") as device:
        for reading in readings(EVENTS):
            device.predict(reading)
    home = tmp_path / "devices/dev"
    process = multiprocessing.get_context("spawn").Process(target=killed_export, args=(home, directory, name, after))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    if stick_first:
        take_in(site, directory)
    with Device.open(home, clock=site.clock) as device:
        device.predict(readings(1)[0])
        if link:
            device.exchange()
    export(home, directory)
    for move in (False, True, False):
        take_in(site, directory, move=move)
    query = "SELECT count(*), count(DISTINCT seq), max(seq) FROM events"
    assert site.lake.connect(events=None).execute(query).fetchall() == [(EVENTS + 1, EVENTS + 1, EVENTS + 1)]
    assert [file for file in directory.rglob("*") if file.is_file() and not file.name.startswith(".")] == []
