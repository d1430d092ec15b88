"""The timeline of a backtest, decided beforehand: ticks, who has joined, when training is due, what goes wrong.

Pure: from the configuration and the first and last reading to a list of `Tick`. Times in `[backtest]` are offsets from
the first reading.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgeloop.config import LoopConfig
from edgeloop.duration import Duration
from edgeloop.errors import ConfigError
from edgeloop.layout import safe_id

MOST_TICKS = 5000
"""Each takes about a second."""


@dataclass(frozen=True)
class Tick:
    """One step of simulated time: devices live from `start` to `end`, then the centre works.

    `offline` devices reach no store in it, the process of `kill` is killed in it, a batch of each of `corrupt` is damaged
    in the inbox at its end, and `train` says that training is due after it.
    """

    start: datetime
    end: datetime
    offline: frozenset[str]
    kill: frozenset[str]
    corrupt: frozenset[str]
    train: bool


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong on purpose."""

    kind: str
    device: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Scenario:
    """The whole timeline. Rows before `seed_end` are what the first release is trained on."""

    start: datetime
    seed_end: datetime
    end: datetime
    ticks: tuple[Tick, ...]
    faults: tuple[Fault, ...]
    joins: dict[str, datetime]


def plan_scenario(
    config: LoopConfig, first: datetime, last: datetime, devices: Collection[str], *, quick: bool
) -> Scenario:
    """Lay the timeline out from the `first` to the `last` reading (inclusive).

    Raises:
        ConfigError: the seed period covers all of the data, or a fault or a join names no device of the table.
    """
    rules = config.backtest
    end = last + timedelta(microseconds=1)
    if quick:
        end = min(end, first + rules.quick)
    seed_end = first + rules.seed
    if seed_end >= end:
        raise ConfigError(
            f"backtest.seed of {rules.seed} leaves nothing to play: the data spans {Duration(seconds=(end - first).total_seconds())}.",
            remedy="Shorten backtest.seed.",
        )
    if (end - first) / rules.tick > MOST_TICKS:
        raise ConfigError(
            f"backtest.tick of {rules.tick} cuts the history into {(end - first) // rules.tick:,} ticks.",
            remedy=f"Lengthen it; at most {MOST_TICKS:,} are played.",
        )
    joins = {_known(device, devices, "backtest.joins"): first + offset for device, offset in rules.joins.items()}
    faults = tuple(_faults(config, first, devices))
    return Scenario(first, seed_end, end, tuple(_ticks(config, first, seed_end, end, faults)), faults, joins)


def _ticks(
    config: LoopConfig, first: datetime, seed_end: datetime, end: datetime, faults: tuple[Fault, ...]
) -> list[Tick]:
    ticks = []
    start, next_training = first, seed_end
    while start < end:
        # A tick never crosses the end of the seed: the first release is trained on the seed alone.
        stop = min(start + config.backtest.tick, end)
        if start < seed_end < stop:
            stop = seed_end
        train = stop >= next_training and stop < end
        if train:
            next_training = stop + config.training.every

        def hit(kind: str, start: datetime = start, stop: datetime = stop) -> frozenset[str]:
            return frozenset(f.device for f in faults if f.kind == kind and f.start < stop and f.end > start)

        ticks.append(Tick(start, stop, hit("offline"), hit("kill"), hit("corrupt"), train))
        start = stop
    return ticks


def _faults(config: LoopConfig, first: datetime, devices: Collection[str]) -> list[Fault]:
    found = []
    for kind in ("kill", "offline", "corrupt"):
        for text in getattr(config.backtest.faults, kind):
            device, at, length = _parse_fault(kind, text)
            start = first + at
            found.append(Fault(kind, _known(device, devices, f"backtest.faults.{kind}"), start, start + length))
    return found


def _parse_fault(kind: str, text: str) -> tuple[str, Duration, timedelta]:
    device, _, when = text.rpartition("@")
    at, plus, length = when.partition("+")
    if not device or (kind == "offline") != bool(plus):
        form = "'device@300d+30d'" if kind == "offline" else "'device@300d'"
        raise ConfigError(f"backtest.faults.{kind} has {text!r}.", remedy=f"Write it as {form}.")
    return device, Duration.parse(at), Duration.parse(length) if plus else timedelta(microseconds=1)


def _known(device: str, devices: Collection[str], key: str) -> str:
    if safe_id(device) not in devices:
        raise ConfigError(
            f"{key} names {device!r}, which the table does not have.",
            remedy=f"Its devices: {', '.join(sorted(devices)[:20])}.",
        )
    return safe_id(device)
