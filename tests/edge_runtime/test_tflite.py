"""The TFLite adapter on networks of one layer, float and int8 throughout, with whichever runtime is here."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edge_runtime.model import load_model
from edgeloop.errors import ModelError
from tests.edge_runtime import networks

ROWS = ([0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 2.0, 5.0], [-3.0, 0.5, 1.0, 23.0], [math.nan, 2.0, math.nan, 0.0])


@pytest.mark.parametrize("kind", ["tflite", "int8"])
def test_a_network_gives_the_softmax_of_its_layer_as_near_as_its_numbers_are(kind: str) -> None:
    model = load_model(networks.path(kind), "tflite", 4, 2)
    for row in ROWS:
        expected = networks.expected(row)
        assert model.probabilities(row) == pytest.approx(expected, abs=networks.TOLERANCE[kind])
    assert model.probabilities_many(ROWS) == [model.probabilities(row) for row in ROWS]


def test_what_int8_cannot_hold_is_its_nearest_end() -> None:
    model = load_model(networks.path("int8"), "tflite", 4, 2)
    for far in (1e30, -1e30):
        end = max(-8.0, min(23.875, far))
        assert model.probabilities([far, 0.0, 0.0, 0.0]) == model.probabilities([end, 0.0, 0.0, 0.0])


def test_wrong_shapes_and_torn_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(networks.path("tflite").read_bytes())
    with pytest.raises(ModelError, match=r"maps \(1, 4\) to \(1, 2\)|maps"):
        load_model(path, "tflite", 3, 2)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(path, "tflite", 4, 2)
