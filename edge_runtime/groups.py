"""Groups: events as they wait in the file, packed together, and how a group is thinned.

All events of a group have one weight. Thinning keeps one of every two events by lot; the `weight` of the survivors doubles, so
that sums over weights stay unbiased (Horvitz and Thompson 1952).
"""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec


class Event(msgspec.Struct, array_like=True):
    """One inference: `ts` in µs since 1970 UTC; `inputs` as the model saw them; None before the first release."""

    seq: int
    ts: int
    release: str | None
    prediction: str | None
    confidence: float | None
    latency_us: float | None
    inputs: Sequence[float | None]
    weight: float = 1.0


Lots = defaultdict[float, Iterator[bool]]
"""A lot by weight that goes on from thinning to thinning, so that pairs lose nothing of their weight."""

ROW = 40
"""Bytes that SQLite takes for a group beside its content, with its place in the index; of a lone event that is a quarter."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode


def unpack(content: bytes) -> list[Event]:
    """The events of a group's `content`."""
    return _decode(zlib.decompress(content))


def insert(connection: sqlite3.Connection, events: Sequence[Event]) -> int:
    """Write a group, if there are events for one; its bytes."""
    if not events:
        return 0
    content = zlib.compress(_encode(events), 1)
    connection.execute("INSERT INTO groups VALUES (?, ?, ?)", (events[0].seq, events[0].weight, content))
    return len(content) + ROW


class Portion(NamedTuple):
    """What a thinning did: events it read, events that went, bytes that it freed."""

    read: int
    dropped: int
    freed: int


def thin(connection: sqlite3.Connection, size: int, lots: Lots) -> Portion:
    """Thin the oldest groups of the lowest weight, up to about twice `size` events, and join what stays to one group."""
    lightest = (
        "SELECT first_seq, content FROM groups WHERE weight = (SELECT min(weight) FROM groups) ORDER BY first_seq"
    )
    events, taken, freed = list[Event](), list[tuple[int]](), 0
    for first_seq, content in connection.execute(lightest):
        events += unpack(content)
        taken.append((first_seq,))
        freed += len(content) + ROW
        if len(events) >= 2 * size:  # fuller groups: events alone compress badly
            break
    if not events:
        return Portion(0, 0, 0)
    connection.executemany("DELETE FROM groups WHERE first_seq = ?", taken)
    read, survivors = len(events), halve(events, lots[events[0].weight])
    return Portion(read, read - len(survivors), freed - insert(connection, survivors))


def new_lots() -> Lots:
    """A fresh lot for each weight."""
    return defaultdict(one_of_two)


def one_of_two() -> Iterator[bool]:
    """Without end: True for one of every two, whichever the lot falls on."""
    while True:
        first = random.random() < 0.5
        yield first
        yield not first


def halve(events: Sequence[Event], lot: Iterator[bool]) -> list[Event]:
    """The survivors of a thinning, each of which stands for two."""
    survivors = [event for event in events if next(lot)]
    for event in survivors:
        event.weight *= 2
    return survivors
