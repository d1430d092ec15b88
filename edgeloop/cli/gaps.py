"""`edgeloop fleet gaps`: which events are not in the lake, by device, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop.cli.options import Json, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, table
from edgeloop.config import read_loop

if TYPE_CHECKING:
    from ingest.derived.gaps import Gap, Gaps

MOST = 20
"""Ranges of a device that are shown to a person, the newest; a program gets all of them."""


def gaps(loop: LoopFile, store: StoreUrl, json: Json = False) -> None:
    """The ranges of sequence numbers that are not in the lake, since when, and how many events were shed, wait or are missing."""
    from edgeloop.lake import Lake
    from edgeloop.store import open_store
    from ingest.derived.gaps import find_gaps

    config, opened = read_loop(loop), open_store(store)
    found = find_gaps(opened, Lake(opened, config.layout), config.layout)
    lacking = [books for books in found if books.shed + books.missing]
    columns = ("device", "epoch", "from", "to", "events", "known since", "in quarantine")
    rows = [row for books in lacking for row in _rows(books)]
    drawn = table(f"gaps of {config.name}", columns, rows)
    emit({"devices": found}, as_json=json, human=drawn if lacking else _nothing(found, config.name))
    for books in lacking:
        note(_sentence(books, loop))


def _rows(books: Gaps) -> Iterator[tuple[Any, ...]]:
    for gap in islice(reversed(books.gaps), MOST):
        yield books.device, str(books.epoch), str(gap.first), str(gap.last), len(gap), _since(gap), _held(gap)
    if (more := len(books.gaps) - MOST) > 0:
        yield books.device, str(books.epoch), "", f"{more} older", sum(map(len, books.gaps[:more])), "", ""


def _since(gap: Gap) -> str:
    return f"{gap.known:%Y-%m-%d %H:%M}" if gap.known else ""


def _held(gap: Gap) -> str:
    return ", ".join(f"batch from {first}" for first in gap.quarantined)


def _nothing(found: Sequence[Gaps], name: str) -> str:
    """A store that nothing came to, such as one whose name was mistyped, is not one where nothing is missing."""
    return f"Nothing is missing of {name}." if found else f"No device of {name} has sent anything to this store yet."


def _sentence(books: Gaps, loop: Path) -> str:
    """What became of the events that are not in the lake, as far as anybody knows."""
    lost = books.missing - books.waiting
    words = [
        f"{books.device}, epoch {books.epoch}: {books.produced:,} events were produced, {books.ingested:,} are in the lake",
        *([f"{books.shed:,} were shed, as the device declares"] if books.shed else []),
        *([f"{books.waiting:,} wait on the device"] if books.waiting else []),
        *([f"{lost:,} are missing"] if lost else []),
    ]
    said = "; ".join(words) + "."
    if books.quarantined:
        said += f" {books.quarantined} of its batches are in quarantine: `edgeloop quarantine list {loop} --device {books.device}`."
    if books.within:
        said += f" {books.within:,} numbers are left out within batches, where nothing can come any more."
    return said
