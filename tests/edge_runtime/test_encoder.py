"""From any reading whatsoever to inputs that a model can be given, as the policies say and counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_runtime.encoder import Encoder, Tally
from edge_runtime.pseudonyms import pseudonym
from edgeloop.errors import ConfigError
from edgeloop.schema import REJECT, STEPS, Feature, FeatureSchema

KEY = b"sixteen bytes, at least"
NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


@st.composite
def features(draw: Callable[..., Any]) -> Feature:
    """Any that a loop may have, called x."""
    kind = draw(st.sampled_from(["number", "number", "number", "category", "hashed", "hour"]))
    policy = st.sampled_from([None, REJECT])
    if kind == "category":
        return Feature("x", kind, ("a", "7", "é"), missing=draw(policy | st.sampled_from(["a", "é"])))
    if kind != "number":
        return Feature("x", kind, missing=draw(policy) if kind == "hashed" else None)
    ends = st.none() | st.floats(-100, 100) | st.floats(allow_nan=False, allow_infinity=False)
    try:
        return Feature(
            "x",
            minimum=draw(ends),
            maximum=draw(ends),
            step=draw(st.none() | st.sampled_from([0.1, 0.5, 3.0, 1e-30, 1e30]) | st.floats(1e-3, 1e3)),
            missing=draw(policy | st.floats(-100, 100)),
            outside=draw(st.sampled_from([None, "clamp", REJECT])),
        )
    except ConfigError:
        assume(False)
        raise


numbers = st.floats(-200, 200) | st.floats() | st.integers() | st.integers(-4, 4).map(lambda i: i * 10**400)
values = (
    numbers
    | st.text()
    | st.sampled_from([None, True, "a", 7, "nan", "-inf", "1e400", 10**5000, "\ud800", b"1", 1j, [1.0], {"a": 1}])
    | st.floats(width=32).map(np.float32)
    | st.decimals()
    | st.fractions()
)


def given_to_model(feature: Feature, value: Any, *, tally: Tally | None = None, by_place: bool = False) -> list[Any]:
    """The input of one feature, what is recorded of it, and the reason."""
    encoder = Encoder(FeatureSchema((feature,)), KEY if feature.kind == "hashed" else b"", tally)
    (row,), (kept,), reason = encoder.encode([value] if by_place else {"x": value}, NOON)
    return [row, kept, reason]


def must_be_good(feature: Feature, found: float, reason: str) -> None:
    """A finite float32 in range; NaN only where the policy lets the model see it, or where nothing is predicted."""
    if math.isnan(found):
        assert feature.missing is None or reason.startswith("rejected: x is ")
        assert feature.kind != "hour"
        return
    assert not reason
    low, high = (
        feature.bounds if feature.kind == "number" else (0, {"category": 2, "hour": 23}.get(feature.kind, 2**24 - 1))
    )
    assert np.float32(low) <= np.float32(found) <= np.float32(high)
    assert math.isfinite(np.float32(found))
    if feature.step is not None:
        assert abs(found / feature.step - round(found / feature.step)) < 1e-6


@settings(deadline=None)
@given(features(), values)
def test_whatever_comes_the_model_is_given_a_number_in_range_or_what_the_policy_allows(
    feature: Feature, value: Any
) -> None:
    found, kept, reason = given_to_model(feature, value)
    must_be_good(feature, found, reason)
    assert np.array_equal(found, kept, equal_nan=True)


@settings(deadline=None)
@given(features(), st.floats() | st.floats(-200, 200) | st.floats(width=32))
def test_the_same_of_a_row(feature: Feature, value: float) -> None:
    found, _, reason = given_to_model(feature, value, by_place=True)
    must_be_good(feature, found, reason)


@settings(deadline=None)
@given(features(), values)
def test_what_was_given_once_is_given_again(feature: Feature, value: Any) -> None:
    """Rounding, clamping and imputing are idempotent, also of what float32 made of it."""
    assume(feature.kind != "hashed")
    once, _, _ = given_to_model(feature, value)
    assume(not math.isnan(once))
    again, _, reason = given_to_model(feature, float(np.float32(once)), by_place=True)
    assert (np.float32(again), reason) == (np.float32(once), "")


@settings(deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(-STEPS, STEPS), st.floats(-0.49, 0.49))
def test_a_number_is_rounded_to_the_nearest_multiple_which_float32_tells_from_the_next(
    step: float, multiple: int, off: float
) -> None:
    assume(abs(multiple + off) <= STEPS)
    feature = Feature("x", step=step)
    assert given_to_model(feature, (multiple + off) * step)[0] == multiple * step
    assert given_to_model(feature, float(np.float32(multiple * step)), by_place=True)[0] == multiple * step
    assert np.float32(multiple * step) != np.float32((multiple + 1) * step)


@settings(deadline=None)
@given(features())
def test_the_ends_of_a_range_are_in_it_also_as_float32(feature: Feature) -> None:
    for end in filter(lambda end: end is not None, (feature.minimum, feature.maximum)):
        tally = Tally()
        if feature.bounds[0] <= end <= feature.bounds[1]:  # not cut off by how far float32 or a step reaches
            assert not math.isnan(given_to_model(feature, end, tally=tally)[0])
            assert not math.isnan(given_to_model(feature, float(np.float32(end)), tally=tally, by_place=True)[0])
        assert not tally.invalid


@pytest.mark.parametrize(
    ("policy", "value", "found", "counted"),
    [
        ({}, None, math.nan, {}),
        ({}, "warm", math.nan, {"invalid": 1}),
        ({}, 51, math.nan, {"invalid": 1}),
        ({"missing": 20.0}, math.nan, 20.0, {"imputed": 1}),
        ({"missing": 20.0}, [], 20.0, {"imputed": 1, "invalid": 1}),
        ({"missing": 20.0}, -1, 20.0, {"imputed": 1, "invalid": 1}),
        ({"missing": 20.0, "outside": "clamp"}, -1, 0.0, {"clamped": 1, "invalid": 1}),
        ({"outside": "clamp"}, math.inf, 50.0, {"clamped": 1, "invalid": 1}),
        ({"outside": "clamp", "maximum": None}, math.inf, math.nan, {"invalid": 1}),
        ({"outside": "clamp", "step": 20.0}, 99, 40.0, {"clamped": 1, "invalid": 1}),
        ({"missing": 33.0, "step": 20.0}, None, 40.0, {"imputed": 1}),
        ({"missing": REJECT}, None, "x is missing", {"rejected": 1}),
        ({"missing": REJECT}, "warm", "x is no value of its kind", {"rejected": 1, "invalid": 1}),
        ({"missing": REJECT}, 51, "x is out of range", {"rejected": 1, "invalid": 1}),
        ({"missing": 20.0, "outside": REJECT}, 51, "x is out of range", {"rejected": 1, "invalid": 1}),
        ({"missing": 20.0, "outside": REJECT}, None, 20.0, {"imputed": 1}),
    ],
)
def test_a_policy_says_what_becomes_of_a_bad_value(
    policy: dict[str, Any], value: object, found: float | str, counted: dict[str, int]
) -> None:
    tally = Tally()
    feature = Feature("x", **{"minimum": 0.0, "maximum": 50.0, **policy})
    row, _, reason = given_to_model(feature, value, tally=tally)
    if isinstance(found, str):
        assert (reason, math.isnan(row)) == (f"rejected: {found}", True)
    else:
        assert np.array_equal(row, found, equal_nan=True)
    counts = {action: getattr(tally, action)["x"] for action in ("invalid", "imputed", "clamped", "rejected")}
    assert {action: count for action, count in counts.items() if count} == counted


def test_a_category_is_imputed_by_its_name_and_every_reason_is_given() -> None:
    schema = FeatureSchema((
        Feature("mode", "category", ("slow", "fast"), missing="fast"),
        Feature("a", missing=REJECT),
        Feature("b", outside=REJECT),
    ))  # fmt: skip
    encoder = Encoder(schema)
    assert encoder.encode({"a": 1, "b": 2}, NOON) == ([1.0, 1.0, 2.0], [1.0, 1.0, 2.0], "")
    assert encoder.encode({"mode": "slow", "b": math.inf}, NOON)[2] == "rejected: a is missing, b is out of range"
    assert encoder.encode([0.0, 1.0, 2.0], NOON) == ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], "")


def test_the_model_sees_what_is_dropped_and_the_record_does_not() -> None:
    schema = FeatureSchema((Feature("a"), Feature("place", dropped=True), Feature("hour", "hour", dropped=True)))
    row, kept, reason = Encoder(schema).encode({"a": 1.5, "place": 47.11}, NOON)
    assert row == [1.5, 47.11, 12.0]
    assert [kept[0], *map(math.isnan, kept[1:])] == [1.5, True, True]
    assert not reason


def test_a_hashed_feature_is_a_pseudonym_by_the_key_of_the_loop() -> None:
    tally = Tally()
    feature = Feature("x", "hashed")
    assert given_to_model(feature, "ada")[0] == pseudonym("ada", KEY)
    assert given_to_model(feature, 17.0, by_place=True)[0] == pseudonym("17", KEY)
    assert all(
        math.isnan(given_to_model(feature, value, tally=tally)[0]) for value in ("", None, "\ud800", [], math.inf)
    )
    assert tally.invalid == {"x": 3}
