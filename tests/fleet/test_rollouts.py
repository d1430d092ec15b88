"""The rollout controller against people, crashes and silence: who acted last is right, and no decision is lost."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import TargetFile, Targets

import assets.delivery
from assets.delivery import publish_newest, step_rollout
from assets.evidence import gather
from assets.learning import train_next
from assets.trainings import read_training
from edgeloop.rollout import RolloutDocument
from fleet.gate import Decision, Evidence
from fleet.releases import list_releases, publish_release
from fleet.repository import publish, read_role, refresh
from fleet.rollouts import conclude, pause, publish_rollout, read_current, read_looks, record_decision
from tests.site import LOOP, START, Site, fill_lake, make_site

DAY = timedelta(days=1)
LENIENT = LOOP.replace("min_rows = 50\n", "min_rows = 50\nmax_regression = 1.0\nworst_device = 1.0\n")


def release(site: Site, day: float) -> None:
    """Train and publish; the rollout is the test's."""
    site.clock.now = START + day * DAY
    refresh(site.store, site.centre.keys, site.clock.now)
    assert train_next(site.centre, site.config).verdict.passed
    assert publish_newest(site.centre, site.config)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """r0001 is everywhere, r0002 has just been started; nobody reports yet."""
    site = make_site(tmp_path, LENIENT)
    fill_lake(site, 24 * 12)
    for day in (8, 10):
        release(site, day)
        step_rollout(site.centre, site.config)
    assert current(site).candidate
    return site


def current(site: Site) -> RolloutDocument:
    found = read_current(site.store, site.centre.keys, "pump")
    assert found
    return found


def put(site: Site, document: RolloutDocument) -> None:
    publish_rollout(site.store, site.centre.keys, document, site.clock.now, based_on=current(site))


def decisions(site: Site) -> list[tuple[str, str]]:
    query = "SELECT release, verdict FROM decisions ORDER BY decided, rollout"
    return site.lake.connect(decisions=None).execute(query).fetchall()


def test_an_abort_during_a_look_stands(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    aborted = []

    def meanwhile(*arguments: object) -> object:
        if not aborted:
            aborted.append(True)
            put(site, conclude(current(site), Decision("aborted", "by hand"), site.clock.now))
        return gather(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(assets.delivery, "gather", meanwhile)
    document, decision = step_rollout(site.centre, site.config)
    assert aborted
    assert decision is None
    assert document == current(site)
    assert (current(site).verdict, current(site).candidate) == ("aborted", None)


def test_while_paused_nothing_starts_and_what_ends_is_not_paused(site: Site) -> None:
    put(site, pause(current(site), True, site.clock.now))
    release(site, 11)
    document, decision = step_rollout(site.centre, site.config)
    assert document
    assert (document.paused, decision) == (True, None)
    assert document.candidate
    assert document.candidate.id == "r0002"
    put(site, conclude(current(site), Decision("aborted", "by hand"), site.clock.now))
    assert not current(site).paused
    step_rollout(site.centre, site.config)
    assert current(site).candidate
    assert current(site).candidate.id == "r0003"
    assert not current(site).paused


def test_a_quiet_fleet_uses_up_no_looks_and_costs_devices_nothing(site: Site) -> None:
    for hour in range(20):
        site.clock.now = START + (14 + hour / 24) * DAY
        _, decision = step_rollout(site.centre, site.config)
        assert decision
        assert decision.verdict == "hold"
        if not hour:
            version = read_role(site.store, site.centre.keys, "rollouts").version
    assert read_role(site.store, site.centre.keys, "rollouts").version == version
    assert len(decisions(site)) <= 3  # the start of each, and one look: nothing came after it


def test_only_looks_with_enough_to_compare_by_count(site: Site) -> None:
    for running, rows in ((1, 10), (1, 20), (0, 500), (1, 500)):
        seen = Evidence(1, 1, running, {}, rows, 0.7, 0.7, 0.0, -0.1, 0.1)
        record_decision(site.lake, current(site), Decision("hold", "test"), seen, site.clock.now)
    assert gather(site.centre, site.config, current(site), read_looks(site.lake, current(site))).look == 2


@pytest.mark.parametrize("point", ["record_decision", "publish_rollout"])
def test_a_crash_before_or_after_the_record_loses_no_decision(
    site: Site, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(site, 11)
    put(site, conclude(current(site), Decision("reject", "test"), site.clock.now))
    with monkeypatch.context() as crash:

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        crash.setattr(assets.delivery, point, die)
        with pytest.raises(KeyboardInterrupt):
            step_rollout(site.centre, site.config)
    step_rollout(site.centre, site.config)
    assert current(site).candidate
    assert current(site).candidate.id == "r0003"
    assert ("r0003", "running") in decisions(site)
    number = current(site).number
    put(site, conclude(current(site), Decision("reject", "test"), site.clock.now))
    step_rollout(site.centre, site.config)
    assert (current(site).candidate, current(site).number) == (None, number)  # a rejected one is not started again


def test_what_another_version_wrote_keeps_its_digest(site: Site) -> None:
    """A newer edgeloop may add keys: read here and written again, the document would have other bytes."""
    training = read_training(site.store, site.config.layout, 2)
    manifest = {**msgspec.json.decode(training.manifest_bytes), "id": "r0009", "counter": 9, "added": "later"}
    content = msgspec.json.encode(manifest)
    verdict = msgspec.structs.replace(training.verdict, manifest_sha256=sha256(content).hexdigest())
    files = {a.target: training.model for a in training.manifest.models}
    publish_release(site.store, site.centre.keys, content, files, verdict.encode(), frozenset(), site.clock.now)
    step_rollout(site.centre, site.config)
    candidate = current(site).candidate
    assert candidate
    assert candidate.sha256 == list_releases(site.store, site.centre.keys, "pump")[-1].sha256

    longer = msgspec.json.encode({**msgspec.to_builtins(current(site)), "added": "later"})
    target = current(site).target

    def change(targets: Targets) -> None:
        targets.targets[target] = TargetFile.from_data(target, longer, ["sha256"])

    publish(site.store, site.centre.keys, "rollouts", change, {target: longer}, site.clock.now)
    put(site, pause(current(site), True, site.clock.now))
    assert current(site).paused
