"""Champion against candidate on the same rows: both replayed on events that came after the candidate was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from edgeloop.config import LoopConfig
from edgeloop.lake import Lake
from training.evaluation import evaluate
from training.rows import Rows, pin, read_rows
from training.scoring import OnnxScorer

DRAWS = 1000
LEVEL = 0.90
LEAST_BLOCKS = 5
"""With fewer there is nothing to draw from: one block alone would give an interval of no width, certain of anything."""


@dataclass(frozen=True)
class PairedComparison:
    """Accuracies on the same `rows`, candidate minus champion, and the bounds of a two-sided 90 % interval of that.

    `by_device` has (champion, candidate) accuracies by device.
    """

    rows: int
    champion_accuracy: float
    candidate_accuracy: float
    difference: float
    low: float
    high: float
    champion_macro_f1: float = 0.0
    candidate_macro_f1: float = 0.0
    by_device: dict[str, tuple[float, float]] = field(default_factory=dict)


def paired_comparison(
    lake: Lake,
    config: LoopConfig,
    champion: bytes,
    candidate: bytes,
    *,
    since: datetime,
    as_of: datetime,
    until: datetime | None = None,
) -> PairedComparison:
    """Compare two ONNX models on every event with since <= ts < until that has a label known at `as_of`.

    Without any such event, or with fewer than `LEAST_BLOCKS` blocks of them, the interval is from -1 to 1: nothing is known.

    Raises:
        DataError: there is no events or labels table yet.
        ModelError: a model cannot be run on the loop's features.
    """
    rows = read_rows(lake, config, pin(lake), as_of, since=since, until=until)
    if not len(rows):
        return PairedComparison(0, 0.0, 0.0, 0.0, -1.0, 1.0)
    first, second = (OnnxScorer(model).probabilities(rows.X) for model in (champion, candidate))
    gain = (second.argmax(axis=1) == rows.y).astype(np.float64) - (first.argmax(axis=1) == rows.y)
    low, high = block_interval(gain, rows, config.training.seed)
    was, would = evaluate(rows, first), evaluate(rows, second)
    return PairedComparison(
        rows=len(rows),
        champion_accuracy=was.accuracy,
        candidate_accuracy=would.accuracy,
        difference=would.accuracy - was.accuracy,
        low=low,
        high=high,
        champion_macro_f1=was.macro_f1,
        candidate_macro_f1=would.macro_f1,
        by_device={name: (was.by_device[name], would.by_device[name]) for name in was.by_device},
    )


def block_interval(gain: NDArray[np.float64], rows: Rows, seed: int) -> tuple[float, float]:
    """A `LEVEL` interval of the weighted mean of `gain` (n,), by bootstrap over blocks of one device and day.

    Hours of one day at one place are alike, so rows would pretend to know more than they do (Künsch 1989, on blocks).
    (-1, 1) if there are fewer than `LEAST_BLOCKS`.
    """
    block = _blocks(rows)
    total = np.bincount(block, weights=gain * rows.weight)
    weight = np.bincount(block, weights=rows.weight)
    if len(total) < LEAST_BLOCKS:
        return -1.0, 1.0
    draw = np.random.default_rng(seed)
    means = np.empty(DRAWS)
    for i in range(DRAWS):  # one draw at a time: all at once take gigabytes for a thousand devices
        picks = draw.integers(0, len(total), len(total))
        means[i] = total[picks].sum() / weight[picks].sum()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _blocks(rows: Rows) -> NDArray[np.int64]:
    """For each of n rows which block it is in, (n,): 0, 1, … by device, then day."""
    day = rows.ts.astype("datetime64[D]").astype(np.int64)
    day -= day.min()
    _, device = np.unique(rows.device, return_inverse=True)
    _, block = np.unique(device * (day.max() + 1) + day, return_inverse=True)
    return np.asarray(block, np.int64)
