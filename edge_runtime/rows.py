"""Readings as callers have them: a mapping by feature name, or a row of numbers in the schema's order.

Rows are told by their shape and dtype, as NumPy and what imitates it show them: NumPy itself is not needed for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgeloop.errors import DataError
from edgeloop.schema import Encoder

if TYPE_CHECKING:
    import numpy as np

    Row = np.ndarray[Any, np.dtype[np.float32]] | np.ndarray[Any, np.dtype[np.float64]]
    Reading = Mapping[str, Any] | Row
    Readings = Row | Sequence[Reading]

_DTYPES = {"f": "float32", "d": "float64"}
"""By NumPy's one-letter codes: to ask for a dtype's name takes half as long as to predict."""


def encode(reading: Reading, ts: datetime, encoder: Encoder, width: int) -> list[float]:
    """The model's inputs for one reading.

    Args:
        reading: values by feature name, or a row of shape (`width`,), float32 or float64.

    Raises:
        DataError: it is neither.
    """
    if isinstance(reading, Mapping):
        return encoder.encode(reading, ts)
    return encoder.encode_row(_values(reading, (width,), "a mapping by feature name, or a row"), ts)


def encode_many(readings: Readings, times: Sequence[datetime], encoder: Encoder, width: int) -> list[list[float]]:
    """The model's inputs for several readings, one of `times` each.

    Args:
        readings: an array of shape (N, `width`), float32 or float64, or a list with mappings or rows.

    Raises:
        DataError: it is neither.
    """
    if isinstance(readings, list | tuple):
        return [encode(reading, ts, encoder, width) for reading, ts in zip(readings, times, strict=True)]
    values = _values(readings, (len(times), width), "a list of mappings or rows, or an array")
    return [encoder.encode_row(row, ts) for row, ts in zip(values, times, strict=True)]


def count_of(readings: Readings) -> int:
    """How many readings there are; 0 for what is none, which `encode_many` then says."""
    try:
        return len(readings)
    except TypeError:
        return 0


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
