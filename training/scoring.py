"""Running an ONNX model over many rows, as the centre does to judge what devices will do."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edgeloop.errors import ModelError

_FAILURES = (native.Fail, native.InvalidArgument, native.InvalidGraph, native.InvalidProtobuf, native.NotImplemented)
_REMEDY = "If a trainer of your own made it, compare its to_onnx with training.trainers.Trained."


class OnnxScorer:
    """An ONNX classifier in memory: `features` float32 (N, d) to `probabilities` float32 (N, k).

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, content: bytes) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except _FAILURES as error:
            raise ModelError(f"the ONNX model cannot be loaded: {error}.", remedy=_REMEDY) from error

    def run(self, X: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels (n,) and probabilities (n, k) for rows (n, d).

        Raises:
            ModelError: its inputs or outputs are others, or a probability is not finite.
        """
        try:
            labels, found = self._session.run(
                ["label", "probabilities"], {"features": np.ascontiguousarray(X, np.float32)}
            )
        except (*_FAILURES, ValueError) as error:  # ValueError: a name that the model does not have
            raise ModelError(f"the ONNX model cannot be run on rows {X.shape}: {error}.", remedy=_REMEDY) from error
        probabilities = np.asarray(found, np.float32)
        if not np.isfinite(probabilities).all():
            raise ModelError("the ONNX model gives probabilities that are not finite.", remedy=_REMEDY)
        return np.asarray(labels, np.int64).reshape(-1), probabilities

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, k) for rows (n, d)."""
        return self.run(X)[1]
