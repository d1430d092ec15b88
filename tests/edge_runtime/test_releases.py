"""What is taken of a release, and when its model comes into memory."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import weakref
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_runtime import onnx, releases
from edge_runtime.releases import choose_artefact
from edgeloop.errors import ModelError, NoRoom
from edgeloop.manifest import Artefact, ReleaseManifest
from tests.edge_runtime import networks
from tests.edge_runtime.catalogue import WRONG, changed, one_class
from tests.edge_runtime.releases import release
from tests.integration.test_trust import predict, release_to_everyone
from tests.integration.test_trust import site as released
from tests.site import Site, make_site, pass_probation, readings

__all__ = ["released"]

MB = 1_000_000


def choose(
    manifest: ReleaseManifest, *models: tuple[str, int, int], model_mb: float = 5, memory: float = 100 * MB
) -> int:
    """Which of `models` (runtime, length, memory) is taken."""
    artefacts = tuple(Artefact(runtime, f"{i}", f"{i}", *sizes) for i, (runtime, *sizes) in enumerate(models))
    return int(choose_artefact(replace(manifest, models=artefacts), model_mb, memory).target)


def test_the_first_that_runs_here_and_fits_is_taken(released: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with released.open("dev") as device:
        assert device._running.release is not None
        manifest = device._running.release.manifest
    monkeypatch.setattr(releases, "runtimes_here", lambda: ("onnx",))
    small, large, hungry, foreign = ("onnx", MB, MB), ("onnx", 6 * MB, MB), ("onnx", MB, 81 * MB), ("other", 1, 1)
    assert choose(manifest, foreign, large, hungry, small, small) == 3
    assert choose(manifest, ("onnx", MB, 0), memory=0) == 0  # not known: from before it was measured
    assert choose(manifest, ("onnx", 5 * MB, 80 * MB)) == 0
    with pytest.raises(ModelError, match=r"comes for other, other, this device runs onnx"):
        choose(manifest, foreign, foreign)
    with pytest.raises(ModelError, match=r"has 6\.0 MB, this device takes 5 MB .* raise model_mb"):
        choose(manifest, large, foreign)
    with pytest.raises(NoRoom, match=r"r0001 needs 101\.2 MB of memory, 100\.0 MB are free"):
        choose(manifest, large, hungry)


LOOK = """
import sys
from pathlib import Path
from edge_runtime.device import Device
from edgeloop.store import open_store
home = Path(sys.argv[1])
with Device.inspect(home) as device:
    assert device.status().release_id == "r0001", device.status()
    assert device.status().runtime == "onnx"
with Device.visit(home, open_store(sys.argv[2])) as device:
    device.report()
    device.poll()
    assert device.status().release_id == "r0001"
assert "onnxruntime" not in sys.modules
"""


def test_who_only_looks_loads_no_model(released: Site) -> None:
    home = released.directory / "devices/dev"
    subprocess.run([sys.executable, "-c", LOOK, home, released.directory / "store"], check=True)


def test_a_model_that_cannot_be_loaded_empties_its_slot(released: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelError("it cannot be loaded")

    monkeypatch.setattr(releases, "load_model", fail)
    with released.open("dev") as device:
        assert device.predict(readings(1)[0]).label is None
        assert "cannot be loaded" in device.status().update.reason
        assert device.status().release == ""


def test_a_device_that_goes_back_by_hand_goes_on_predicting(released: Site) -> None:
    release_to_everyone(released, 9)
    with released.open("dev") as device:
        device.poll()
        assert device.status().on_probation
        device.roll_back("looks odd")
        assert device.status().release_id == "r0001"
        predict(device, 3)


def test_two_models_are_in_memory_at_the_most(released: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst case: the second is given up for the first while the third is being tested."""
    alive: weakref.WeakSet[onnx.OnnxModel] = weakref.WeakSet()
    most, testing, go_on = 0, threading.Event(), threading.Event()
    load = releases.load_model

    def counting(path: Path, *arguments: int) -> object:
        nonlocal most
        model = load(path, *arguments)  # type: ignore[arg-type]
        alive.add(model)  # type: ignore[arg-type]
        most = max(most, len(alive))
        if len(seen := {*counted, path}) > len(counted):
            counted.update(seen)
            if len(counted) == 3:
                testing.set()
                assert go_on.wait(20)
        return model

    counted: set[Path] = set()
    monkeypatch.setattr(releases, "load_model", counting)
    with released.open("dev") as device:
        predict(device, 1)
        release_to_everyone(released, 9)
        device.poll()  # and no reading before the next
        assert device.status().on_probation
        release_to_everyone(released, 10)
        poll = threading.Thread(target=device.poll)
        poll.start()
        assert testing.wait(20)

        device._running.release.model._row = None  # type: ignore[union-attr]  # it raises from now on
        assert predict(device, 1) >= 0
        assert device.status().release_id == "r0001"
        go_on.set()
        poll.join()
        assert device.status().release_id == "r0003", device.status().update
    assert most == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_for_one_class_is_no_answer(tmp_path: Path, value: float) -> None:
    """The other classes still have numbers, which would be an answer, and one without end takes the whole batch into quarantine."""
    site = make_site(tmp_path)
    release(site, 8, "onnx", changed(networks.path("onnx").read_bytes(), partial(one_class, value)))
    pass_probation(site)
    with site.open("dev") as device:
        answers = [device.predict(WRONG), *device.predict_many([WRONG, *readings(1)])]
    assert [answer.reason for answer in answers] == ["the model gave no number"] * 2 + [""]
    assert answers[2].label
