"""From a reading to a model's inputs, and to what is recorded of them.

Rules:
1. An input is a finite float32 in its feature's range, or NaN where the feature's policy lets the model see that it is missing.
2. What is recorded is what the model was given, but for a feature that is dropped: of that, nothing is.
3. The raw value of a hashed or a rounded feature goes no farther than this module.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from edge_runtime.pseudonyms import check_key, pseudonym
from edgeloop.schema import REJECT, Feature, FeatureSchema

Values = Mapping[str, Any] | list[Any]
"""A reading: by feature name, or in the schema's order with the index for a category."""

Inputs = tuple[list[float], list[float], str]
"""What the model is given; what is recorded of it; and why there is to be no prediction, which is empty if there may be one."""


@dataclass(frozen=True)
class Tally:
    """How often what happened to the values of a feature, by its name. `invalid` are those that came and were none, or out of range,
    whatever was then done."""

    invalid: Counter[str] = field(default_factory=Counter)
    imputed: Counter[str] = field(default_factory=Counter)
    clamped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)


class Encoder:
    """Turns readings into inputs as `schema` says. For one thread at a time.

    Args:
        key: what hashed features are hashed with.
        tally: counts on.

    Raises:
        ConfigError: the schema has hashed features, and `key` is none.
    """

    def __init__(self, schema: FeatureSchema, key: bytes = b"", tally: Tally | None = None) -> None:
        check_key(schema, key)
        tally, self._refusals = tally or Tally(), list[str]()
        inputs = [_input(f, key, tally, self._refusals) for f in schema.features]
        self._by_name = [(f.name, i.read) for f, i in zip(schema.features, inputs, strict=True)]
        self._by_place = [i.read_place for i in inputs]
        self._dropped = [i for i, f in enumerate(schema.features) if f.dropped]

    def encode(self, values: Values, ts: datetime) -> Inputs:
        """The inputs for a reading taken at `ts`; a list must be as long as the schema.

        Missing is what is absent, None or NaN, is of a wrong kind, or is out of range and not clamped. What is from the time is taken
        from `ts`, whatever is in its place.
        """
        if self._refusals:
            self._refusals.clear()
        if isinstance(values, list):
            row = [read(value, ts) for read, value in zip(self._by_place, values, strict=True)]
        else:
            get = values.get
            row = [read(get(name), ts) for name, read in self._by_name]
        return row, self._kept(row) if self._dropped else row, self._reason() if self._refusals else ""

    def _kept(self, row: list[float]) -> list[float]:
        kept = row.copy()
        for i in self._dropped:
            kept[i] = math.nan
        return kept

    def _reason(self) -> str:
        return f"rejected: {', '.join(self._refusals)}"


class _Input:
    """One feature: `read` gives the input for a value of a mapping, `read_place` for one in a row."""

    def __init__(self, feature: Feature, tally: Tally, refusals: list[str]) -> None:
        self._name, self._tally, self._refusals = feature.name, tally, refusals
        self._missing = feature.missing
        self._imputed = math.nan

    def read(self, value: Any, ts: datetime, /) -> float:
        raise NotImplementedError

    def read_place(self, value: Any, ts: datetime, /) -> float:
        return self.read(value, ts)

    def _absent(self, what: str = "missing") -> float:
        if self._missing is None:
            return math.nan
        if self._missing == REJECT:
            return self._reject(what)
        self._tally.imputed[self._name] += 1
        return self._imputed

    def _wrong(self) -> float:
        self._tally.invalid[self._name] += 1
        return self._absent("no value of its kind")

    def _reject(self, what: str) -> float:
        self._tally.rejected[self._name] += 1
        self._refusals.append(f"{self._name} is {what}")
        return math.nan


class _Number(_Input):
    def __init__(self, feature: Feature, tally: Tally, refusals: list[str]) -> None:
        super().__init__(feature, tally, refusals)
        self._low, self._high = feature.bounds
        self._ends, self._outside = (feature.minimum, feature.maximum), feature.outside
        self._imputed = feature.missing if isinstance(feature.missing, float | int) else math.nan

    def read(self, value: Any, _: datetime, /) -> float:
        if type(value) is float and self._low <= value <= self._high:  # most are
            return value
        if value is None:
            return self._absent()
        try:
            number = float(value)
        except OverflowError:  # a whole number may have any number of digits
            number = math.inf if value > 0 else -math.inf
        except (TypeError, ValueError):
            return self._wrong()
        if self._low <= number <= self._high:
            return number
        return self._out_of_range(number) if number == number else self._absent()

    def _out_of_range(self, number: float) -> float:
        self._tally.invalid[self._name] += 1
        if self._outside == REJECT:
            return self._reject("out of range")
        over = number > self._high
        if self._outside is None or self._ends[over] is None:
            return self._absent("out of range")
        self._tally.clamped[self._name] += 1
        return self._high if over else self._low


class _Rounded(_Number):
    """To the nearest multiple of a step that is in range."""

    def __init__(self, feature: Feature, step: float, tally: Tally, refusals: list[str]) -> None:
        super().__init__(feature, tally, refusals)
        self._step = step
        self._lowest, self._highest = feature.multiples(step)

    def read(self, value: Any, _: datetime, /) -> float:
        number = super().read(value, _)
        if number != number:
            return number
        return min(max(round(number / self._step), self._lowest), self._highest) * self._step


class _Category(_Input):
    """The index in the feature's list."""

    def __init__(self, feature: Feature, tally: Tally, refusals: list[str]) -> None:
        super().__init__(feature, tally, refusals)
        self._codes = {name: float(i) for i, name in enumerate(feature.categories)}
        self._imputed = self._codes.get(str(feature.missing), math.nan)

    def read(self, value: Any, _: datetime, /) -> float:
        code = self._codes.get(value) if type(value) is str else None
        return self._other(value) if code is None else code

    def read_place(self, value: Any, _: datetime, /) -> float:
        if value is None or value != value:
            return self._absent()
        return float(value) if 0 <= value < len(self._codes) and value == int(value) else self._wrong()

    def _other(self, value: Any) -> float:
        if value is None or (isinstance(value, float) and value != value):
            return self._absent()
        try:
            code = self._codes.get(str(value))
        except ValueError:  # Python writes no whole number of thousands of digits
            code = None
        return self._wrong() if code is None else code


class _Hashed(_Input):
    def __init__(self, feature: Feature, key: bytes, tally: Tally, refusals: list[str]) -> None:
        super().__init__(feature, tally, refusals)
        self._key = key

    def read(self, value: Any, _: datetime, /) -> float:
        try:
            found = pseudonym(value, self._key)
        except (TypeError, ValueError, OverflowError):
            return self._wrong()
        return found if found == found else self._absent()


class _FromTime(_Input):
    def __init__(self, feature: Feature, tally: Tally, refusals: list[str]) -> None:
        super().__init__(feature, tally, refusals)
        self._kind = feature.kind

    def read(self, _: Any, ts: datetime, /) -> float:
        utc = ts if ts.tzinfo is UTC else ts.astimezone(UTC)
        if self._kind == "hour":
            return float(utc.hour)
        return float(utc.weekday()) if self._kind == "weekday" else float(utc.month)


def _input(feature: Feature, key: bytes, tally: Tally, refusals: list[str]) -> _Input:
    if feature.step is not None:
        return _Rounded(feature, feature.step, tally, refusals)
    if feature.kind == "number":
        return _Number(feature, tally, refusals)
    if feature.kind == "category":
        return _Category(feature, tally, refusals)
    if feature.kind == "hashed":
        return _Hashed(feature, key, tally, refusals)
    return _FromTime(feature, tally, refusals)
