"""Training sets: what a challenger learns from, and the later window that it is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.lake import Lake
from edgeloop.sketches import AGGREGATES
from training.rows import Pin, Rows, pin, read_rows


@dataclass(frozen=True)
class TrainingSet:
    """Rows to train on and, all of them later, rows to validate on; as known at `as_of`, from the pinned versions."""

    train: Rows
    validation: Rows
    pinned: Pin
    as_of: datetime


def build_set(lake: Lake, config: LoopConfig, as_of: datetime) -> TrainingSet:
    """Build the training set as of `as_of`.

    The last `training.validation` of labelled time is held back for validation; of what is before it each device gives at most
    `training.max_rows_per_device` rows, drawn evenly over its time.

    Raises:
        DataError: the loop ships aggregates, there are too few rows, or of one class only.
    """
    if config.privacy.ship == AGGREGATES:
        raise DataError(
            f"loop {config.name!r} ships aggregates: its lake gets no events, so there are no rows to train on.",
            remedy='Train with privacy.ship = "events" in loop.toml, on rows of devices that are set up to ship events.',
        )
    pinned = pin(lake)
    rows = read_rows(lake, config, pinned, as_of)
    if len(rows) < 2:
        raise DataError(
            f"there are {len(rows)} labelled rows as of {as_of:%Y-%m-%d}.", remedy="Wait for labels, or check [label]."
        )
    held_back = min(config.training.validation, (rows.ts[-1] - rows.ts[0]).item() / 3)
    boundary = rows.ts[-1] - np.timedelta64(held_back, "us")
    train = rows.take(rows.ts < boundary)
    train = train.take(_capped(train.device, config.training.max_rows_per_device))
    validation = rows.take(rows.ts >= boundary)
    classes = len(np.unique(train.y))
    if classes < 2 or not len(validation):
        raise DataError(
            f"the {len(train)} rows to train on hold {classes} class(es), {len(validation)} rows are left to validate on.",
            remedy="Wait for more labels, or shorten training.validation.",
        )
    return TrainingSet(train, validation, pinned, as_of)


def _capped(device: NDArray[np.str_], limit: int) -> NDArray[np.bool_]:
    """Which rows to keep so that no device has more than `limit`: evenly spaced, so that all of its time is there."""
    keep = np.zeros(len(device), np.bool_)
    for name in np.unique(device):
        mine = np.flatnonzero(device == name)
        if len(mine) > limit:
            mine = mine[np.linspace(0, len(mine) - 1, limit).astype(np.int64)]
        keep[mine] = True
    return keep
