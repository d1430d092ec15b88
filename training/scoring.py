"""Running an ONNX model over many rows, as the centre does to judge what devices will do."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray


class OnnxScorer:
    """An ONNX classifier in memory: `features` float32 (N, d) to `probabilities` float32 (N, k)."""

    def __init__(self, content: bytes) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(self, X: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels (n,) and probabilities (n, k) for rows (n, d)."""
        labels, probabilities = self._session.run(
            ["label", "probabilities"], {"features": np.ascontiguousarray(X, np.float32)}
        )
        return np.asarray(labels, np.int64).reshape(-1), np.asarray(probabilities, np.float32)

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, k) for rows (n, d)."""
        return self.run(X)[1]
