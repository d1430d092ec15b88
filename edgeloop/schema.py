"""The features of a loop: their names, order, kinds and ranges, and how a reading becomes a model's input.

A device, the lake and a trainer all use this one definition, so a feature is computed once, on the device,
and the model is trained on the very numbers that it will be given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import msgspec

from edgeloop.errors import ConfigError

EVENT_SCHEMA = 1
"""Version of the event columns in a batch (docs/formats.md)."""

LARGEST = 3.4028234663852886e38
"""The largest float32. What is over it, infinity too, is no input of a model and counts as missing."""

Kind = Literal["number", "category", "hour", "weekday", "month"]
FROM_TIME: tuple[Kind, ...] = ("hour", "weekday", "month")


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input of a model.

    `kind` is `number`; `category` (the input is the index in `categories`); or `hour`, `weekday`, `month`, taken
    from the event's time in UTC. `minimum` and `maximum` are inclusive; a number outside counts as missing.
    """

    name: str
    kind: Kind = "number"
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def column(self) -> str:
        """Its column in batches and in the lake: `f_` and the name with all but letters and digits replaced."""
        return "f_" + re.sub(r"[\W_]+", "_", self.name).strip("_")


class Encoder:
    """Turns readings into rows of float32, counting what was missing or out of range.

    Made once for a schema; `encode` allocates nothing but the list it returns.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        self._steps = [
            (
                i,
                f.name,
                f.kind,
                {c: float(k) for k, c in enumerate(f.categories)},
                -LARGEST if f.minimum is None else f.minimum,
                LARGEST if f.maximum is None else f.maximum,
            )
            for i, f in enumerate(features)
        ]
        self.invalid: dict[str, int] = {}

    def encode(self, reading: Mapping[str, Any], ts: datetime) -> list[float]:
        """One row for `reading` (name to value) taken at `ts`.

        Missing, unknown, non-numeric and out-of-range values become NaN; all but the plainly missing
        (absent, None, NaN) are counted in `invalid` by feature name.
        """
        row = []
        for _, name, kind, categories, low, high in self._steps:
            if kind == "number":
                row.append(self._number(name, reading.get(name), low, high))
            elif kind == "category":
                row.append(self._category(name, reading.get(name), categories))
            else:
                row.append(_from_time(kind, ts))
        return row

    def encode_row(self, values: Sequence[float | None], ts: datetime) -> list[float]:
        """One row for `values` in the schema's order, as long as it; a category is given as its index.

        What is from the time is taken from `ts`, whatever is in its place. Else as `encode`: NaN is missing; infinity, what is
        out of range and what is no index of a category are missing too, and counted.
        """
        row = []
        for (_, name, kind, categories, low, high), value in zip(self._steps, values, strict=True):
            if kind == "number":
                row.append(self._number(name, value, low, high))
            elif kind == "category":
                row.append(self._index(name, value, len(categories)))
            else:
                row.append(_from_time(kind, ts))
        return row

    def _number(self, name: str, value: Any, low: float, high: float) -> float:
        if value is None:
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError):
            return self._count(name)
        if low <= number <= high:
            return number
        return number if number != number else self._count(name)

    def _category(self, name: str, value: Any, categories: Mapping[str, float]) -> float:
        if value is None:
            return math.nan
        code = categories.get(value if isinstance(value, str) else str(value))
        return self._count(name) if code is None else code

    def _index(self, name: str, value: float | None, count: int) -> float:
        if value is None or value != value:
            return math.nan
        return value if 0 <= value < count and value == int(value) else self._count(name)

    def _count(self, name: str) -> float:
        self.invalid[name] = self.invalid.get(name, 0) + 1
        return math.nan


def _from_time(kind: Kind, ts: datetime) -> float:
    utc = ts.astimezone(UTC)
    if kind == "hour":
        return float(utc.hour)
    return float(utc.weekday()) if kind == "weekday" else float(utc.month)


class FeatureSchema(msgspec.Struct, frozen=True, dict=True):
    """The ordered features of a loop; the order is the order of a model's inputs."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise ConfigError("the loop has no features.", remedy="List at least one under [features].")
        seen: dict[str, str] = {}
        for feature in self.features:
            clash = seen.setdefault(feature.column.lower(), feature.name)
            if clash is not feature.name or feature.column == "f_":
                raise ConfigError(
                    f"features {clash!r} and {feature.name!r} would share the column {feature.column!r}.",
                    remedy="Rename one of them.",
                )

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.features)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(f.column for f in self.features)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: two schemas are interchangeable if and only if it is equal."""
        return sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def encoder(self) -> Encoder:
        return Encoder(self.features)
