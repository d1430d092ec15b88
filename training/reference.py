"""What a release was trained on, feature by feature, for drift to be measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeloop.manifest import Reference
from edgeloop.schema import FeatureSchema

BINS = 10


def make_reference(X: NDArray[np.float32], schema: FeatureSchema) -> dict[str, Reference]:
    """The distribution of each of the d features over the rows of X (n, d), in at most `BINS` quantile bins.

    A feature without any value has none.
    """
    found = {}
    for i, name in enumerate(schema.names):
        values = X[:, i].astype(np.float64)
        present = values[~np.isnan(values)]
        if not len(present):
            continue
        edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]))
        # Bin k holds the values with exactly k edges at or under them, as drift.sql counts.
        counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
        found[name] = Reference(
            tuple(edges.tolist()), tuple((counts / len(present)).tolist()), float(1 - len(present) / len(values))
        )
    return found
