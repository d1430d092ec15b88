"""Champion against candidate on the same rows: both replayed on events that came after the candidate was made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from edgeloop.config import LoopConfig
from edgeloop.lake import Lake
from training.rows import Rows, pin, read_rows
from training.scoring import OnnxScorer

DRAWS = 1000
LEVEL = 0.90


@dataclass(frozen=True)
class PairedComparison:
    """Accuracies on the same `rows`, candidate minus champion, and the bounds of a two-sided 90 % interval of that."""

    rows: int
    champion_accuracy: float
    candidate_accuracy: float
    difference: float
    low: float
    high: float


def paired_comparison(
    lake: Lake, config: LoopConfig, champion: bytes, candidate: bytes, *, since: datetime, as_of: datetime
) -> PairedComparison:
    """Compare two ONNX models on every event since `since` that has a label known at `as_of`."""
    rows = read_rows(lake, config, pin(lake), as_of, since=since)
    if not len(rows):
        return PairedComparison(0, 0.0, 0.0, 0.0, -1.0, 1.0)
    right = [OnnxScorer(model).probabilities(rows.X).argmax(axis=1) == rows.y for model in (champion, candidate)]
    gain = right[1].astype(np.float64) - right[0]
    low, high = block_interval(gain, rows, config.training.seed)
    first, second = (float(np.average(r, weights=rows.weight)) for r in right)
    return PairedComparison(len(rows), first, second, second - first, low, high)


def block_interval(gain: NDArray[np.float64], rows: Rows, seed: int) -> tuple[float, float]:
    """A `LEVEL` interval of the weighted mean of `gain` (n,), by bootstrap over blocks of one device and day.

    Hours of one day at one place are alike, so rows would pretend to know more than they do (Künsch 1989, on blocks).
    """
    day = rows.ts.astype("datetime64[D]").astype(np.int64)
    _, device = np.unique(rows.device, return_inverse=True)
    _, block = np.unique(np.stack([device, day]), axis=1, return_inverse=True)
    block = block.reshape(-1)
    total = np.bincount(block, weights=gain * rows.weight)
    weight = np.bincount(block, weights=rows.weight)
    picks = np.random.default_rng(seed).integers(0, len(total), (DRAWS, len(total)))
    means = total[picks].sum(axis=1) / weight[picks].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
