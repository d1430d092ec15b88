"""What a backtest says at its end: `Summary` is the contract of `--json` and `summary.json`; `Details` is for the report."""

from __future__ import annotations

from datetime import datetime

import msgspec


class EventBooks(msgspec.Struct, frozen=True):
    """produced = ingested + shed + missing."""

    produced: int
    ingested: int
    shed: int
    missing: int


class Scores(msgspec.Struct, frozen=True):
    """One metric, 0 to 1, of the first release kept for ever, of the loop, and of hindsight."""

    static: float
    loop: float
    ceiling: float


class PeriodScores(msgspec.Struct, frozen=True):
    """The scores of the `rows` labelled events from `start` to `end`."""

    period: str
    start: datetime
    end: datetime
    rows: int
    accuracy: Scores
    macro_f1: Scores


class ReleaseRow(msgspec.Struct, frozen=True):
    """A published release; `sha256` is its manifest's digest."""

    id: str
    sha256: str
    created: datetime


class RolloutRow(msgspec.Struct, frozen=True):
    """The last word on a release's rollout."""

    release: str
    verdict: str
    reason: str


class Bytes(msgspec.Struct, frozen=True):
    """Bytes that all devices together moved."""

    uploaded: int
    downloaded: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a backtest; `accuracy` and `macro_f1` are over all labelled events after the seed period."""

    events: EventBooks
    accuracy: Scores
    macro_f1: Scores
    by_period: tuple[PeriodScores, ...]
    releases: tuple[ReleaseRow, ...]
    rollouts: tuple[RolloutRow, ...]
    moved: Bytes = msgspec.field(name="bytes")
    seconds: float

    def encode(self) -> bytes:
        """One JSON object."""
        return msgspec.json.encode(self)


class BytesAt(msgspec.Struct, frozen=True):
    """Bytes moved by all devices up to `at`."""

    at: datetime
    uploaded: int
    downloaded: int


class DeviceRow(msgspec.Struct, frozen=True):
    """The books of one device, and what runs on it at the end."""

    device: str
    joined: datetime
    produced: int
    ingested: int
    shed: int
    missing: int
    quarantined: int
    release: str


class FaultRow(msgspec.Struct, frozen=True):
    """Something that went wrong on purpose."""

    kind: str
    device: str
    start: datetime
    end: datetime


class CheckRow(msgspec.Struct, frozen=True):
    """A gate's finding."""

    name: str
    passed: bool
    sentence: str


class TrainingRow(msgspec.Struct, frozen=True):
    """A training: when, on how many rows, and its gates."""

    id: str
    at: datetime
    rows: int
    passed: bool
    reason: str
    checks: tuple[CheckRow, ...]


class Details(msgspec.Struct, frozen=True):
    """What the report shows beside the summary."""

    loop: str
    description: str
    start: datetime
    seed_end: datetime
    end: datetime
    shipped: int
    kills: int
    corrupted: int
    devices: tuple[DeviceRow, ...]
    faults: tuple[FaultRow, ...]
    trainings: tuple[TrainingRow, ...]
    bytes_over_time: tuple[BytesAt, ...]
    decisions: tuple[tuple[datetime, str, str], ...]
    notes: tuple[str, ...]
