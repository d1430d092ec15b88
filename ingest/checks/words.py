"""What a batch says of itself in its metadata, and what older versions said for it.

The rows need no upgrade so far: version 1 had of every column one of the types that version 2 has (ingest/checks/columns.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow.parquet as pq

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.layout import BatchName
from edgeloop.schema import EVENT_SCHEMA

Words = dict[str, str]

VERSION, PREFIX = "edgeloop.schema", "edgeloop."

HIGHEST_SEQ = 10**12 - 1
"""A batch's name has twelve digits for a sequence number."""


def _without_prefix(words: Words) -> Words:
    return {key if key == VERSION else key.removeprefix(PREFIX): value for key, value in words.items()}


UPGRADES: dict[int, Callable[[Words], Words]] = {1: _without_prefix}
"""What makes of a version's words those of the next."""


def read_words(file: pq.ParquetFile) -> Words:
    """What the file says of itself, in the words of its own version."""
    found = file.metadata.metadata or {}
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in found.items()}


def upgrade(words: Words) -> Words:
    """What is said, in the words of this version. Raises `DataError` if it is of none, or of a newer one."""
    version = whole(words, VERSION)
    if version > EVENT_SCHEMA:
        raise DataError(
            f"it is of event schema {version}, this centre reads 1 to {EVENT_SCHEMA}.", remedy="Upgrade the centre."
        )
    if version < 1:
        raise DataError(f"it is of event schema {version}, which there never was.")
    for step in range(version, EVENT_SCHEMA):
        words = UPGRADES[step](words)
    return words


def check_words(words: Words, config: LoopConfig, device: str, name: BatchName) -> None:
    """Demand that a batch says it is of this loop, of the `device` in whose inbox it is, and of the epoch in its name.

    Raises:
        DataError: it does not, or its numbers and times are none.
    """
    expected = {"loop": config.name, "device": device, "epoch": str(name.epoch), "features": config.schema().digest}
    for key, wanted in expected.items():
        if (found := _said(words, key)) != wanted:
            raise DataError(f"its {key} is {found[:80]!r}, expected {wanted!r}.", remedy=_REMEDIES[key])
    if (shed := whole(words, "shed")) > HIGHEST_SEQ:
        raise DataError(f"its shed is {shed}, and there are {HIGHEST_SEQ} sequence numbers.")
    time(words, "sealed_at")


_REMEDIES = {
    "loop": "Let the device ship to its own loop's store.",
    "device": "Two devices share credentials, or a file was copied by hand.",
    "epoch": "Do not rename files in an inbox.",
    "features": "The device was set up with other features than the loop has now: give one of them the other's.",
}


def whole(words: Words, key: str) -> int:
    """The number of that name, from 0 to 10¹⁵. Raises `DataError` if it is none."""
    text = _said(words, key)
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise DataError(f"its {key} is {text[:40]!r}, not a whole number.")
    return int(text)


def time(words: Words, key: str) -> datetime:
    """The time of that name, in UTC. Raises `DataError` if it is none."""
    text = _said(words, key)
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # one of the year 1 can be before it in UTC
        raise DataError(f"its {key} is {text[:40]!r}, no time.") from error


def _said(words: Words, key: str) -> str:
    if key not in words:
        raise DataError(f"it does not say its {key}.", remedy="Send batches as a device seals them.")
    return words[key]
