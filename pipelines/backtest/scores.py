"""Scores of a backtest: what the loop predicted, what its first release would have, and what hindsight could have.

All three are judged on the same rows: every labelled event in the lake after the seed period.
*static* is the first release kept for ever. *ceiling* is the same trainer, at the start of each period, on every label
known by then, with no gate, no wave and no held-back window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from edgeloop.config import LoopConfig
from edgeloop.lake import Lake, run_sql
from pipelines.backtest.scenario import Scenario
from pipelines.backtest.summary import PeriodScores, Scores
from training.scoring import OnnxScorer
from training.trainers import find_trainer

_SQL = Path(__file__).parent / "labelled_events.sql"


@dataclass(frozen=True)
class Labelled:
    """Every labelled event of the lake, by time.

    Shapes for n events, d features: `X` (n, d) float32; `y` and `loop` (n,) int64 class indices, `loop` -1 where the device had
    no model; `ts` and `known_at` (n,) datetime64[us], UTC.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    loop: NDArray[np.int64]
    ts: NDArray[np.datetime64]
    known_at: NDArray[np.datetime64]


def read_labelled(lake: Lake, config: LoopConfig) -> Labelled:
    """Read every event that has a label."""
    connection = lake.connect(events=None, labels=None)
    rows = run_sql(connection, _SQL)
    classes = {name: i for i, name in enumerate(config.label.classes)}

    def codes(column: str) -> NDArray[np.int64]:
        return np.fromiter((classes.get(v, -1) for v in rows[column].to_pylist()), np.int64, rows.num_rows)

    columns = [rows[c].to_numpy().astype(np.float32) for c in config.schema().columns]
    return Labelled(
        np.column_stack(columns),
        codes("label"),
        codes("prediction"),
        rows["ts"].to_numpy().astype("datetime64[us]"),
        rows["known_at"].to_numpy().astype("datetime64[us]"),
    )


def score(
    rows: Labelled, config: LoopConfig, scenario: Scenario, first_model: bytes, on_period: Callable[[], None]
) -> tuple[Scores, Scores, list[PeriodScores]]:
    """Accuracy and macro-F1 over everything after the seed period, and the same for each period.

    `on_period` is called after each period's ceiling is trained.
    """
    predictions = {
        "static": OnnxScorer(first_model).probabilities(rows.X).argmax(axis=1),
        "loop": rows.loop,
        "ceiling": np.full(len(rows.y), -1, np.int64),
    }
    periods = []
    for start, end in _periods(config, scenario):
        inside = (rows.ts >= _moment(start)) & (rows.ts < _moment(end))
        if inside.any():
            predictions["ceiling"][inside] = _ceiling(rows, config, start, rows.X[inside])
            accuracy, macro_f1 = _both(rows.y, predictions, inside)
            periods.append(PeriodScores(f"{start:%Y-%m-%d}", start, end, int(inside.sum()), accuracy, macro_f1))
        on_period()
    accuracy, macro_f1 = _both(rows.y, predictions, rows.ts >= _moment(scenario.seed_end))
    return accuracy, macro_f1, periods


def count_periods(config: LoopConfig, scenario: Scenario) -> int:
    """How many periods `score` goes through."""
    return len(_periods(config, scenario))


def _periods(config: LoopConfig, scenario: Scenario) -> list[tuple[datetime, datetime]]:
    found, start = [], scenario.seed_end
    while start < scenario.end:
        found.append((start, min(start + config.backtest.period, scenario.end)))
        start += config.backtest.period
    # A last stump of less than half a period says little by itself.
    if len(found) > 1 and found[-1][1] - found[-1][0] < config.backtest.period / 2:
        (before, _), (_, last) = found[-2:]
        found[-2:] = [(before, last)]
    return found


def _ceiling(rows: Labelled, config: LoopConfig, start: datetime, X: NDArray[np.float32]) -> NDArray[np.int64]:
    known = (rows.known_at <= _moment(start)) & (rows.y >= 0)
    weight = np.ones(int(known.sum()), np.float32)
    train = find_trainer(config.training.trainer)
    model = train(
        rows.X[known], rows.y[known], weight, config.label.classes, config.training.parameters, config.training.seed
    )
    found: NDArray[np.int64] = np.asarray(model.predict_proba(X)).argmax(axis=1)
    return found


def _both(
    y: NDArray[np.int64], predictions: dict[str, NDArray[np.int64]], rows: NDArray[np.bool_]
) -> tuple[Scores, Scores]:
    truth = y[rows]
    labels = np.unique(truth)

    def each(metric: Callable[[Any, Any], float]) -> Scores:
        return Scores(**{name: float(metric(truth, p[rows])) for name, p in predictions.items()})

    return each(accuracy_score), each(lambda t, p: f1_score(t, p, labels=labels, average="macro", zero_division=0.0))


def _moment(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "us")
