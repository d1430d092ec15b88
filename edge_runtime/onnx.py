"""ONNX models through onnxruntime, with buffers bound once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgeloop.errors import ModelError


class OnnxModel:
    """An ONNX classifier: input `features` float32 (N, d), output `probabilities` float32 (N, k).

    Raises:
        ModelError: the file cannot be loaded, or its input or output is of another shape.
    """

    def __init__(self, path: Path, features: int, classes: int, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base
            raise ModelError(
                f"{path.name} cannot be loaded: {str(error)[:200]}.", remedy="Publish the release again."
            ) from error
        self._demand_shapes(path, features, classes)
        self._one_by_one = isinstance(self._session.get_inputs()[0].shape[0], int)  # else a name, for any number
        self._input = np.full((1, features), np.nan, np.float32)
        self._output = np.zeros((1, classes), np.float32)
        self._row = self._input[0]
        self._binding = self._session.io_binding()
        self._binding.bind_output("probabilities", "cpu", 0, np.float32, self._output.shape, self._output.ctypes.data)
        # A bound input made from an array shares its memory, so writing a row into it is all that a call needs.
        self._binding.bind_input("features", "cpu", 0, np.float32, self._input.shape, self._input.ctypes.data)

    def probabilities(self, row: Sequence[float]) -> list[float]:
        self._row[:] = row
        self._session.run_with_iobinding(self._binding)
        found: list[float] = self._output[0].tolist()
        return found

    def probabilities_many(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        if self._one_by_one:
            return [self.probabilities(row) for row in rows]
        (found,) = self._session.run(["probabilities"], {"features": np.asarray(rows, np.float32)})
        batch: list[list[float]] = found.tolist()
        return batch

    def _demand_shapes(self, path: Path, features: int, classes: int) -> None:
        inputs = {i.name: i.shape for i in self._session.get_inputs()}
        outputs = {o.name: o.shape for o in self._session.get_outputs()}
        if list(inputs) != ["features"] or inputs["features"][-1] != features:
            raise ModelError(
                f"{path.name} takes {inputs}, not features of shape (N, {features}).", remedy="Train it on this schema."
            )
        if "probabilities" not in outputs or outputs["probabilities"][-1] not in (classes, None):
            raise ModelError(
                f"{path.name} gives {outputs}, not {classes} probabilities.", remedy="Convert it with edgeloop."
            )
