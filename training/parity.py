"""The parity proof: the ONNX model gives the trained model's answers, on every row of the validation set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.scoring import OnnxScorer
from training.trainers import Trained


@dataclass(frozen=True)
class ParityProof:
    """`largest_difference` of a probability, and `labels_differing`, over `rows` rows; `holds` within the tolerance."""

    rows: int
    largest_difference: float
    labels_differing: int
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.rows > 0 and self.labels_differing == 0 and self.largest_difference <= self.tolerance


def prove(trained: Trained, onnx: bytes, X: NDArray[np.float32], tolerance: float) -> ParityProof:
    """Run both over X (n, d) and compare labels and probabilities.

    Labels are compared where the trained model's two best probabilities are further apart than the tolerance: nearer than
    that the order is rounding, and the probabilities are held to the tolerance all the same.
    """
    expected = np.asarray(trained.predict_proba(X))
    labels, found = OnnxScorer(onnx).run(X)
    if found.shape != expected.shape:
        return ParityProof(len(X), float("inf"), len(X), tolerance)
    best = np.sort(expected, axis=1)
    decided = best[:, -1] - best[:, -2] > tolerance
    differing = int(((labels != expected.argmax(axis=1)) & decided).sum())
    return ParityProof(len(X), float(np.abs(found - expected).max(initial=0.0)), differing, tolerance)
