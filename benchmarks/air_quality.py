"""Events as devices make them: the example's real readings, through a model trained on them and the device's own runtime."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edge_runtime.encoder import Encoder, Tally
from edge_runtime.groups import Event
from edge_runtime.onnx import OnnxModel
from edgeloop.clock import EPOCH_0
from edgeloop.config import LoopConfig, read_loop
from pipelines.backtest.history import read_history
from training.boosting import train

EXAMPLE = Path(__file__).parents[1] / "examples/air_quality"
SEED, EVENTS = 0, 120_000


def read_example() -> tuple[LoopConfig, list[Event]]:
    """The loop, and an event for each of the first readings, the stations one after the other."""
    config = read_loop(EXAMPLE / "loop.toml")
    history = read_history([str(EXAMPLE / "air_quality.parquet")], config)
    table, encoder = history.table.slice(0, EVENTS), Encoder(config.schema(), b"", Tally())
    columns = [table[name].to_pylist() for name in history.features]
    times = table["__ts"].to_pylist()
    rows = [
        encoder.encode(dict(zip(history.features, values, strict=True)), ts)[0]
        for ts, *values in zip(times, *columns, strict=True)
    ]
    model = _model(config, rows, table["__label"].to_pylist())
    micros = [(ts - EPOCH_0) // timedelta(microseconds=1) for ts in times]
    return config, list(_predicted(model, config, micros, rows))


def _model(config: LoopConfig, rows: list[list[float]], labels: list[str | None]) -> OnnxModel:
    classes = config.label.classes
    known = [i for i, label in enumerate(labels) if label is not None]
    X = np.array([rows[i] for i in known], np.float32)
    y = np.array([classes.index(str(labels[i])) for i in known])
    trained = train(X, y, np.ones(len(known), np.float32), classes, config.training.parameters, SEED)
    with TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        path.write_bytes(trained.to_onnx())
        return OnnxModel(path, X.shape[1], len(classes))


def _predicted(model: OnnxModel, config: LoopConfig, times: list[int], rows: list[list[float]]) -> Iterator[Event]:
    for seq, ts, row in zip(count(1), times, rows, strict=False):
        began = time.perf_counter()
        probabilities = model.probabilities(row)
        latency = (time.perf_counter() - began) * 1e6
        confidence = max(probabilities)
        label = config.label.classes[probabilities.index(confidence)]
        yield Event(seq, ts, "f" * 64, label, confidence, latency, row)


def batches(events: list[Event], rows: int, most: int) -> Iterator[list[Event]]:
    """Up to `most` batches of `rows` events each, spread over all."""
    stride = max(rows, (len(events) - rows) // most)
    starts = range(0, len(events) - rows + 1, stride)
    return (events[start : start + rows] for start in islice(starts, most))


def plain(value: float | None) -> float | None:
    """A float32 as the shortest number that stands for it, as JSON would say it."""
    return None if value is None or math.isnan(value) else float(str(np.float32(value)))
