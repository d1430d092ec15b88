"""Readings as callers have them: a mapping by feature name, or a row of numbers in the schema's order; and their times.

Rows are told by their shape and dtype, as NumPy and what imitates it show them: NumPy itself is not needed for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgeloop.clock import Clock
from edgeloop.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from edge_runtime.encoder import Values

    Row = np.ndarray[Any, np.dtype[np.float32]] | np.ndarray[Any, np.dtype[np.float64]]
    Reading = Mapping[str, Any] | Row
    Readings = Row | Sequence[Reading]

_DTYPES = {"f": "float32", "d": "float64"}
"""By NumPy's one-letter codes: to ask for a dtype's name takes half as long as to predict."""


def values_of(reading: Reading, width: int) -> Values:
    """A reading as the encoder takes it.

    Args:
        reading: values by feature name, or a row of shape (`width`,), float32 or float64.

    Raises:
        DataError: it is neither.
    """
    if isinstance(reading, Mapping):
        return reading
    return _values(reading, (width,), "a mapping by feature name, or a row")


def values_of_many(readings: Readings, count: int, width: int) -> Sequence[Values]:
    """The same of several.

    Args:
        readings: an array of shape (`count`, `width`), float32 or float64, or a list with mappings or rows.

    Raises:
        DataError: it is neither.
    """
    if isinstance(readings, list | tuple):
        return [values_of(reading, width) for reading in readings]
    return _values(readings, (count, width), "a list of mappings or rows, or an array")


def count_of(readings: Readings) -> int:
    """How many readings there are; 0 for what is none, which `values_of_many` then says."""
    try:
        return len(readings)
    except TypeError:
        return 0


def times_of(count: int, ts: datetime | Sequence[datetime] | None, clock: Clock) -> Sequence[datetime]:
    """When each of `count` readings was measured: `ts`, one for all or one for each; now, if not given. Raises `DataError`."""
    if ts is None or isinstance(ts, datetime):
        return [ts or clock()] * count
    if len(ts) != count:
        raise DataError(f"expected one time or {count}, one for each reading; found {len(ts)}.", remedy="Give as many.")
    return ts


def _values(found: Any, shape: tuple[int, ...], what: str) -> list[Any]:
    there, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
    if there == shape and getattr(dtype, "char", "") in _DTYPES:
        values: list[Any] = found.tolist()
        return values
    kind = type(found).__name__ if dtype is None else str(dtype)
    came = kind if there is None else f"{kind} of shape {there}"
    raise DataError(
        f"expected {what} of shape {shape}, {' or '.join(_DTYPES.values())}; found {came}.",
        remedy="Give a row every feature in the order of the loop's [features], and convert it with astype('float32').",
    )
