"""The TFLite adapter on a network written with the schema that the runtime ships: softmax(W x + b), float and int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.model import load_model
from edgeloop.errors import ModelError

W = np.array([[2.0, -1.0, 0.5], [-2.0, 1.0, 0.5]], np.float32)
B = np.array([0.1, -0.1], np.float32)


def network(path: Path) -> Path:
    """One fully connected layer and a softmax, 3 inputs, 2 classes."""
    flatbuffers = pytest.importorskip("flatbuffers", reason="pip install 'edgeloop[litert]'")
    tfl = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="pip install 'edgeloop[litert]'")

    def tensor(shape: list[int], buffer: int, name: str) -> object:
        made = tfl.TensorT()
        made.shape, made.type, made.buffer, made.name = shape, tfl.TensorType.FLOAT32, buffer, name
        return made

    def buffer(values: np.ndarray | None) -> object:
        made = tfl.BufferT()
        made.data = None if values is None else np.frombuffer(values.tobytes(), np.uint8)
        return made

    def operator(index: int, inputs: list[int], outputs: list[int], kind: int, options: object) -> object:
        made = tfl.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = index, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    softmax = tfl.SoftmaxOptionsT()
    softmax.beta = 1.0
    graph = tfl.SubGraphT()
    graph.tensors = [
        tensor([1, 3], 1, "x"),
        tensor([2, 3], 2, "w"),
        tensor([2], 3, "b"),
        tensor([1, 2], 4, "z"),
        tensor([1, 2], 5, "p"),
    ]
    graph.inputs, graph.outputs = [0], [4]
    dense = operator(0, [0, 1, 2], [3], tfl.BuiltinOptions.FullyConnectedOptions, tfl.FullyConnectedOptionsT())
    graph.operators = [dense, operator(1, [3], [4], tfl.BuiltinOptions.SoftmaxOptions, softmax)]
    model = tfl.ModelT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers = [buffer(None), buffer(None), buffer(W), buffer(B), buffer(None), buffer(None)]
    model.operatorCodes = []
    for code in (tfl.BuiltinOperator.FULLY_CONNECTED, tfl.BuiltinOperator.SOFTMAX):
        made = tfl.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = code
        made.version = 1
        model.operatorCodes.append(made)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_a_network_gives_the_softmax_of_its_layer(tmp_path: Path) -> None:
    model = load_model(network(tmp_path / "model.tflite"), "tflite", 3, 2)
    for row in ([0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [-3.0, 0.5, 9.0]):
        z = W @ np.array(row, np.float32) + B
        expected = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        assert model.probabilities(row) == pytest.approx(expected.tolist(), abs=1e-6)
        assert model.probabilities_many([row, row]) == [model.probabilities(row)] * 2


def test_wrong_shapes_and_torn_files_are_refused(tmp_path: Path) -> None:
    path = network(tmp_path / "model.tflite")
    with pytest.raises(ModelError, match=r"maps \(1, 3\) to \(1, 2\)|maps"):
        load_model(path, "tflite", 4, 2)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(path, "tflite", 3, 2)
