"""How good a model is on labelled rows: over all, by device."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss

from training.rows import Rows


@dataclass(frozen=True)
class Metrics:
    """Weighted accuracy, macro-F1 over the classes that occur, and log loss in nats, over `rows` rows."""

    rows: int
    accuracy: float
    macro_f1: float
    log_loss: float
    by_device: dict[str, float] = field(default_factory=dict)


def evaluate(rows: Rows, probabilities: NDArray[np.floating]) -> Metrics:
    """Judge `probabilities` (n, k) on the same n rows, at least one."""
    predicted = probabilities.argmax(axis=1)
    present = np.unique(rows.y)
    right = (predicted == rows.y).astype(np.float64)
    shares = probabilities / probabilities.sum(axis=1, keepdims=True)
    return Metrics(
        rows=len(rows),
        accuracy=float(accuracy_score(rows.y, predicted, sample_weight=rows.weight)),
        macro_f1=float(
            f1_score(rows.y, predicted, labels=present, average="macro", sample_weight=rows.weight, zero_division=0.0)
        ),
        log_loss=float(log_loss(rows.y, shares, labels=np.arange(shares.shape[1]), sample_weight=rows.weight)),
        by_device={
            str(name): float(np.average(right[mine], weights=rows.weight[mine]))
            for name in np.unique(rows.device)
            if (mine := rows.device == name).any()
        },
    )
