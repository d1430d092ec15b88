"""What is missing, in words and for a program."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edgeloop.cli.output import out
from ingest.run import ingest
from tests.command import end_of
from tests.edgeloop.test_formats import make_status
from tests.ingest.batches import events, named, seal
from tests.site import LOOP, START, make_site

NOW = START + timedelta(days=1)


def test_a_person_reads_what_is_missing_since_when_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(out, "width", 200)
    site = make_site(tmp_path)
    (tmp_path / "loop.toml").write_text(LOOP)
    command = ("fleet", "gaps", tmp_path / "loop.toml", "--store", site.store.url)
    assert "No device of pump has sent anything" in end_of(monkeypatch, capsys, *command)[0]
    site.store.create(*seal(site, events(1, 50)))
    ingest(site.store, site.lake, site.config, NOW)
    assert "Nothing is missing of pump." in end_of(monkeypatch, capsys, *command)[0]

    for first in range(101, 2500, 100):
        site.store.create(*seal(site, events(first, 50)))
    site.store.create(*named(site, b"junk", 2451))
    ingest(site.store, site.lake, site.config, NOW)
    status = make_status(device="d1", epoch=7, produced=2600, acked=2400, shed=160, spooled=40, time=NOW)
    site.store.create(site.config.layout.status("d1"), status.encode())
    shown, said = end_of(monkeypatch, capsys, *command)
    assert shown.splitlines()[2].split() == [
        "d1",
        "7",
        "2451",
        "2600",
        "150",
        "2024-01-02",
        "00:00",
        "batch",
        "from",
        "2451",
    ]
    assert shown.splitlines()[-1].split() == ["d1", "7", "5", "older", "250"]
    said = " ".join(said.split())
    assert "2,600 events were produced, 1,250 are in the lake; 160 were shed, as the device declares; 40 wait" in said
    assert "1,150 are missing. 1 of its batches are in quarantine: `edgeloop quarantine list" in said
    assert "loop.toml --device d1`" in said
    (device,) = msgspec.json.decode(end_of(monkeypatch, capsys, *command, "--json")[0])["devices"]
    assert len(device["gaps"]) == 25
    assert device["gaps"][-1] == {"first": 2451, "last": 2600, "known": "2024-01-02T00:00:00Z", "quarantined": [2451]}
