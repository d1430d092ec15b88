"""Where things are in the store, and which names may be part of a path.

One function a kind of object; nobody else builds a path. The layout is specified in docs/formats.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from edgeloop.errors import DataError

_DIGEST = re.compile("[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,63}")

RELEASE_METADATA = "releases/metadata"
RELEASE_TARGETS = "releases/targets"


def check_id(kind: str, value: str) -> str:
    """Return `value` if it may be part of a store path.

    Allowed: 1 to 64 of `A-Z a-z 0-9 . _ -`, first a letter or digit, no two dots in a row, no dot at the end.

    Raises:
        DataError: `value` is anything else, such as `../other`.
    """
    if not _ID.fullmatch(value) or value.endswith("."):
        raise DataError(
            f"{kind} {value!r} cannot be part of a path.",
            remedy="Use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit.",
        )
    return value


def is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 digest as we write it: 64 hex digits, lower case."""
    return _DIGEST.fullmatch(text) is not None


def safe_id(value: str) -> str:
    """An id for `value` that passes `check_id`: itself if it can be, else a readable part and a hash of the whole."""
    if _ID.fullmatch(value) and not value.endswith("."):
        return value
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", value).strip("-_")[:48] or "id"
    return f"{readable}-{sha256(value.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class BatchName:
    """The name of a batch: `<epoch>-<first sequence number>-<sha256 of the bytes>.parquet`."""

    epoch: int
    seq: int
    sha256: str

    _PATTERN = re.compile(r"([0-9]{6})-([0-9]{12})-([0-9a-f]{64})\.parquet")

    def __str__(self) -> str:
        return f"{self.epoch:06d}-{self.seq:012d}-{self.sha256}.parquet"

    @classmethod
    def parse(cls, name: str) -> BatchName:
        """Read a file name.

        Raises:
            DataError: it is not of the form above.
        """
        found = cls._PATTERN.fullmatch(name)
        if not found:
            raise DataError(
                f"batch name {name!r} is not <epoch>-<seq>-<sha256>.parquet.",
                remedy="Names are made by the device when it seals a batch; do not rename files in an inbox.",
            )
        return cls(int(found[1]), int(found[2]), found[3])


@dataclass(frozen=True)
class Layout:
    """The paths of one loop. `loop` must pass `check_id`."""

    loop: str

    def __post_init__(self) -> None:
        check_id("loop name", self.loop)

    @property
    def root(self) -> str:
        return f"loops/{self.loop}"

    @property
    def inbox(self) -> str:
        return f"{self.root}/inbox"

    def batch(self, device: str, name: BatchName) -> str:
        return f"{self.inbox}/{check_id('device id', device)}/{name}"

    def sender(self, path: str) -> str | None:
        """In whose inbox a path is, whatever that one is called; None if in none."""
        inside = path.removeprefix(f"{self.inbox}/")
        return None if inside == path else inside.split("/")[0]

    @property
    def labels(self) -> str:
        return f"{self.root}/labels"

    def label_file(self, source: str, ident: str) -> str:
        return f"{self.labels}/{check_id('label source', source)}/{check_id('label file id', ident)}.parquet"

    @property
    def statuses(self) -> str:
        return f"{self.root}/status"

    def status(self, device: str) -> str:
        return f"{self.statuses}/{check_id('device id', device)}.json"

    @property
    def played(self) -> str:
        """What says that a backtest played the loop here."""
        return f"{self.root}/backtest.json"

    @property
    def quarantine(self) -> str:
        return f"{self.root}/quarantine"

    @property
    def retries(self) -> str:
        """By way of which a file goes from quarantine back to where it was."""
        return f"{self.root}/retries"

    def lake(self, table: str) -> str:
        return f"{self.root}/lake/{table}"

    def commit(self, table: str, version: int) -> str:
        """The file of a Delta table's log that makes `version` of it."""
        return f"{self.lake(table)}/_delta_log/{version:020d}.json"

    @property
    def plans(self) -> str:
        return f"{self.root}/plans"

    def plan(self, number: int) -> str:
        return f"{self.plans}/{number:09d}.json"

    def plan_done(self, number: int) -> str:
        """What says that plan `number` has been finished."""
        return f"{self.plans}/{number:09d}.done"

    @property
    def forgetting(self) -> str:
        """Requests to forget somebody while they are under way; they say whom."""
        return f"{self.root}/forgetting"

    @property
    def forgotten(self) -> str:
        """What was forgotten, without a name."""
        return f"{self.root}/forgotten"

    @property
    def readmitted(self) -> str:
        """Since when devices that were forgotten are some of the loop again."""
        return f"{self.root}/readmitted"

    def readmission(self, device: str) -> str:
        return f"{self.readmitted}/{check_id('device id', device)}.json"

    @property
    def received(self) -> str:
        """How far the batches of each device go, in short."""
        return f"{self.root}/received.parquet"

    @property
    def trainings(self) -> str:
        return f"{self.root}/trainings"

    def training(self, number: int, name: str) -> str:
        """A file of training `number`: `set.json`, `model.onnx`, `manifest.json` or `verdict.json`."""
        return f"{self.trainings}/{number:06d}/{name}"
