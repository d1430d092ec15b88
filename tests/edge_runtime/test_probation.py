"""Releases that are bad on the device itself: refused or put back without a network, and never the end of the process for ever."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edge_runtime import releases
from edge_runtime.daemon import Reading, serve
from edge_runtime.device import Device
from edgeloop.errors import ConfigError, DataError
from edgeloop.manifest import ReleaseManifest, decode_manifest
from tests.edge_runtime.releases import KINDS, loop_for, release, release_to_everyone, site
from tests.site import Site, make_site, predict, readings

__all__ = ["site"]

LIMIT = 3  # [device] crash_limit


def staged(site: Site) -> str:
    """The device has r0002 on probation; its digest."""
    digest = release_to_everyone(site, 9)
    with site.open("dev") as device:
        device.poll()
        assert device.status().on_probation
    return digest


def killed(site: Site, does: str) -> None:
    """A process that opens the device, does something and is killed."""
    code = f"""
import os, signal
from datetime import datetime
from pathlib import Path
from edge_runtime.device import Device
from edge_runtime.releases import Release
from edgeloop.clock import SimulatedClock
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
clock = SimulatedClock(datetime.fromisoformat({site.clock.now.isoformat()!r}))
with Device.open(Path({str(site.directory / "devices/dev")!r}), clock=clock) as device:
    {does}
    die()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9


def test_clean_restarts_are_no_crash_loop_and_probation_ends(site: Site) -> None:
    staged(site)
    for _ in range(5):  # more than the crash limit, a reading each, as cron would have it
        with site.open("dev") as device:
            assert device.status().release_id == "r0002"
            predict(device, 1)
    with site.open("dev") as device:
        assert not device.status().on_probation
        assert device.status().release_id == "r0002"
        assert not device.status().refused


def test_a_release_waits_for_its_hours_and_the_first_one_does_not(tmp_path: Path) -> None:
    site = make_site(tmp_path, loop_for(KINDS[0]).replace("[device]", '[device]\nwindow = "22:00-06:00"'))
    release(site, 8, KINDS[0])
    site.clock.now = site.clock.now.replace(hour=12)
    with site.open("dev") as device:
        device.poll()
        predict(device, 10)
        assert device.status().release_id == "r0001"
        release_to_everyone(site, 9)
        site.clock.now = site.clock.now.replace(hour=12)
        device.poll()
        assert device.status().update.state == "waiting"
        assert "22:00-06:00" in device.status().update.reason
        site.clock.now = site.clock.now.replace(hour=23)
        device.poll()
        assert device.status().release_id == "r0002"


def test_a_release_comes_in_while_predictions_go_on(site: Site) -> None:
    release_to_everyone(site, 9)
    releases_seen, labels = list[str](), list[str | None]()
    deadline = time.monotonic() + 20

    with site.open("dev") as device:

        def feed() -> Iterator[Reading]:
            while releases_seen[-1:] != ["r0002"] or device.status().on_probation:
                assert time.monotonic() < deadline
                yield None, readings(1)[0]
                releases_seen.append(device.status().release_id)

        serve(device, feed(), timedelta(milliseconds=10), lambda answer: labels.append(answer.label))
        status = device.status()
    assert None not in labels
    assert set(releases_seen) == {"r0001", "r0002"}
    assert status.acked == status.produced == 10 + len(labels)


def test_being_asked_to_end_is_a_clean_end_and_a_failure_is_not(site: Site) -> None:
    digest = staged(site)
    for error in (KeyboardInterrupt(), SystemExit(), DataError("a damaged file of readings")) * LIMIT:
        with pytest.raises(type(error)), site.open("dev"):
            raise error
    for _ in range(LIMIT):
        with pytest.raises(ZeroDivisionError), site.open("dev"):
            raise ZeroDivisionError
    with site.open("dev") as device:
        assert device.status().release_id == "r0001"
        assert "crash loop" in device.status().refused[digest]


def test_a_crash_loop_is_ended_offline(site: Site) -> None:
    digest = staged(site)
    for _ in range(LIMIT):
        killed(site, "device.predict({'a': 1.0})")
    with site.open("dev") as device:
        assert device.status().update.state == "rolled-back"
        assert "crash loop" in device.status().refused[digest]
        assert device.status().release_id == "r0001"
        assert predict(device, 20) > 10


def test_a_self_test_that_ends_the_process_ends_it_a_few_times_only(site: Site) -> None:
    digest = release_to_everyone(site, 9)
    for _ in range(LIMIT):
        killed(site, "Release.disagreement = die; device.poll()")
    with site.open("dev") as device:
        device.poll()
        assert device.status().release_id == "r0001"
        assert device.status().refused[digest] == f"the self-test ended the process {LIMIT} times"


def cut(content: bytes) -> ReleaseManifest:
    """A manifest whose golden vectors are a value short."""
    manifest = decode_manifest(content)
    golden = msgspec.structs.replace(manifest.golden, inputs=tuple(row[1:] for row in manifest.golden.inputs))
    return msgspec.structs.replace(manifest, golden=golden)


def test_a_self_test_that_raises_refuses_the_release(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = release_to_everyone(site, 9)
    with site.open("dev") as device:
        monkeypatch.setattr(releases, "decode_manifest", cut)
        device.poll()
        monkeypatch.undo()
        assert device.status().update.state == "self-test-failed"
        assert "ValueError" in device.status().refused[digest]
        assert [folder.name for folder in (device.home / "models").iterdir()] == [device.status().release]
        device.poll()
        assert device.status().update.state == "refused-release"
        assert predict(device, 20) > 10


def model_class(device: Device) -> type:
    assert device._running.release is not None
    return type(device._running.release.model)


def fail(*_: object) -> list[float]:
    raise RuntimeError("the runtime is out of order")


def test_a_model_that_fails_on_probation_is_put_back_and_the_old_one_answers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = staged(site)
    with site.open("dev") as device:
        assert device._running.release is not None
        monkeypatch.setattr(device._running.release, "model", type("Broken", (), {"probabilities": fail})())
        assert predict(device, 1) <= 1
        status = device.status()
        assert (status.release_id, status.update.state) == ("r0001", "rolled-back")
        assert "out of order" in status.refused[digest]


def test_a_committed_model_that_fails_leaves_an_event_without_a_prediction(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.open("dev") as device:
        monkeypatch.setattr(model_class(device), "probabilities", fail)
        found = device.predict(readings(1)[0])
        assert (found.label, found.confidence) == (None, None)
        device.flush()
        (event,) = device._spool.oldest(1000)[-1:]
        assert (event.seq, event.release, event.prediction) == (found.seq, device.status().release, None)
        assert "out of order" in device.status().update.reason
        monkeypatch.undo()
        assert device.predict(readings(1)[0]).label is not None


def test_not_a_number_on_probation_is_put_back_and_the_old_one_answers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = staged(site)
    with site.open("dev") as device:
        assert device._running.release is not None
        monkeypatch.setattr(device._running.release.model, "probabilities", lambda *_: [math.nan, math.nan])
        assert device.predict(readings(1)[0]).label is not None
        assert device.status().refused[digest] == "a prediction was not a number"
        assert device.status().release_id == "r0001"


def files(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("damaged", [False, True])
def test_looking_changes_nothing(site: Site, damaged: bool) -> None:
    home = site.directory / "devices/dev"
    staged(site)
    if damaged:
        for model in home.glob("models/*/model.*"):
            model.write_bytes(b"x")
    before = files(home)
    for _ in range(2 * LIMIT):
        with Device.inspect(home, clock=site.clock) as device:
            assert device.status().on_probation
            assert device.status().update.state == ("refused-release" if damaged else "probation")
    assert files(home) == before


def test_a_running_device_can_be_looked_at_and_not_run_twice(site: Site) -> None:
    home = site.directory / "devices/dev"
    with site.open("dev") as device:
        predict(device, 30)
        device.flush()
        with Device.inspect(home, clock=site.clock) as seen:
            assert seen.status().produced == device.status().produced
        with pytest.raises(ConfigError, match="another process runs the device"), site.open("dev"):
            pass
        predict(device, 1)
    with site.open("dev"):
        pass
