"""Write the files of the networks, with the schemas that `onnx` and `ai-edge-litert` ship."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as tfl
from onnx import TensorProto, helper, numpy_helper

from tests.edge_runtime.networks import FILES, INPUT, B, W, path

WEIGHTS = 1.0 / 127
LOGITS = 0.125
"""Scales of the int8 network."""


def onnx_network() -> bytes:
    """NaN to 0, a Gemm, a Softmax and an ArgMax, as a release's model is to have them."""
    weights = [numpy_helper.from_array(a, n) for n, a in (("w", W), ("b", B), ("zero", np.zeros(1, np.float32)))]
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["x"]),
        helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["z"], ["label"], axis=1, keepdims=0),
    ]
    given = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 4])]
    found = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    graph = helper.make_graph(nodes, "network", given, found, weights)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8
    ).SerializeToString()
    assert onnx.load_from_string(content).opset_import[0].version == 15
    return content


def tflite_network(*, int8: bool) -> bytes:
    """A fully connected layer and a softmax."""
    kind = tfl.TensorType.INT8 if int8 else tfl.TensorType.FLOAT32
    w = np.round(W / WEIGHTS).astype(np.int8) if int8 else W
    b = np.round(B / (INPUT[0] * WEIGHTS)).astype(np.int32) if int8 else B
    of_b = tfl.TensorType.INT32 if int8 else tfl.TensorType.FLOAT32
    graph = tfl.SubGraphT()
    graph.tensors = [
        _tensor([1, 4], 1, "x", kind, *INPUT, int8=int8),
        _tensor([2, 4], 2, "w", kind, WEIGHTS, 0, int8=int8),
        _tensor([2], 3, "b", of_b, INPUT[0] * WEIGHTS, 0, int8=int8),
        _tensor([1, 2], 4, "z", kind, LOGITS, 0, int8=int8),
        _tensor([1, 2], 5, "p", kind, 1 / 256, -128, int8=int8),
    ]
    graph.inputs, graph.outputs = [0], [4]
    softmax = tfl.SoftmaxOptionsT()
    softmax.beta = 1.0
    options = tfl.BuiltinOptions
    graph.operators = [
        _operator(0, [0, 1, 2], [3], options.FullyConnectedOptions, tfl.FullyConnectedOptionsT()),
        _operator(1, [3], [4], options.SoftmaxOptions, softmax),
    ]
    model = tfl.ModelT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers = [_buffer(None), _buffer(None), _buffer(w), _buffer(b), _buffer(None), _buffer(None)]
    codes = tfl.BuiltinOperator
    model.operatorCodes = [_code(codes.FULLY_CONNECTED, 4 if int8 else 1), _code(codes.SOFTMAX, 2 if int8 else 1)]
    return _packed(model)


def wide_network(hidden: int) -> bytes:
    """The float32 network with a layer of so many units before its own, of which all but the first four add nothing."""
    model = tfl.ModelT.InitFromObj(tfl.Model.GetRootAs(tflite_network(int8=False)))
    (graph,), kind = model.subgraphs, tfl.TensorType.FLOAT32
    w = np.zeros((2, hidden), np.float32)
    w[:, :4] = W
    model.buffers[2] = _buffer(w)
    model.buffers += [
        _buffer(np.eye(hidden, 4, dtype=np.float32)),
        _buffer(np.zeros(hidden, np.float32)),
        _buffer(None),
    ]
    graph.tensors[1].shape = [2, hidden]
    for shape, buffer, name in (([hidden, 4], 6, "wide"), ([hidden], 7, "none"), ([1, hidden], 8, "hidden")):
        graph.tensors.append(_tensor(shape, buffer, name, kind, 0.0, 0, int8=False))
    graph.operators[0].inputs = [7, 1, 2]
    layer = tfl.FullyConnectedOptionsT()
    graph.operators.insert(0, _operator(0, [0, 5, 6], [7], tfl.BuiltinOptions.FullyConnectedOptions, layer))
    return _packed(model)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(shape: list[int], buffer: int, name: str, kind: int, scale: float, zero: int, *, int8: bool) -> Any:
    made = tfl.TensorT()
    made.shape, made.type, made.buffer, made.name = shape, kind, buffer, name
    if int8:
        made.quantization = tfl.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
    return made


def _buffer(values: np.ndarray | None) -> Any:
    made = tfl.BufferT()
    made.data = None if values is None else np.frombuffer(values.tobytes(), np.uint8)
    return made


def _operator(index: int, inputs: list[int], outputs: list[int], kind: int, options: object) -> Any:
    made = tfl.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = index, inputs, outputs
    made.builtinOptionsType, made.builtinOptions = kind, options
    return made


def _code(operator: int, version: int) -> Any:
    made = tfl.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = operator
    made.version = version
    return made


def contents() -> dict[str, bytes]:
    """The bytes of each file, by kind."""
    return {"onnx": onnx_network(), "tflite": tflite_network(int8=False), "int8": tflite_network(int8=True)}


if __name__ == "__main__":
    for kind in FILES:
        path(kind).write_bytes(contents()[kind])
