"""The features of a loop: their names, order, kinds and ranges, and what is done with a value that is none.

A device, the lake and a trainer all use this one definition, so a feature is computed once, on the device,
and the model is trained on the very numbers that it will be given.
"""

from __future__ import annotations

import math
import re
import struct
from functools import cached_property
from hashlib import sha256
from typing import Literal

import msgspec

from edgeloop.errors import ConfigError

EVENT_SCHEMA = 2
"""Version of the event columns in a batch (docs/formats.md)."""

LARGEST = 3.4028234663852886e38
"""The largest float32. What is over it, infinity too, is no input of a model and is out of range."""

STEPS = 2**22
"""How many steps a rounded number may be from zero: farther out, float32 cannot hold one multiple apart from the next."""

SMALLEST_STEP = 1e-30

REJECT = "reject"

Kind = Literal["number", "category", "hashed", "hour", "weekday", "month"]
Outside = Literal["clamp", "reject"] | None
FROM_TIME: tuple[Kind, ...] = ("hour", "weekday", "month")


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input of a model.

    What it is: `kind` is `number`; `category` (the input is the index in `categories`); `hashed`, a pseudonym of any text or
    number; or `hour`, `weekday`, `month`, taken from the event's time in UTC. `minimum` and `maximum` are inclusive. A number is
    rounded to the nearest multiple of `step`, if there is one. One that is `dropped` is for the model alone: events have null.

    How a value that is none is treated, which a release may bring anew: `missing` is what the model is given for it (of a category:
    its name), or "reject" for no prediction; None for NaN. `outside` is what becomes of a number out of range; None for missing.

    Raises:
        ConfigError: these do not fit together; it names the key in `loop.toml`.
    """

    name: str
    kind: Kind = "number"
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    dropped: bool = False
    missing: float | str | None = None
    outside: Outside = None

    def __post_init__(self) -> None:
        for key, wrong, remedy in filter(None, (_wrong_range(self), _wrong_missing(self), _wrong_outside(self))):
            raise ConfigError(f"{key}.{self.name} {wrong}.", remedy=remedy)

    @property
    def column(self) -> str:
        """Its column in batches and in the lake: `f_` and the name with all but letters and digits replaced."""
        return "f_" + re.sub(r"[\W_]+", "_", self.name).strip("_")

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest number in range, widened to the nearest float32: rows of float32 hold no nearer one."""
        reach = LARGEST if self.step is None else STEPS * self.step
        low = -reach if self.minimum is None else max(self.minimum, -reach)
        high = reach if self.maximum is None else min(self.maximum, reach)
        return min(low, float32(low)), max(high, float32(high))

    def multiples(self, step: float) -> tuple[int, int]:
        """The lowest and the highest number whose product with `step` is, as float32, in range; the highest is less if there is none."""
        low, high = self.bounds
        lowest, highest = round(low / step), round(high / step)
        lowest += float32(lowest * step) < float32(low)
        highest -= float32(highest * step) > float32(high)
        return lowest, highest


def float32(number: float) -> float:
    """The float32 nearest to `number`, infinite if it is over the largest."""
    try:
        found: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return found


Mistake = tuple[str, str, str]
"""A key of `loop.toml`, what is wrong with it, and the remedy."""


def _wrong_range(feature: Feature) -> Mistake | None:
    step, shown, (low, high) = feature.step, f"[{feature.minimum}, {feature.maximum}]", feature.bounds
    first = -LARGEST if feature.minimum is None else feature.minimum
    last = LARGEST if feature.maximum is None else feature.maximum
    if not first < last or (step is None and low > high):
        return "features.ranges", f"is {shown}", "Give [lowest, highest]."
    if step is None:
        return None
    if not SMALLEST_STEP <= step <= 1 / SMALLEST_STEP:
        return "privacy.round", f"is {step}", f"Give a step from {SMALLEST_STEP} to {1 / SMALLEST_STEP}, such as 0.5."
    lowest, highest = feature.multiples(step)
    if lowest > highest:
        wrong = f"is {step}, which has no multiple in the range {shown} and within {STEPS:,} steps of zero"
        return "privacy.round", wrong, "Give another step."
    return None


def _wrong_missing(feature: Feature) -> Mistake | None:
    given, (low, high) = feature.missing, feature.bounds
    match feature.kind:
        case _ if given is None:
            return None
        case "number":
            good = given == REJECT if isinstance(given, str) else low <= given <= high
            remedy = f"Give a number from {low:g} to {high:g}, or 'reject'."
        case "category":
            good = (given == REJECT) != (given in feature.categories)
            remedy = f"Give 'reject' or, if none of them is called that, one of {', '.join(feature.categories)}."
        case "hashed":
            good, remedy = given == REJECT, "No pseudonym can be made up: give 'reject', or take it out."
        case _:
            good, remedy = False, "What is taken from the time is never missing: take it out."
    return None if good else ("features.missing", f"is {given!r}", remedy)


def _wrong_outside(feature: Feature) -> Mistake | None:
    key = "features.outside"
    if feature.outside not in (None, "clamp", REJECT):
        return key, f"is {feature.outside!r}", "Give 'clamp' or 'reject'."
    if feature.outside == "clamp" and feature.minimum is None and feature.maximum is None:
        return key, "is 'clamp', and there is no range", f"Give features.ranges.{feature.name} = [lowest, highest]."
    return None


class FeatureSchema(msgspec.Struct, frozen=True, dict=True):
    """The ordered features of a loop; the order is the order of a model's inputs."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise ConfigError("the loop has no features.", remedy="List at least one under [features].")
        seen: dict[str, str] = {}
        for feature in self.features:
            column = feature.column.lower()
            if column in seen or column == "f_":
                raise ConfigError(
                    f"features {seen.get(column, feature.name)!r} and {feature.name!r} would share the column {feature.column!r}.",
                    remedy="Rename one of them.",
                )
            seen[column] = feature.name

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.features)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(f.column for f in self.features)

    @cached_property
    def hashed(self) -> tuple[str, ...]:
        """The names of the features that need a key to be hashed with."""
        return tuple(f.name for f in self.features if f.kind == "hashed")

    @cached_property
    def may_be_missing(self) -> tuple[str, ...]:
        """The names of the features for which a model may be given NaN: by their policy it is to see that they are missing."""
        return tuple(f.name for f in self.features if f.missing is None and f.kind not in FROM_TIME)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON without policies: two schemas are interchangeable if and only if it is equal."""
        what = FeatureSchema(tuple(msgspec.structs.replace(f, missing=None, outside=None) for f in self.features))
        return sha256(msgspec.json.encode(what, order="sorted")).hexdigest()
