"""Networks for tests that need a model and no trainer: softmax(W x + b), as files beside this, and what each gives.

The files are made by `python -m tests.edge_runtime.networks.write`, which needs more than a device has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

FILES = {"onnx": "network.onnx", "tflite": "network.tflite", "int8": "network-int8.tflite"}
"""By kind: a float32 network for each runtime, and one whose input, weights and output are int8."""

W = np.array([[-1.0, -1.0, 0.01, 0.0], [1.0, 1.0, -0.01, 0.0]], np.float32)
B = np.array([0.1, -0.1], np.float32)
"""Four inputs as the features of `tests.site.LOOP`: it is the second of two classes, more or less, when a + b is over 0."""

INPUT = (0.125, -64)
"""Scale and zero point of the int8 network's input: from -8 to 23.875."""

TOLERANCE = {"onnx": 1e-6, "tflite": 1e-6, "int8": 0.1}
"""How near a probability is to the formula's. In int8, half a step of two inputs and of two logits makes 3/8 between the logits,
and a softmax of two is no steeper than 1/4."""


def path(kind: str) -> Path:
    """The model file of a kind."""
    return Path(__file__).with_name(FILES[kind])


def runtime(kind: str) -> str:
    """Which runtime it is for."""
    return "onnx" if kind == "onnx" else "tflite"


def expected(row: Sequence[float]) -> list[float]:
    """The probabilities for a row of inputs, by the formula; what is missing (NaN) is 0."""
    z = W.astype(float) @ np.nan_to_num(np.array(row, float)) + B
    e = np.exp(z - z.max())
    found: list[float] = (e / e.sum()).tolist()
    return found
