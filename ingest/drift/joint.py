"""All features together: can a classifier tell the window's events from the last that a release was trained on?

A two-sample test (Lopez-Paz and Oquab, “Revisiting Classifier Two-Sample Tests”, ICLR 2017): it sees what no feature shows alone, such
as two that no longer go together. Judged on devices that the classifier has not seen, and with each device as one witness, since
events of one depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ingest.drift.blocks import Counted

KEEP = 4000
"""Events of each period that are drawn for it."""

FEWEST_DEVICES = 4
"""In both periods; fewer are no witnesses of more than themselves."""

FOLDS = 5


@dataclass(frozen=True)
class JointDrift:
    """`auc` is how often the classifier ranks an event of the window over one of the training; a half is chance. Null for what `note` says.

    `large` is an `auc` as from a shift of one normal feature that is at its alarm.
    """

    auc: float | None = None
    p: float = 1.0
    devices: int = 0
    note: str = ""
    large: bool = False
    adjusted: float = 1.0
    alarm: bool = False


def tell_apart(baseline: Counted | None, window: Counted, alarm: float) -> JointDrift:
    """Try it, on devices that are in both; `alarm` is the PSI from which on the shift of a single feature is large."""
    if baseline is None:
        return JointDrift(note="The training was too short to draw events of it.")
    both = sorted(_sending(baseline) & _sending(window))
    if len(both) < FEWEST_DEVICES:
        return JointDrift(
            note=f"{len(both)} devices have events in both periods, {FEWEST_DEVICES} are needed; aggregates have none."
        )
    sides = [_of(counted, both) for counted in (baseline, window)]
    X, device = (np.concatenate([side[i] for side in sides]) for i in (0, 1))
    y = np.repeat([0, 1], [len(side[1]) for side in sides])
    score = _scores(X, y, device)
    apart = np.subtract(*(_means(score, device, y == side) for side in (1, 0)))
    p = float(stats.ttest_1samp(apart, 0.0, alternative="greater").pvalue) if apart.std() > 0 else 1.0
    auc = _auc(score, y)
    # PSI of a normal feature that moved by δ standard deviations is δ², and the best classifier's AUC then Φ(δ / √2).
    return JointDrift(auc, p, len(both), large=auc > float(stats.norm.cdf(np.sqrt(alarm / 2))))


def _sending(counted: Counted) -> set[str]:
    return {counted.devices[i] for i in np.unique(counted.rows.device)}


def _of(counted: Counted, names: list[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rows of these devices, and each one's place among them."""
    places = {name: i for i, name in enumerate(names)}
    code = np.array([places.get(name, -1) for name in counted.devices], np.int64)[counted.rows.device]
    return counted.rows.X[code >= 0], code[code >= 0]


def _scores(X: NDArray[np.float32], y: NDArray[np.int64], device: NDArray[np.int64]) -> NDArray[np.float64]:
    """The chance that each event is of the window, by a classifier that did not see its device."""
    from lightgbm import LGBMClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict

    model = LGBMClassifier(n_estimators=40, num_leaves=8, max_bin=63, n_jobs=1, random_state=0, verbosity=-1)
    folds = GroupKFold(min(FOLDS, len(np.unique(device))))
    found = cross_val_predict(model, X, y, groups=device, cv=folds, method="predict_proba")
    return np.asarray(found[:, 1])


def _means(score: NDArray[np.float64], device: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each device, the mean of its `chosen` scores."""
    sums = np.bincount(device[chosen], score[chosen])
    return np.asarray(sums / np.bincount(device[chosen]))


def _auc(score: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    ranks, n = stats.rankdata(score)[y == 1], int(y.sum())
    return float((ranks.sum() - n * (n + 1) / 2) / (n * (len(y) - n)))
