"""Groups: events as they wait in the file, packed together, and how a group is thinned.

All events of a group have one weight. Thinning keeps one of every two events by lot; the `weight` of the survivors doubles, so
that sums over weights stay unbiased (Horvitz and Thompson 1952).
"""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections.abc import Iterator, Sequence

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
    return len(content)


def take(connection: sqlite3.Connection, first_seq: int) -> list[Event]:
    """Read a group and remove it."""
    (content,) = connection.execute("SELECT content FROM groups WHERE first_seq = ?", (first_seq,)).fetchone()
    connection.execute("DELETE FROM groups WHERE first_seq = ?", (first_seq,))
    return unpack(content)


def thin(connection: sqlite3.Connection, size: int) -> int:
    """Thin all groups of the lowest weight, and join them to groups of at least `size` events; how many events went."""
    lightest = "SELECT first_seq FROM groups WHERE weight = (SELECT min(weight) FROM groups) ORDER BY first_seq"
    lot, kept, dropped = one_of_two(), list[Event](), 0
    for (first_seq,) in connection.execute(lightest).fetchall():
        events = take(connection, first_seq)
        survivors = halve(events, lot)
        dropped += len(events) - len(survivors)
        kept += survivors
        if len(kept) >= size:  # fuller groups: events alone compress badly
            insert(connection, kept)
            kept = []
    insert(connection, kept)
    return dropped


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
