"""The upkeep by hand: what it would do, what it did."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from ingest.run import ingest
from tests.command import end_of
from tests.ingest.batches import events, seal
from tests.site import LOOP, START, make_site


def test_it_says_what_there_is_to_do_and_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(tmp_path)
    (tmp_path / "loop.toml").write_text(LOOP)
    command = ("upkeep", tmp_path / "loop.toml", "--store", site.store.url, "--keys", site.keys.directory)
    for i in range(3):  # of a month that is over
        site.store.create(*seal(site, events(1 + 10 * i, 10)))
        ingest(site.store, site.lake, site.config, START + timedelta(days=1))

    def said(*options: str) -> dict[str, list[int]]:
        found = msgspec.json.decode(end_of(monkeypatch, capsys, *command, "--json", *options)[0])
        assert found["dry_run"] == ("--dry-run" in options)
        return {t["table"]: [t["joined"], t["into"], t["removed"], t["freed"]] for t in found["tables"]}

    version = site.lake.version("events")
    assert said("--dry-run") == {"events": [3, 1, 0, 0], "batches": [0, 0, 0, 0]}
    assert site.lake.version("events") == version
    assert said() == {"events": [3, 1, 0, 0], "batches": [0, 0, 0, 0]}
    assert len(site.lake.files("events")) == 1
    shown, _ = end_of(monkeypatch, capsys, *command)
    assert "upkeep of the lake of pump" in shown
    assert "events" in shown
