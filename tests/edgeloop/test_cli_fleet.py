"""A person's hand on the fleet, by the command line: the rollout, and the keys that are kept away."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from fleet.repository import latest_root_version
from fleet.rollouts import publish_rollout
from tests.command import end_of
from tests.edgeloop.test_formats import rollout
from tests.site import LOOP, START, Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A rollout is under way."""
    site = make_site(tmp_path)
    (tmp_path / "loop.toml").write_text(LOOP)
    publish_rollout(site.store, site.centre.keys, rollout(), START, based_on=None)
    return site


class Hand:
    """Runs commands on a site; what they print, or say when they end with another code than 0."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.places = ("--store", site.store.url, "--keys", str(site.directory / "keys"))
        self.loop = str(site.directory / "loop.toml")
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        found, said = end_of(self._monkeypatch, self._capsys, *arguments, *self.places, "--json", code=code)
        return said if code else found

    def rollout(self, command: str) -> tuple[bool, bool]:
        """Whether the rollout is paused, and whether it has a candidate, after `command`."""
        document = msgspec.json.decode(self.run("rollout", command, self.loop))
        return document["paused"], document["candidate"] is not None


@pytest.fixture
def hand(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hand:
    return Hand(site, monkeypatch, capsys)


def test_a_rollout_is_paused_resumed_and_aborted(site: Site, hand: Hand) -> None:
    assert hand.rollout("pause") == (True, True)
    assert hand.rollout("resume") == (False, True)
    assert hand.rollout("pause") == (True, True)
    assert hand.rollout("abort") == (False, False)
    assert hand.rollout("status") == (False, False)
    assert "no rollout under way" in hand.run("rollout", "abort", hand.loop, code=3)
    query = "SELECT reason FROM decisions ORDER BY decided"
    said = [reason for (reason,) in site.lake.connect(decisions=None).execute(query).fetchall()]
    assert said == ["paused by hand", "resumed by hand", "paused by hand", "aborted by hand"]


def test_the_offline_roles_are_renewed_when_half_of_their_year_is_over(site: Site, hand: Hand) -> None:
    offline = site.directory / "keys/offline"
    shutil.move(offline, site.directory / "safe")
    assert "offline" in hand.run("fleet", "renew", code=2)
    shutil.move(site.directory / "safe", offline)
    assert msgspec.json.decode(hand.run("fleet", "renew")) == {"renewed": True}
    assert msgspec.json.decode(hand.run("fleet", "renew")) == {"renewed": False}
    assert latest_root_version(site.store) == 2
