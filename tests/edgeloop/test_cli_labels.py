"""How labels come, in words and for a program."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edgeloop.cli.output import out
from ingest.run import ingest
from tests.command import end_of
from tests.ingest.batches import events, put_labels, seal, told
from tests.site import LOOP, START, make_site

PREFERRED = LOOP.replace("[label]", '[label]\nsources = ["inspection", "operator"]')


def test_a_person_reads_how_late_labels_are_and_what_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(out, "width", 200)
    site = make_site(tmp_path, PREFERRED)
    (tmp_path / "loop.toml").write_text(PREFERRED)
    command = ("fleet", "labels", tmp_path / "loop.toml", "--store", site.store.url)
    assert "There are no labels of pump yet." in end_of(monkeypatch, capsys, *command)[0]

    site.store.create(*seal(site, events(1, 2000)))
    put_labels(site, "operator", *(told(n, "good", 1 + n / 100) for n in range(1, 101)), told(1, "bad", 5))
    put_labels(site, "lab", *(told(n, "good", 1, "D1") for n in range(1, 11)))
    ingest(site.store, site.lake, site.config, START + timedelta(hours=6))
    monkeypatch.setattr("edgeloop.cli.labels.system_clock", lambda: START + timedelta(days=1))
    shown, said = end_of(monkeypatch, capsys, *command)
    lab, operator = (" ".join(line.split()) for line in shown.splitlines()[2:])
    assert lab.startswith("lab 10 0 59.9 min ")
    assert operator == "operator 100 1 89.5 min 115 min 4.5 h 5.0% 2024-01-01"
    said = " ".join(said.split())
    assert "operator has been silent for 19 h; 95 % of its labels come within 115 min of their event." in said
    assert "10 of the newest 10 labels of lab meet no event; 10 are of devices that never sent an event" in said
    assert "label.sources names inspection, of which no label ever came." in said
    found = msgspec.json.decode(end_of(monkeypatch, capsys, *command, "--json")[0])
    assert found["stopped"] == ["operator"]
    assert [(row["source"], row["week"], row["events"]) for row in found["delays"] if not row["week"]] == [
        ("lab", None, 10),
        ("operator", None, 100),
    ]
    assert {row["source"]: row["met"] for row in found["meetings"]} == {"lab": 0, "operator": 100}
