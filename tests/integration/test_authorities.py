"""The two authorities as two processes on a real MinIO, each with its own key and user: together they release, neither can alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.centre import Centre
from assets.delivery import delivery_assets
from assets.learning import train_next
from edgeloop.clock import system_clock
from edgeloop.store import open_store
from fleet.releases import list_releases
from fleet.repository import refresh
from fleet.rollouts import read_current
from tests.faults.test_publish_race import authority, user
from tests.site import LOOP, Site, fill_lake, make_site


@pytest.fixture
def store_kind() -> str:
    return "minio"


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Site:
    """A challenger waits to be published."""
    site = make_site(tmp_path, store=open_store(store_url))
    refresh(site.store, site.keys, system_clock())
    (tmp_path / "loop.toml").write_text(LOOP)
    fill_lake(site, 24 * 8)
    site.clock.now = site.clock.now.replace(day=9)
    assert train_next(site.centre, site.config).verdict.passed
    return site


def test_what_takes_two_keys_takes_two_processes(site: Site) -> None:
    users = {role: user(site.store.url, role) for role in ("releases", "rollouts")}
    for role in users:
        authority(site.directory, role)

    def run(role: str, *command: str) -> subprocess.CompletedProcess[str]:
        """As on the machine of that authority: its user, its keys, nothing else of ours."""
        places = {"EDGELOOP_STORE": site.store.url, "EDGELOOP_KEYS": str(site.directory / role)}
        words = [
            sys.executable,
            "-c",
            "from edgeloop.cli import main; main()",
            *command,
            str(site.directory / "loop.toml"),
        ]
        environment = {**os.environ, **users[role], **places}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    assert run("rollouts", "release", "publish").returncode == 2
    assert run("rollouts", "rollout", "step").returncode == 3  # there is no release to roll out
    assert (done := run("releases", "release", "publish")).returncode == 0, done.stderr
    assert run("releases", "rollout", "step").returncode in (2, 4)
    assert read_current(site.store, site.keys, "pump") is None
    assert (done := run("rollouts", "rollout", "step")).returncode == 0, done.stderr
    document = read_current(site.store, site.keys, "pump")
    assert document
    assert document.stable.sha256 == list_releases(site.store, site.keys, "pump")[0].sha256


def test_in_dagster_each_does_what_its_key_allows(site: Site) -> None:
    deliver = delivery_assets(site.config)[0]
    keys = {role: authority(site.directory, role) for role in ("releases", "rollouts")}
    for role, made in (("rollouts", "rollout"), ("releases", "release"), ("rollouts", "rollout")):
        centre = Centre(site.store, keys[role], site.clock)
        result = dg.materialize([deliver], resources={"centre": centre})
        found = [event.asset_key for event in result.get_asset_materialization_events()]
        assert [key.path[-1] for key in found if key] == [made]
    assert read_current(site.store, site.keys, "pump")
