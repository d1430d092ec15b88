"""A person goes back to the release before, without a network; and what a device says of its steps and of how long it was alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from edge_runtime.device import Device
from edge_runtime.metrics import Metrics
from edge_runtime.pulse import Pulse
from edge_runtime.spool import Spool
from edgeloop.errors import DataError, StoreError
from edgeloop.layout import RELEASE_TARGETS, Layout
from edgeloop.roster import read_roster
from edgeloop.status import DeviceStatus, UpdateState, decode_status
from edgeloop.store import Store
from tests.command import end_of
from tests.edge_runtime.catalogue import WRONG, Made, publish_catalogue, roll_out
from tests.edge_runtime.test_disk import disk_full, fill
from tests.site import LOOP, START, Site, make_site

DAY = timedelta(days=1)
Edgeloop = Callable[..., dict[str, Any]]


@dataclass
class Deployment:
    site: Site
    made: dict[str, Made]

    @property
    def home(self) -> Path:
        return self.site.directory / "devices/dev"

    def digest(self, what: str) -> str:
        return self.made[what].ref.sha256

    def offer(self, what: str, **rules: Any) -> DeviceStatus:
        """Roll a release out, and poll."""
        roll_out(self.site, self.made[what].ref, **rules)
        return self.polled()

    def polled(self) -> DeviceStatus:
        with self.site.open("dev") as device:
            device.poll()
            return device.status()

    def commit(self, what: str) -> None:
        self.offer(what)
        with self.site.open("dev") as device:
            for _ in range(self.site.config.device.probation_events):
                device.predict(WRONG)
            assert device.status().update.state == "committed"

    def running(self) -> str:
        """Of a process begun anew, which has a prediction to give."""
        with self.site.open("dev") as device:
            assert device.predict(WRONG).label is not None
            return device.status().release_id


@pytest.fixture
def it(tmp_path: Path) -> Deployment:
    """r0002 is committed, r0001 was before it."""
    site = make_site(tmp_path)
    it = Deployment(site, publish_catalogue(site))
    it.commit("good")
    it.commit("good too")
    return it


@pytest.fixture
def edgeloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Edgeloop:
    """Runs a command; what it prints as JSON, or says with an error."""

    def run(*arguments: object, code: int = 0) -> dict[str, Any]:
        out, err = end_of(monkeypatch, capsys, *arguments, "--json", code=code)
        return {"says": " ".join(err.split())} if code else msgspec.json.decode(out)

    return run


def test_back_to_the_release_before_by_the_command_and_no_poll_undoes_it(it: Deployment, edgeloop: Edgeloop) -> None:
    said = {"device": "dev", "left": it.digest("good too"), "left_id": "r0002"}
    said |= {"release": it.digest("good"), "release_id": "r0001"}
    (it.site.directory / "store").rename(it.site.directory / "gone")  # there is no network
    assert edgeloop("device", "rollback", it.home, "--dry-run") == said
    assert it.running() == "r0002"
    assert edgeloop("device", "rollback", it.home, "--reason", "it rattles") == said
    assert it.running() == "r0001"
    (it.site.directory / "gone").rename(it.site.directory / "store")
    for _ in range(2):
        it.site.clock.now += DAY
        status = it.polled()
        assert status.update.state == "refused-release"
        assert "by hand: it rattles" in status.update.reason
    assert it.running() == "r0001"
    assert [folder.name for folder in (it.home / "models").iterdir()] == [it.digest("good")]
    assert "no release on this device to go back to" in edgeloop("device", "rollback", it.home, code=5)["says"]


def test_on_probation_it_is_back_to_the_committed_one_and_then_to_the_one_before(it: Deployment) -> None:
    assert it.offer("good again").on_probation
    for back in ("r0002", "r0001"):
        with Device.visit(it.home, clock=it.site.clock) as device:
            device.roll_back()
        assert it.running() == back
    assert {*it.polled().refused} == {it.digest("good again"), it.digest("good too")}


def test_it_is_refused_while_the_device_runs_or_to_what_may_or_can_not_run(it: Deployment, edgeloop: Edgeloop) -> None:
    with it.site.open("dev"):
        assert "another process runs" in edgeloop("device", "rollback", it.home, code=2)["says"]
    it.offer("good too", floor=2)
    assert "under the rollout's floor of 2" in edgeloop("device", "rollback", it.home, code=5)["says"]
    it.offer("good too")
    (it.home / "models" / it.digest("good") / "model.onnx").write_bytes(b"x")
    assert "cannot be run" in edgeloop("device", "rollback", it.home, code=5)["says"]
    assert it.running() == "r0002"
    assert not it.polled().refused


def test_a_disk_that_does_not_take_it_is_an_error_and_nothing_is_removed(it: Deployment) -> None:
    with Device.visit(it.home, clock=it.site.clock) as device, disk_full(device._spool):
        fill(device._spool, 4)
        with pytest.raises(DataError, match="disk is full"):
            device.roll_back()
        assert {folder.name for folder in (it.home / "models").iterdir()} == {it.digest("good"), it.digest("good too")}


def test_a_damaged_release_is_run_in_its_place_by_the_one_before(it: Deployment) -> None:
    (it.home / "models" / it.digest("good too") / "model.onnx").write_bytes(b"x")
    assert it.running() == "r0001"
    assert it.polled().release_id == "r0002"  # fetched again, and on probation again


def test_the_centre_takes_its_candidate_back_without_another_self_test(
    it: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    it.offer("good again")
    monkeypatch.setattr("edge_runtime.releases.Release.disagreement", lambda self: "it would be refused")
    for what in ("good too", "good", "good too"):  # the committed one, the one before, and that again
        status = it.offer(what)
        assert (status.release, status.update.state) == (it.digest(what), "rolled-back")
        assert (status.on_probation, status.refused) == (False, {})


def test_what_no_device_may_run_is_left_also_while_the_rollout_is_paused(it: Deployment) -> None:
    status = it.offer("good", paused=True)
    assert (status.release_id, status.update.state) == ("r0002", "paused")
    status = it.offer("good", paused=True, revoked=(it.made["good too"].ref,))
    assert (status.release_id, status.update.state) == ("r0001", "rolled-back")
    status = it.offer("good too", paused=True, floor=2)
    assert (status.release_id, status.update.state) == ("r0002", "rolled-back")


def test_a_release_that_cannot_be_loaded_is_refused_and_not_tried_at_each_poll(it: Deployment) -> None:
    status = it.offer("cannot be loaded")
    assert status.update.state == "self-test-failed"
    assert "cannot be loaded" in status.refused[it.digest("cannot be loaded")]
    assert it.polled().update.state == "refused-release"


def test_a_refusal_ends_when_the_policy_says_and_an_older_state_is_read(tmp_path: Path) -> None:
    site = make_site(tmp_path, LOOP.replace("[device]", '[device]\nrefuse_for = "2d"'))
    it = Deployment(site, publish_catalogue(site))
    it.commit("good")
    with closing(Spool(it.home / "state.sqlite", site.config.device, START)) as spool:
        spool.put(refused=msgspec.json.encode({it.digest("good too"): "as it was told"}).decode())
    bad = "not a number"
    for days in (2, 4):  # twice as long, as it was refused twice
        assert it.offer(bad).on_probation
        with site.open("dev") as device:
            assert device.predict(WRONG).label is not None
        it.site.clock.now += (days - 0.1) * DAY
        roll_out(site, it.made[bad].ref)
        assert it.polled().update.state == "refused-release"
        it.site.clock.now += 0.2 * DAY
        assert it.digest(bad) not in it.polled().refused
    assert it.offer("good too").update.reason.endswith("was refused before: as it was told")


class Watched(Store):
    """Keeps what the status in the store says whenever a model is read."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner._backend, inner.url, inner.directory)
        self.said: list[str] = []

    def read_range(self, path: str, start: int, length: int) -> bytes:
        if path.startswith(RELEASE_TARGETS) and path.endswith(".onnx"):
            self.said.append(decode_status(self.read(Layout("pump").status("dev"))).update.state)
        return super().read_range(path, start, length)


def test_every_step_is_told_and_a_download_when_it_begins(it: Deployment) -> None:
    store = Watched(it.site.store)
    roll_out(it.site, it.made["not a number"].ref)
    with Device.open(it.home, clock=it.site.clock, store=store) as device:
        device.exchange()
        device.predict(WRONG)
        device.exchange()
        device.exchange()
    assert set(store.said) == {"downloading"}
    steps = read_roster(it.site.store, Layout("pump")).devices["dev"].steps
    bad = it.digest("not a number")
    assert [(step.state, step.release == bad) for step in steps[-5:]] == [
        ("downloading", True),
        ("self-testing", True),
        ("probation", True),
        ("rolled-back", True),
        ("refused-release", True),
    ]
    assert [step.at for step in steps] == sorted(step.at for step in steps)


def test_a_download_goes_on_though_it_cannot_be_told(it: Deployment) -> None:
    def broken() -> None:
        raise StoreError("the link is down")

    roll_out(it.site, it.made["good again"].ref)
    with it.site.open("dev") as device:
        device.poll(downloading=broken)
        assert device.status().on_probation


def test_no_status_is_too_long_to_be_read(it: Deployment) -> None:
    worst = "\0" * 10_000  # six bytes each, in JSON
    with it.site.open("dev") as device:
        for number in range(100):
            device._running.slots.refuse(f"{number:064}", worst)
            device._running.history.say(f"state-{number}", worst, f"{number:064}")
        device.report()
    (status,) = read_roster(it.site.store, Layout("pump")).devices.values()
    assert len(status.steps) == 8
    assert list(status.refused)[-1] == f"{99:064}"


def test_alone_for_too_long_it_goes_on_and_says_so(it: Deployment, edgeloop: Edgeloop) -> None:
    (it.site.directory / "loop.toml").write_text(LOOP)
    loop, store = it.site.directory / "loop.toml", it.site.store.url
    now = it.site.clock.now
    for days, stale in ((30, False), (31, True), (-400, False)):  # max_offline_days is 30
        it.site.clock.now = now + days * DAY
        with it.site.open("dev") as device:
            device.exchange()
            assert device.predict(WRONG).label is not None
            assert (device.status().verified_at, device.status().stale) == (now, stale)
            text = Metrics(device, Pulse()).text().decode()
        samples = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
        assert samples["edgeloop_stale"] == stale
        assert samples["edgeloop_verified_timestamp_seconds"] == now.timestamp()
        assert edgeloop("device", "status", it.home)["update"]["state"] in ("refused-metadata", "up-to-date")
    # Its last word is from long ago, and the centre can reckon.
    assert edgeloop("fleet", "status", loop, "--store", store)["stale"] == ["dev"]


def test_a_status_of_an_older_device_is_read() -> None:
    update = UpdateState("idle", "", START)
    status = DeviceStatus(1, "pump", "d", START, 1, 0, 0, 0, 0, "", "", False, update, {}, {}, 0, 0, "onnx")
    older = msgspec.to_builtins(status)
    for key in ("steps", "verified_at", "stale"):
        del older[key]
    assert decode_status(msgspec.json.encode(older)) == status
