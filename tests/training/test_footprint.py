"""What a model takes of memory, for each runtime; a file's length would not do, and a device goes by it before it fetches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import ModelError
from tests.edge_runtime import networks
from tests.edge_runtime.networks.write import wide_network
from tests.edge_runtime.releases import IMPUTED, ROWS, release
from tests.site import make_site
from training.footprint import artefact_of, memory_of

MIB = 2**20
GOLDEN = np.array(ROWS, np.float32)


@pytest.mark.parametrize("kind", networks.FILES)
def test_a_small_network_takes_little_of_any_runtime(kind: str) -> None:
    assert memory_of(networks.runtime(kind), networks.path(kind).read_bytes(), GOLDEN) in (0, MIB, 2 * MIB)


def test_a_device_with_less_memory_than_was_measured_fetches_no_tflite_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = wide_network(50_000)
    measured = artefact_of("tflite", "models/pump/r0001.tflite", model, GOLDEN)
    assert measured.memory > len(model) > MIB  # its weights are there twice
    site = make_site(tmp_path, IMPUTED)
    digest = release(site, 8, "tflite", model, measured.memory)
    with site.open("dev") as device:
        monkeypatch.setattr("edge_runtime.updater.memory_available", lambda: 1.2 * measured.memory)
        device.poll()
        assert device.status().update.state == "no-room"
        assert not list(device.home.glob("models/*/model.*"))
        monkeypatch.setattr("edge_runtime.updater.memory_available", lambda: 1.3 * measured.memory)
        device.poll()
        assert device.status().release == digest


@pytest.mark.parametrize("runtime", ["onnx", "tflite"])
def test_what_cannot_be_measured_is_said(runtime: str) -> None:
    with pytest.raises(ModelError, match=f"memory of a {runtime} model failed: .*"):
        memory_of(runtime, b"no model", GOLDEN)
