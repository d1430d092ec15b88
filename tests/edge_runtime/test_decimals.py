"""Columns as decimals: to the bit what they were, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.decimals import LARGEST, decimals

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


@given(st.lists(st.floats(width=32) | st.integers(-LARGEST, LARGEST).map(float), max_size=20))
def test_what_is_a_decimal_is_one_to_the_bit(values: list[float]) -> None:
    column = np.array(values, np.float32)
    if found := decimals(column):
        scale, numbers = found
        assert abs(numbers).max(initial=0) <= LARGEST
        assert np.array([n / 10**scale for n in numbers.tolist()], np.float32).tobytes() == column.tobytes()


@given(st.integers(0, 6), st.lists(st.integers(-999_999, 999_999), min_size=1, max_size=20))
def test_numbers_of_few_decimals_are_found_with_no_more_than_they_have(scale: int, numbers: list[int]) -> None:
    found = decimals(np.array([n / 10**scale for n in numbers], np.float32))
    assert found is not None
    assert found[0] <= scale
    assert [n * 10 ** (scale - found[0]) for n in found[1].tolist()] == numbers


@pytest.mark.parametrize(
    "odd", [-0.0, float("nan"), float("inf"), -float("inf"), SMALLEST, 2.0**24 + 2, 1234567890.0, 1 / 3]
)
def test_one_value_that_is_no_decimal_leaves_its_column_as_it_is(odd: float) -> None:
    assert decimals(np.array([18.1, odd, 0.5], np.float32)) is None
