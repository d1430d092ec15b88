"""`loop.toml`: one loop's configuration, checked key by key.

Every error names the key as it is written in the file and says what to do. What the keys mean is in the comments
that `edgeloop init` writes and in docs/loop.md.
"""

from __future__ import annotations

import difflib
import math
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from edgeloop.duration import Duration
from edgeloop.errors import ConfigError, DataError, EdgeloopError
from edgeloop.layout import Layout, check_id, safe_id
from edgeloop.schema import FROM_TIME, Feature, FeatureSchema, Kind, Outside
from edgeloop.sketches import AGGREGATES, EVENTS
from edgeloop.window import Window

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
PerMyriad = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Amount = Annotated[float, msgspec.Meta(gt=0.0)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Loop(_Section, frozen=True, kw_only=True):
    """`[loop]`"""

    name: str
    description: str = ""
    owner: str = ""


class Table(_Section, frozen=True, kw_only=True):
    """`[table]`: how a table of history is read. `devices` is for a table without a device column."""

    device: str = ""
    devices: NotNegative = 0
    time: str = ""
    interval: Duration = Duration(hours=1)


class Label(_Section, frozen=True, kw_only=True):
    """`[label]`: the truth to predict. With `cuts`, a number is turned into one of `len(cuts) + 1` classes.

    `sources` are those of label files whose word is preferred, the best first; any other comes after them.
    """

    column: str
    classes: tuple[str, ...]
    cuts: tuple[float, ...] = ()
    sources: tuple[str, ...] = ()
    delay: Duration = Duration(days=1)


class Features(_Section, frozen=True, kw_only=True):
    """`[features]`: the inputs of the model, in the order numbers, categories, hashed, from_time."""

    numbers: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = {}
    hashed: tuple[str, ...] = ()
    from_time: tuple[str, ...] = ()
    ranges: dict[str, tuple[float, float]] = {}
    missing: dict[str, float | str] = {}
    outside: dict[str, str] = {}


class Privacy(_Section, frozen=True, kw_only=True):
    """`[privacy]`: what does not leave a device, or less exactly, and for how long the lake keeps rows; None for ever. `ship` is
    `events` or `aggregates`."""

    ship: str = EVENTS
    min_events: Positive = 10
    drop: tuple[str, ...] = ()
    round: dict[str, float] = {}
    retention: Duration | None = None


class DeviceSection(_Section, frozen=True, kw_only=True):
    """`[device]`: the spool, the link and the runtime."""

    durability: str = "group"
    flush_events: Positive = 512
    flush_every: Duration = Duration(seconds=1)
    batch_events: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 300
    spool_mb: Amount = 50.0
    model_mb: Amount = 50.0
    upload_mb_per_day: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    window: Window = Window()
    request_deadline: Duration = Duration(seconds=60)
    threads: Positive = 1
    latency_budget_ms: Amount = 50.0
    probation_events: Positive = 24
    crash_limit: Positive = 3
    refuse_for: Duration | None = None


class Training(_Section, frozen=True, kw_only=True):
    """`[training]`"""

    trainer: str = "lightgbm"
    every: Duration = Duration(days=30)
    validation: Duration = Duration(days=14)
    max_rows_per_device: Positive = 50_000
    seed: NotNegative = 7
    parameters: dict[str, float | int | str | bool] = {}


class Gate(_Section, frozen=True, kw_only=True):
    """`[gate]`: what a challenger must show on a later window than it was trained on."""

    min_rows: Positive = 200
    min_accuracy: Share = 0.0
    max_regression: Share = 0.0
    worst_device: Share = 0.1
    parity_tolerance: Amount = 1e-5


class Rollout(_Section, frozen=True, kw_only=True):
    """`[rollout]`: waves and control are in per-myriad of the fleet."""

    waves: tuple[PerMyriad, ...] = (2500, 10000)
    control: PerMyriad = 2500
    min_labels: Positive = 300
    margin: Share = 0.01
    max_looks: Positive = 8
    max_offline_days: Positive = 90


class Drift(_Section, frozen=True, kw_only=True):
    """`[drift]`: population stability index of each feature over `window` against the training reference, and of each device's against
    its peers'; `false_alarms` is the chance of one without drift, in as long as a window."""

    window: Duration = Duration(days=30)
    alarm: Amount = 0.25
    device_alarm: Amount = 0.1
    false_alarms: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.05


class Faults(_Section, frozen=True, kw_only=True):
    """`[backtest.faults]`: what goes wrong on purpose; each is `device@time`, offline also with a length."""

    kill: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()


class Backtest(_Section, frozen=True, kw_only=True):
    """`[backtest]`: times are offsets from the first reading."""

    seed: Duration = Duration(days=91)
    tick: Duration = Duration(days=14)
    period: Duration = Duration(days=91)
    quick: Duration = Duration(days=365)
    joins: dict[str, Duration] = {}
    faults: Faults = Faults()


class LoopConfig(_Section, frozen=True, kw_only=True, dict=True):
    """A whole `loop.toml`."""

    version: int
    loop: Loop
    label: Label
    features: Features
    privacy: Privacy = Privacy()
    table: Table = Table()
    device: DeviceSection = DeviceSection()
    training: Training = Training()
    gate: Gate = Gate()
    rollout: Rollout = Rollout()
    drift: Drift = Drift()
    backtest: Backtest = Backtest()

    @property
    def name(self) -> str:
        return self.loop.name

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.loop.name)

    def schema(self) -> FeatureSchema:
        """The features in the order of the model's inputs. Raises `ConfigError` if there is none, or one contradicts itself."""
        return self._schema

    @cached_property
    def _schema(self) -> FeatureSchema:
        spec = self.features
        from_time = [kind for kind in FROM_TIME if kind in spec.from_time]
        return FeatureSchema(
            (
                *(self._feature(name, "number") for name in spec.numbers),
                *(self._feature(name, "category", values) for name, values in spec.categories.items()),
                *(self._feature(name, "hashed") for name in spec.hashed),
                *(self._feature(kind, kind) for kind in from_time),
            )
        )

    def _feature(self, name: str, kind: Kind, categories: tuple[str, ...] = ()) -> Feature:
        spec, privacy = self.features, self.privacy
        low, high = spec.ranges.get(name, (-math.inf, math.inf))
        return Feature(
            name,
            kind,
            categories,
            minimum=None if low == -math.inf else low,
            maximum=None if high == math.inf else high,
            step=privacy.round.get(name),
            dropped=name in privacy.drop,
            missing=spec.missing.get(name),
            outside=cast(Outside, spec.outside.get(name)),
        )


def read_loop(path: str | Path) -> LoopConfig:
    """Read and check a `loop.toml`.

    Raises:
        ConfigError: it cannot be read, is no TOML, or a key is unknown, missing or wrong; the message names the key.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", remedy="`edgeloop init` writes a loop.toml from a data file."
        ) from error
    return parse_loop(content, str(path))


def parse_loop(content: bytes | str, where: str = "loop.toml") -> LoopConfig:
    """Check the text of a `loop.toml`; `where` is how errors name it. Raises as `read_loop`."""
    try:
        config = msgspec.toml.decode(content, type=LoopConfig, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_explain(str(error))}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not valid TOML: {error}.", remedy="Mend the line it names.") from error
    try:
        found = _mistakes(config)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", remedy=error.remedy) from error
    for key, wrong, remedy in found:
        if wrong:
            raise ConfigError(f"{where}: {key} {wrong}.", remedy=remedy)
    return config


def _decode(kind: type, value: Any) -> Any:
    if kind is Duration:
        try:
            return Duration.parse(value)
        except (EdgeloopError, AttributeError, TypeError) as error:
            raise ValueError(f"{value!r} is no duration; write a number and s, m, h, d or w, such as '14d'") from error
    if kind is Window:
        try:
            return Window.parse(value)
        except (EdgeloopError, TypeError) as error:
            raise ValueError(f"{value!r} are no hours of the day; write them in UTC, such as '22:00-06:00'") from error
    raise NotImplementedError(kind)


def _explain(text: str) -> str:
    """msgspec's message with the key in front, as it is written in the file, and a remedy."""
    message, _, place = text.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(\w+)`", message):
        return _unknown_key(unknown[1], path)
    if missing := re.search(r"missing required field `(\w+)`", message):
        key = f"{path}.{missing[1]}".lstrip(".")
        return f"{key} is missing. Add it; `edgeloop init` shows every key with its meaning."
    return f"{path or 'the file'}: {message[0].lower()}{message[1:]}. Change the value."


def _unknown_key(name: str, path: str) -> str:
    section: Any = LoopConfig
    for part in filter(None, path.split(".")):
        section = next((f.type for f in msgspec.structs.fields(section) if f.name == part), LoopConfig)
    known = [f.name for f in msgspec.structs.fields(section)]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(known)}."
    return f"{f'{path}.{name}'.lstrip('.')} is not a known key. {hint}"


def _mistakes(config: LoopConfig) -> list[tuple[str, str, str]]:
    """What types cannot say: (key, what is wrong or nothing, remedy)."""
    found: list[tuple[str, str, str]] = []

    def check(good: bool, key: str, wrong: str, remedy: str) -> None:
        if not good:
            found.append((key, wrong, remedy))

    check(config.version == 1, "version", f"is {config.version}", "This edgeloop reads version 1; upgrade edgeloop.")
    try:
        check_id("loop.name", config.loop.name)
        names = config.schema().names
    except DataError as error:
        return [("loop.name", f"is {config.loop.name!r}", error.remedy)]
    found += _label_mistakes(config.label, names) + _feature_mistakes(config.features, config.privacy)
    check(
        not (config.table.device and config.table.devices), "table.devices", "is set beside table.device", "Keep one."
    )
    check(config.device.durability in ("group", "event"), "device.durability", "is unknown", "Use 'group' or 'event'.")
    forever = config.device.refuse_for is None
    check(
        forever or bool(config.device.refuse_for),
        "device.refuse_for",
        "is zero",
        "Leave it out, for ever, or give '30d'.",
    )
    ship = config.privacy.ship
    check(ship in (EVENTS, AGGREGATES), "privacy.ship", f"is {ship!r}", "Use 'events' or 'aggregates'.")
    check(
        config.privacy.retention is None or config.privacy.retention >= Duration(days=1),
        "privacy.retention",
        f"is {config.privacy.retention}",
        "Keep rows for a day at least, such as '365d', or leave it out, for ever.",
    )
    waves = config.rollout.waves
    rising = bool(waves) and list(waves) == sorted(set(waves)) and waves[0] > 0 and waves[-1] == 10000
    check(
        rising, "rollout.waves", f"is {list(waves)}", "Give rising per-myriads ending in 10000, such as [2500, 10000]."
    )
    for section, keys in (
        ("backtest", ("seed", "tick", "period", "quick")),
        ("training", ("every", "validation")),
        ("drift", ("window",)),
        ("table", ("interval",)),
        ("device", ("request_deadline",)),
    ):
        for key in keys:
            length = getattr(getattr(config, section), key)
            check(bool(length), f"{section}.{key}", "is zero", "Give a length of time, such as '14d'.")
    return found


def _feature_mistakes(features: Features, privacy: Privacy) -> list[tuple[str, str, str]]:
    """What the schema does not say: names that are none of its."""
    numbers = features.numbers
    every = {*numbers, *features.categories, *features.hashed, *features.from_time}
    return [
        *(
            (key, f"has {n!r}", remedy)
            for key, given, known, remedy in (
                ("features.from_time", features.from_time, FROM_TIME, f"Choose from {', '.join(FROM_TIME)}."),
                ("features.ranges", features.ranges, numbers, "Name one of features.numbers."),
                ("features.outside", features.outside, numbers, "Name one of features.numbers."),
                ("features.missing", features.missing, every, "Name one of the loop's features."),
                ("privacy.round", privacy.round, numbers, "Name one of features.numbers."),
                ("privacy.drop", privacy.drop, every, "Name one of the loop's features."),
            )
            for n in given
            if n not in known
        ),
        *(
            (f"features.categories.{n}", "is empty", "List its values.")
            for n, v in features.categories.items()
            if not v
        ),
    ]


def _label_mistakes(label: Label, features: tuple[str, ...]) -> list[tuple[str, str, str]]:
    count = len(label.cuts) + 1 if label.cuts else None
    return [
        (key, wrong, remedy)
        for bad, key, wrong, remedy in (
            (len(label.classes) < 2, "label.classes", "has fewer than two classes", "List every value of the label."),
            (len(set(label.classes)) < len(label.classes), "label.classes", "names a class twice", "Remove one."),
            (
                any(safe_id(source) != source for source in label.sources),
                "label.sources",
                f"is {list(label.sources)}",
                "Give names of folders in labels/, which begin with a letter or digit.",
            ),
            (len(set(label.sources)) < len(label.sources), "label.sources", "names a source twice", "Remove one."),
            (list(label.cuts) != sorted(set(label.cuts)), "label.cuts", "does not rise", "Sort the cuts, each once."),
            (
                count is not None and count != len(label.classes),
                "label.classes",
                f"has {len(label.classes)} names for {count} classes",
                "Give one name more than there are cuts.",
            ),
            (
                label.column in features,
                "label.column",
                f"{label.column!r} is a feature too",
                "Take it out of [features].",
            ),
        )
        if bad
    ]
