"""One model interface over the runtimes, and which of them are here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from edgeloop.errors import ModelError

RUNTIMES = {"onnx": ("onnxruntime",), "tflite": ("tflite_runtime", "ai_edge_litert")}
"""A runtime of a release and the packages that can run it, the preferred first."""

EXTRAS = {"onnx": "edge", "tflite": "litert"}


class Model(Protocol):
    """A loaded model. Not for several threads at once: its buffers are its own and used again."""

    def probabilities(self, row: Sequence[float]) -> list[float]:
        """One probability a class for one row of inputs, NaN for what is missing."""

    def probabilities_many(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """The same for each of `rows`, in one call of the runtime where it and the model allow that."""


def runtimes_here() -> tuple[str, ...]:
    """The runtimes that this installation can run."""
    return tuple(name for name, packages in RUNTIMES.items() if any(find_spec(p) for p in packages))


def load_model(path: Path, runtime: str, features: int, classes: int, threads: int = 1) -> Model:
    """Load a model file.

    Args:
        features: how many inputs a row has.
        classes: how many probabilities must come out.

    Raises:
        ModelError: the runtime is not installed, the file is none of its, or inputs and outputs are of other shapes.
    """
    if runtime not in RUNTIMES:
        raise ModelError(f"no runtime is called {runtime!r}.", remedy=f"Known: {', '.join(RUNTIMES)}.")
    if runtime not in runtimes_here():
        raise ModelError(
            f"this device cannot run {runtime} models: {' or '.join(RUNTIMES[runtime])} is not installed.",
            remedy=f"pip install 'edgeloop[{EXTRAS[runtime]}]'",
        )
    if runtime == "onnx":
        from edge_runtime.onnx import OnnxModel

        return OnnxModel(path, features, classes, threads)
    from edge_runtime.tflite import TfliteModel

    return TfliteModel(path, features, classes, threads)
