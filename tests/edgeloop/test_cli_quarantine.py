"""A person's word on what was rejected, by the command line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeloop.cli.output import out
from ingest.derived.completeness import completeness
from ingest.run import ingest
from tests.command import end_of
from tests.ingest.batches import events, named, rewrite, seal
from tests.site import LOOP, START, Site, make_site


class Hand:
    """Runs `edgeloop quarantine` on a site where one batch came too early, one says it is of another loop, and two are junk."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.site, self._monkeypatch, self._capsys = site, monkeypatch, capsys
        (site.directory / "loop.toml").write_text(LOOP)
        site.store.create(*seal(site, events(1, 50)))
        site.store.create(*rewrite(site, seal(site, events(51, 5))[1], None, {"edgeloop.loop": "\x1b[31mevil"}, 51))
        site.store.create(*named(site, b"junk", device="d2"))
        site.store.create(f"{site.config.layout.inbox}/d2/nonsense", b"")
        assert self.ingest(START - timedelta(days=9)) == (0, 4)

    def ingest(self, now: Any = START + timedelta(days=1)) -> tuple[int, int]:
        report = ingest(self.site.store, self.site.lake, self.site.config, now)
        return report.rows, report.rejected

    def run(self, command: str, *arguments: str, code: int = 0) -> tuple[str, str]:
        places = (str(self.site.directory / "loop.toml"), *arguments, "--store", self.site.store.url)
        return end_of(self._monkeypatch, self._capsys, "quarantine", command, *places, code=code)

    def json(self, command: str, *arguments: str) -> Any:
        return msgspec.json.decode(self.run(command, *arguments, "--json")[0])


@pytest.fixture
def hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hand:
    monkeypatch.setattr(out, "width", 300)
    return Hand(make_site(tmp_path), monkeypatch, capsys)


def test_what_is_there_is_listed_and_filtered(hand: Hand) -> None:
    shown, _ = hand.run("list")
    assert "\x1b" not in shown
    assert "d1/000007-000000000001-" in shown
    assert "outside 2000 to now plus a day" in shown
    files = hand.json("list")["files"]
    assert [(file["sender"], file["kind"]) for file in files] == [("d1", "batch")] * 2 + [("d2", "batch")] * 2
    assert len(hand.json("list", "--device", "d2")["files"]) == 2
    assert [file["name"] for file in hand.json("list", "--reason", "IS NOT <EPOCH>")["files"]] == ["nonsense"]
    assert "files that are not: 4" in hand.run("list", "--device", "d9")[0]


def test_one_is_shown_with_what_would_become_of_it(hand: Hand) -> None:
    shown, _ = hand.run("show", "d1/000007-000000000051")
    assert "\x1b" not in shown
    assert "rejected again" in shown
    found = hand.json("show", "d1/000007-000000000001")
    assert (found["retried"]["outcome"], found["retried"]["why"]) == ("waits", "it would be taken.")
    assert (found["seen"]["words"]["device"], len(found["seen"]["first"])) == ("d1", 3)
    assert "it has 0 bytes" in hand.run("show", "d2/nonsense")[0]
    assert "it has 0 bytes" in hand.run("show", "d2/nons…")[0]
    assert "2 files in quarantine begin with 'd1/'" in hand.run("show", "d1/", code=3)[1]
    assert "no files" in hand.run("show", "d9/x", code=3)[1]


def test_a_retry_is_foretold_and_then_done(hand: Hand) -> None:
    assert "no file is named" in hand.run("retry", code=2)[1]
    chosen = ("--device", "d1", "--reason", "outside 2000")
    assert [file["outcome"] for file in hand.json("retry", *chosen, "--dry-run")["files"]] == ["waits"]
    assert hand.ingest() == (0, 0)
    assert "next ingest judges" in hand.run("retry", *chosen)[1]
    assert hand.ingest() == (50, 0)
    assert len(hand.json("list")["files"]) == 3


def test_an_interrupted_retry_is_told_of_and_ended(hand: Hand) -> None:
    layout = hand.site.config.layout
    (file,) = hand.json("list", "--reason", "outside 2000")["files"]
    hand.site.store.copy(f"{layout.quarantine}/{file['place']}", f"{layout.retries}/inbox/{file['place']}")
    assert f"`edgeloop quarantine retry {hand.site.directory / 'loop.toml'}` ends that" in " ".join(
        hand.run("list")[1].split()
    )
    assert [file["outcome"] for file in hand.json("retry")["files"]] == ["waits"]
    assert hand.ingest() == (50, 0)


def test_a_drop_is_foretold_and_then_done_and_the_books_go_on_missing_it(hand: Hand) -> None:
    hand.site.store.create(*seal(hand.site, events(101, 50)))
    assert hand.ingest() == (50, 0)

    def books() -> list[tuple[int, ...]]:
        found = completeness(hand.site.store, hand.site.lake, hand.site.config.layout).to_pylist()
        return [(b["produced"], b["ingested"], b["missing"], b["quarantined"]) for b in found]

    assert books() == [(150, 50, 100, 2), (0, 0, 0, 2)]
    assert len(hand.json("drop", "--device", "d1", "--dry-run")["files"]) == 2
    assert len(hand.json("list")["files"]) == 4
    assert "as missing" in hand.run("drop", "--device", "d1")[1]
    assert books() == [(150, 50, 100, 0), (0, 0, 0, 2)]
    hand.run("drop", "--all")
    assert hand.run("list")[0].strip() == "Nothing is in quarantine."
