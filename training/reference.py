"""What a release was trained on, feature by feature, and what it said of its validation, for drift to be measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeloop.manifest import Reference
from edgeloop.schema import FeatureSchema

BINS = 100


def make_reference(X: NDArray[np.float32], schema: FeatureSchema) -> dict[str, Reference]:
    """The distribution of each of the d features over the rows of X (n, d). A feature without any value has none."""
    found = {name: distribution(X[:, i]) for i, name in enumerate(schema.names)}
    return {name: reference for name, reference in found.items() if reference is not None}


def make_said(probabilities: NDArray[np.float32]) -> dict[str, Reference]:
    """The distribution of the class that is predicted, by its place, and of its probability, over rows of `probabilities` (n, k)."""
    classes = np.arange(probabilities.shape[1]) - 0.5
    found = {
        "prediction": _in_bins(probabilities.argmax(axis=1).astype(np.float32), classes[1:].astype(np.float32)),
        "confidence": distribution(probabilities.max(axis=1).astype(np.float32)),
    }
    return {name: reference for name, reference in found.items() if reference is not None}


def distribution(values: NDArray[np.float32]) -> Reference | None:
    """The distribution of `values` (n,), NaN for missing, in at most `BINS` quantile bins, between values that there are."""
    present = values[~np.isnan(values)]
    if not len(present):
        return None
    levels = np.linspace(0, 1, BINS + 1)[1:-1]
    return _in_bins(values, np.unique(np.quantile(present, levels, method="inverted_cdf")))


def _in_bins(values: NDArray[np.float32], edges: NDArray[np.float32]) -> Reference:
    """Bin k holds the values with exactly k edges at or under them, as drift counts; all are compared as float32."""
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    shares = (counts / len(present)).round(6)
    # The shortest decimal that is this float32: a manifest goes to every device.
    return Reference(
        tuple(float(str(edge)) for edge in edges), tuple(shares.tolist()), float(1 - len(present) / len(values))
    )
