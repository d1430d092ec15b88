"""LightGBM, and its way to ONNX."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, ModelError
from training.trainers import Parameters

try:
    import lightgbm as lgb
except OSError as error:  # the wheel needs a system library that slim images leave out
    raise ModelError(
        f"LightGBM cannot be loaded: {error}.", remedy="Install libgomp, on Debian: apt-get install libgomp1."
    ) from error

OPSET = 15
"""The newest that the oldest runtime we support reads."""

DEFAULTS: dict[str, Any] = {"trees": 60, "leaves": 31, "learning_rate": 0.15, "max_bin": 63, "min_rows_in_leaf": 20}
_LEAST: dict[str, float] = {"trees": 1, "leaves": 2, "learning_rate": 1e-6, "max_bin": 2, "min_rows_in_leaf": 1}
_NAMES = {
    "leaves": "num_leaves",
    "learning_rate": "learning_rate",
    "max_bin": "max_bin",
    "min_rows_in_leaf": "min_data_in_leaf",
}


class BoostedTrees:
    """A trained LightGBM model of `classes` classes."""

    def __init__(self, booster: lgb.Booster, classes: int) -> None:
        self._booster, self._classes = booster, classes

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        found = np.asarray(self._booster.predict(X))
        return found if found.ndim == 2 else np.column_stack([1 - found, found])

    def importance(self) -> NDArray[np.float64]:
        return np.asarray(self._booster.feature_importance("gain"), np.float64)

    def to_onnx(self) -> bytes:
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        features = self._booster.num_feature()
        booster = lgb.Booster(model_str=round_thresholds(self._booster.model_to_string()))
        with _quiet():
            model = convert_lightgbm(
                booster,
                initial_types=[("features", FloatTensorType([None, features]))],
                zipmap=False,
                target_opset=OPSET,
                name="edgeloop",
            )
        return _declare(model, self._classes)


def train(
    X: NDArray[np.float32],
    y: NDArray[np.int64],
    weight: NDArray[np.float32],
    classes: Sequence[str],
    parameters: Parameters,
    seed: int,
) -> BoostedTrees:
    """Train boosted trees; classes that no row has are allowed.

    Raises:
        ConfigError: a parameter is not one of `DEFAULTS`, or no number that LightGBM takes.
    """
    check_parameters(parameters)
    chosen = DEFAULTS | dict(parameters)
    settings = {_NAMES[name]: value for name, value in chosen.items() if name in _NAMES}
    binary = len(classes) == 2
    settings |= {"objective": "binary"} if binary else {"objective": "multiclass", "num_class": len(classes)}
    settings |= {"seed": seed, "deterministic": True, "force_row_wise": True, "verbose": -1}
    data = lgb.Dataset(X, y, weight=weight, params={"verbose": -1})
    return BoostedTrees(lgb.train(settings, data, int(chosen["trees"])), len(classes))


def check_parameters(parameters: Parameters) -> None:
    """Raise `ConfigError` as `train` would.

    Here and not by LightGBM, which says what it refuses on stdout, and that belongs to --json.
    """
    for name, value in parameters.items():
        if name not in DEFAULTS:
            raise ConfigError(f"training.parameters has {name!r}.", remedy=f"LightGBM's are: {', '.join(DEFAULTS)}.")
        kinds = (int, float) if isinstance(DEFAULTS[name], float) else (int,)
        if type(value) not in kinds or not float(value) >= _LEAST[name]:
            what = "number" if float in kinds else "whole number"
            raise ConfigError(
                f"training.parameters.{name} is {value!r}.",
                remedy=f"Give a {what} of at least {_LEAST[name]:g}, such as {DEFAULTS[name]}.",
            )


def round_thresholds(model: str) -> str:
    """The text of a LightGBM model with every threshold rounded *down* to a float32.

    A split asks `x <= t` with t in float64, ONNX with t in float32. Rounded to the nearest, t can rise onto the next float32,
    and a row with just that value changes sides. Rounded down, the answer is the same for every float32 x.
    """

    def rounded(line: re.Match[str]) -> str:
        values = np.array(line[1].split(), np.float64)
        # "Missing or not" is a split at 1e300: over float32's range it becomes the largest float32, which asks the same.
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        single = np.where(single > values, np.nextafter(single, np.float32(-np.inf)), single)
        return "threshold=" + " ".join(repr(float(v)) for v in single)

    # `tree_sizes` are byte lengths that no longer hold; without them LightGBM reads tree by tree.
    return re.sub(r"^threshold=(.+)$", rounded, re.sub(r"^tree_sizes=.*\n", "", model, flags=re.M), flags=re.M)


def _declare(model: Any, classes: int) -> bytes:
    """Give the outputs our names and their true shapes (the converter says {1} for the label, and onnxruntime then warns at
    every batch), and the same model the same bytes."""
    graph = model.graph
    for output, name in zip(graph.output, ("label", "probabilities"), strict=True):
        for node in graph.node:
            node.output[:] = [name if o == output.name else o for o in node.output]
            node.input[:] = [name if i == output.name else i for i in node.input]
        output.name = name
        shape = output.type.tensor_type.shape
        del shape.dim[:]
        shape.dim.add().dim_param = "N"
        if name == "probabilities":
            shape.dim.add().dim_value = classes
    # The converter takes these from a set, in an order that changes from process to process.
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The converter prints its progress on stdout, which belongs to --json.
    with contextlib.redirect_stdout(io.StringIO()):
        yield
