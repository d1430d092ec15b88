"""TFLite models through `tflite_runtime`, or its successor `ai_edge_litert`; float or quantised."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.errors import ModelError


class TfliteModel:
    """A TFLite classifier: one input (1, d), one output (1, k), each float32 or int8/uint8 with its quantisation.

    Raises:
        ModelError: the file cannot be loaded, or its input or output is of another shape.
    """

    def __init__(self, path: Path, features: int, classes: int, threads: int = 1) -> None:
        try:
            self._interpreter = _interpreter_class()(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path.name} cannot be loaded: {str(error)[:200]}.", remedy="Publish the release again."
            ) from error
        (self._input,), (self._output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shapes = tuple(self._input["shape"]), tuple(self._output["shape"])
        if shapes != ((1, features), (1, classes)):
            raise ModelError(f"{path.name} maps {shapes[0]} to {shapes[1]}, not (1, {features}) to (1, {classes}).")
        self._values = np.zeros((1, features), np.float32)

    def probabilities(self, row: Sequence[float]) -> list[float]:
        self._values[0] = row
        self._interpreter.set_tensor(self._input["index"], _quantised(self._values, self._input))
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._output["index"])
        scale, zero = self._output["quantization"]
        values = raw if not scale else (raw.astype(np.float32) - zero) * scale
        found: list[float] = values[0].tolist()
        return found

    def probabilities_many(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        return [self.probabilities(row) for row in rows]  # another number of rows would allocate every tensor anew


def _quantised(row: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    # real = scale * (stored - zero point), the TFLite quantisation specification. A network has no NaN, so no release that may be
    # given one is taken any more; to one that was taken before, missing is 0.
    scale, zero = detail["quantization"]
    np.nan_to_num(row, copy=False, nan=0.0)
    if not scale:
        return row
    bounds = np.iinfo(detail["dtype"])
    stored: np.ndarray[Any, Any] = np.clip(np.round(row / scale) + zero, bounds.min, bounds.max)
    return stored.astype(detail["dtype"])


def _interpreter_class() -> Any:
    package = "tflite_runtime" if find_spec("tflite_runtime") else "ai_edge_litert"
    try:
        return import_module(f"{package}.interpreter").Interpreter
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"{package} is installed but cannot run: {error}.",
            remedy="tflite-runtime needs numpy below 2; use an environment of its own, or ai-edge-litert.",
        ) from error
