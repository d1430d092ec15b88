"""Quantile sketches: looked at before the library sees them, merged, and read out.

A sketch is a KLL sketch of floats as Apache DataSketches serialises it (kll_sketch_impl.hpp of its C++ part; the same in Java).
Bytes that are none make the library read out of its bounds or without end, so all of their structure is checked here first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache

import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop.sketches import SKETCH_K

LONGEST = 8192
"""Bytes; the largest that a device makes have about 3,000."""

MOST_LEVELS = 50
"""An item of level i stands for 2^i, and sums of them are to fit into 64 bits."""

_START = struct.Struct("<BBBBHBx")
_COUNTS = struct.Struct("<QHBx")
_FAMILY, _SMALLEST_LEVEL = 15, 8
_ONE_ITEM, _SORTED = 4, 2
_WHOLE, _SHORT = (5, 1), (2, 2)
"""Words of preamble and serial version, of a sketch and of one that holds a single item."""

Samples = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Values (m,) that a sketch kept, and of how many each is the sample (m,); the lowest and the highest come again, of none."""


def samples(content: bytes) -> Samples:
    """What is in a sketch. Raises `DataError` if that cannot be one of ours: only what passes is given to the library."""
    if not _START.size < len(content) <= LONGEST:
        raise DataError(f"a sketch has {len(content)} bytes, {_START.size + 1} to {LONGEST} are taken.")
    words, version, family, flags, k, smallest = _START.unpack_from(content)
    if (family, k, smallest) != (_FAMILY, SKETCH_K, _SMALLEST_LEVEL):
        raise DataError(f"a sketch is not a KLL sketch of k = {SKETCH_K}.")
    if (words, version) == _SHORT and flags == _ONE_ITEM and len(content) == _START.size + 4:
        return _checked(np.frombuffer(content, "<f4", -1, _START.size).repeat(3), np.array([1, 0, 0]))
    if (words, version) == _WHOLE and flags in (0, _SORTED):
        return _many(content, in_order=flags == _SORTED)
    raise DataError("a sketch is of a form that is not known here.")


def _many(content: bytes, *, in_order: bool) -> Samples:
    if len(content) < _START.size + _COUNTS.size:
        raise DataError("a sketch is cut off.")
    n, least_k, levels = _COUNTS.unpack_from(content, _START.size)
    place = _START.size + _COUNTS.size + 4 * levels
    if least_k != SKETCH_K or not 1 <= levels <= MOST_LEVELS or len(content) < place + 8 or len(content) % 4:
        raise DataError("a sketch has levels that it cannot have.")
    starts = [*np.frombuffer(content, "<u4", levels, place - 4 * levels).tolist(), _capacity(levels)]
    values = np.frombuffer(content, "<f4", -1, place)  # the lowest, the highest, the items
    sizes = np.diff(starts)
    if (sizes < 0).any() or sizes.sum() != len(values) - 2:
        raise DataError("a sketch has other items than its levels say.")
    weights = np.repeat(1 << np.arange(levels), sizes)
    if weights.sum() != n or n == 0:
        raise DataError("a sketch is of other weight than its items.")
    for level in np.split(values[2:], np.cumsum(sizes)[:-1])[0 if in_order else 1 :]:
        if (level[1:] < level[:-1]).any():
            raise DataError("a sketch has a level that is out of order.")
    return _checked(np.concatenate([values[2:], values[:2]]), np.append(weights, [0, 0]))


def _checked(values: NDArray[np.float32], weights: NDArray[np.int64]) -> Samples:
    lowest, highest = values[-2:]
    if not np.isfinite(values).all() or (values < lowest).any() or (values > highest).any():
        raise DataError("a sketch has values that are no numbers, or outside its own lowest and highest.")
    return values.astype(np.float64), weights


@cache
def _capacity(levels: int) -> int:
    """Items that there is room for, at two thirds a level of the one above, and at least `_SMALLEST_LEVEL` in each."""
    return sum(max(_SMALLEST_LEVEL, ((2 * SKETCH_K << d) // 3**d + 1) >> 1) for d in range(levels))


def merge(contents: Iterable[bytes]) -> bytes:
    """The sketch of everything that is in the sketches `contents`, of which there must be one; each must have passed `samples`."""
    found = kll_floats_sketch(SKETCH_K)
    for content in contents:
        found.merge(kll_floats_sketch.deserialize(content))
    merged: bytes = found.serialize()
    return merged


def quantiles(content: bytes, ranks: list[float]) -> list[float]:
    """The values at `ranks` (0 to 1) of a sketch that passed `samples`."""
    found: list[float] = kll_floats_sketch.deserialize(content).get_quantiles(ranks, True)
    return found
