"""`edgeloop forget` as a person types it, on a store in a directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from ingest.upkeep.tombstones import read_proofs, read_requests
from tests.command import end_of
from tests.ingest.upkeep.test_forgetting import GONE, OTHER, fill
from tests.site import LOOP, Site, make_site

Typed = Callable[..., tuple[str, str]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path)
    fill(site, [GONE, OTHER])
    (tmp_path / "loop.toml").write_text(LOOP)
    return site


@pytest.fixture
def forget(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    def typed(*words: str, code: int = 0) -> tuple[str, str]:
        loop = str(site.directory / "loop.toml")
        return end_of(monkeypatch, capsys, "forget", loop, *words, "--store", site.store.url, code=code)

    return typed


def test_who_does_not_say_yes_changes_nothing(site: Site, forget: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def no(question: str, **options: object) -> None:
        asked.append(question)
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", no)
    before = sorted((e.path, e.version) for e in site.store.list(""))
    out, _ = forget(GONE, code=1)
    assert asked == ["Delete this for good?"]
    assert "rows of events" in out
    assert "120" in out
    out, shown = forget(GONE, "--json", code=1)
    assert (out, "rows of events" in shown) == ("", True)
    assert sorted((e.path, e.version) for e in site.store.list("")) == before


def test_an_id_that_nobody_has_is_said_before_anything_goes(site: Site, forget: Typed) -> None:
    assert "nothing of them" not in forget(GONE, "--dry-run")[1]
    assert "There is nothing of them in the store" in " ".join(forget("nobody-9", "--dry-run")[1].split())
    versions = [site.lake.version(name) for name in site.lake.names()]
    assert "nothing of them in the store" in " ".join(forget("nobody-9", "--yes", code=3)[1].split())
    assert [site.lake.version(name) for name in site.lake.names()] == versions
    assert not read_requests(site.store, site.config.layout)


def test_a_span_is_in_utc_and_up_to_now_if_no_end_is_given(site: Site, forget: Typed) -> None:
    # The 30 events of 00:00:31 to 00:01:00 of one epoch, and all 60 of two hours later of the other.
    proof = json.loads(forget(GONE, "--since", "2024-01-01T00:00:31", "--yes", "--json")[0])["proof"]
    assert proof["since"] == "2024-01-01T00:00:31Z"
    assert proof["rows"]["events"] == 90
    ((_, kept),) = read_proofs(site.store, site.config.layout)
    assert kept.until is not None
    assert not read_requests(site.store, site.config.layout)
    out, _ = forget(GONE, "--since", "2024-01-01T00:00:31", "--verify")
    assert "Nothing of them is in" in out
    forget(GONE, "--verify", code=3)  # of before there is something


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("../other",), 3, "cannot be part of a path"),
        ((GONE, "--dry-run", "--verify"), 2, "are two questions"),
        ((GONE, "--since", "2024-01-02", "--until", "2024-01-01", "--yes"), 2, "is not before"),
    ],
)
def test_mistakes_are_said(site: Site, forget: Typed, words: tuple[str, ...], code: int, says: str) -> None:
    assert says in " ".join(forget(*words, code=code)[1].split())
    assert not read_requests(site.store, site.config.layout)
