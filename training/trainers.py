"""Trainers: what makes a model from rows. The built-in one is LightGBM; a user's own comes by entry point.

[project.entry-points."edgeloop.trainers"]
mine = "my_package:train"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeloop.config import Training
from edgeloop.errors import ConfigError

GROUP = "edgeloop.trainers"
Parameters = Mapping[str, float | int | str | bool]


class Trained(Protocol):
    """A trained classifier that can become ONNX."""

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities (n, k) for rows (n, d)."""

    def to_onnx(self) -> bytes:
        """An ONNX model: `features` float32 (N, d) to `label` int64 (N,) and `probabilities` float32 (N, k)."""

    def importance(self) -> NDArray[np.float64]:
        """How much each of the d features matters; any scale."""


class Trainer(Protocol):
    """A function from rows to a model."""

    def __call__(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.int64],
        weight: NDArray[np.float32],
        classes: Sequence[str],
        parameters: Parameters,
        seed: int,
    ) -> Trained:
        """Train on rows X (n, d), class indices y (n,) and weights (n,). The same arguments must give the same model."""


def check_trainer(training: Training) -> None:
    """Raise the `ConfigError` that a training would end with: before a long run, not in the middle of it."""
    find_trainer(training.trainer)
    if training.trainer == "lightgbm":
        from training.boosting import check_parameters

        check_parameters(training.parameters)


def all_parameters(training: Training) -> dict[str, float | int | str | bool]:
    """The parameters of a training, with the built-in trainer's defaults where none is set."""
    if training.trainer != "lightgbm":
        return dict(training.parameters)
    from training.boosting import DEFAULTS

    return DEFAULTS | training.parameters


def find_trainer(name: str) -> Trainer:
    """The trainer called `name`. Raises `ConfigError` if there is none."""
    if name == "lightgbm":
        from training.boosting import train

        return train
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted({"lightgbm", *found}))
        raise ConfigError(f"training.trainer is {name!r}, which is not installed.", remedy=f"Installed: {known}.")
    trainer: Trainer = found[name].load()
    return trainer
