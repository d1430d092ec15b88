"""Groups: events as they wait in the file, packed together, and how a group is thinned.

Groups that are small, since an event waits a second for the next one at the most, are joined before any is thinned: that frees more
than half of what they take, and no event goes.

A group has a level, which doubles each time it is thinned, and is half as much again once it was joined. Thinning keeps one of every
two events by lot; the `weight` of the survivors doubles, so that sums over weights stay unbiased (Horvitz and Thompson 1952). The
events that were least to be expected, rare classes and low confidence, are spared at first: whom a lot may take can depend on anything
but the lot.

No group reaches over another. A *run* is the groups between two cuts; no batch and no group has events of two runs, for what was
between them is in a batch already, and batches do not overlap either.
"""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import msgspec

from edgeloop.errors import DataError


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

SPARED = 0.1
"""The share of a portion that is spared at a thinning."""

HEADSTART = 8
"""How many times the weight of a spared event the level of its group may be; over it nothing is spared any more."""

SMALL = 4
"""How many times fuller a group can get than those that are worth joining."""

JOINED = 1.5
"""What level a group gets that was joined and never thinned: the others, of level 1, come before it."""

ROW = 40
"""Bytes that SQLite takes for a group beside its content, with its place in the index; of a lone event that is a quarter."""

OLDEST = """
SELECT first_seq FROM groups
WHERE first_seq < coalesce((SELECT min(seq) FROM cuts WHERE seq > (SELECT min(first_seq) FROM groups)), 1e18)
ORDER BY first_seq LIMIT ?
"""
"""The groups of the first run, forwards."""

NEWEST = """
SELECT first_seq FROM groups
WHERE first_seq >= coalesce((SELECT max(seq) FROM cuts WHERE seq <= (SELECT max(first_seq) FROM groups)), 0)
ORDER BY first_seq DESC LIMIT ?
"""
"""The groups of the last run, backwards."""

_LOWEST = """
SELECT first_seq, weight, content FROM groups
WHERE first_seq >= (SELECT first_seq FROM groups ORDER BY weight, first_seq LIMIT 1)
AND first_seq < coalesce(
    (SELECT min(seq) FROM cuts WHERE seq > (SELECT first_seq FROM groups ORDER BY weight, first_seq LIMIT 1)), 1e18)
ORDER BY first_seq
"""
"""From the first group of the lowest level to the end of its run."""

_DROP_CUTS = """
DELETE FROM cuts WHERE NOT EXISTS (
    SELECT 1 FROM groups WHERE first_seq < cuts.seq
    AND first_seq >= coalesce((SELECT max(lower.seq) FROM cuts AS lower WHERE lower.seq < cuts.seq), 0)
)
"""
"""A cut under which nothing waits, down to the next one, parts nothing."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode


class Damaged(DataError):
    """A group's content is not what was written, though SQLite's pages are whole."""

    def __init__(self, first_seq: int) -> None:
        super().__init__(f"the group of events from {first_seq} on is damaged.", remedy="It is set aside.")
        self.first_seq = first_seq


def unpack(first_seq: int, content: bytes) -> list[Event]:
    """The events of a group. Raises `Damaged`."""
    try:
        return _decode(zlib.decompress(content))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise Damaged(first_seq) from error


def insert(connection: sqlite3.Connection, events: Sequence[Event], level: float) -> int:
    """Write a group, if there are events for one; its bytes."""
    if not events:
        return 0
    content = zlib.compress(_encode(events), 1)
    connection.execute("INSERT INTO groups VALUES (?, ?, ?, ?)", (events[0].seq, level, content, len(events)))
    return len(content) + ROW


class Portion(NamedTuple):
    """What a thinning did: events it read, events that went, bytes that it freed."""

    read: int
    dropped: int
    freed: int


def take_out(connection: sqlite3.Connection, events: Sequence[Event]) -> int | None:
    """Take `events`, the first or the last of a run, out of the groups; the bytes freed, or None if they are not as they were."""
    first, last = events[0].seq, events[-1].seq
    (begin,) = connection.execute("SELECT max(first_seq) FROM groups WHERE first_seq <= ?", (first,)).fetchone()
    groups = "FROM groups WHERE first_seq BETWEEN ? AND ?"
    rows = connection.execute(f"SELECT weight, first_seq, content {groups}", (begin, last)).fetchall()
    found = [(level, unpack(first_seq, content)) for level, first_seq, content in rows]
    if [_same(e) for _, group in found for e in group if first <= e.seq <= last] != [_same(e) for e in events]:
        return None
    connection.execute(f"DELETE {groups}", (begin, last))
    kept = 0
    for level, group in found:
        kept += insert(connection, [event for event in group if event.seq < first], level)
        kept += insert(connection, [event for event in group if event.seq > last], level)
    connection.execute("INSERT OR IGNORE INTO cuts VALUES (?)", (first,))
    connection.execute(_DROP_CUTS)
    return sum(len(content) + ROW for *_, content in rows) - kept


def _same(event: Event) -> tuple[int, float]:
    return event.seq, event.weight


def thin(connection: sqlite3.Connection, size: int, lots: Lots) -> Portion:
    """Join the oldest groups of the lowest level, up to about twice `size` events, and thin them if they are not small.

    Only neighbours of one run are joined.

    Raises:
        Damaged: one of them is; the transaction must be given up.
    """
    events, taken, freed, level = list[Event](), list[tuple[int]](), 0, 0.0
    for first_seq, its, content in connection.execute(_LOWEST):
        if taken and its != level:
            break
        level = its
        events += unpack(first_seq, content)
        taken.append((first_seq,))
        freed += len(content) + ROW
        if len(events) >= 2 * size:  # fuller groups: events alone compress badly
            break
    if not events:
        return Portion(0, 0, 0)
    connection.executemany("DELETE FROM groups WHERE first_seq = ?", taken)
    read = len(events)
    if level == 1 and SMALL * read < size * len(taken) and len(taken) > 1:
        return Portion(read, 0, freed - insert(connection, events, JOINED))
    survivors = halve(events, lots, spared(events, level))
    return Portion(read, read - len(survivors), freed - insert(connection, survivors, 2 * int(level)))


def spared(events: Sequence[Event], level: float) -> set[int]:
    """The sequence numbers of the tenth of `events` that was least to be expected: by its class's share of them times its confidence.

    An event that is spared long enough to weigh an eighth of its group's `level` has had its head start.
    """
    shares = Counter(event.prediction for event in events)
    eligible = [event for event in events if event.weight * HEADSTART > level]
    eligible.sort(key=lambda e: shares[e.prediction] * (1.0 if e.confidence is None else e.confidence))
    return {event.seq for event in eligible[: int(SPARED * len(events))]}


def new_lots() -> Lots:
    """A fresh lot for each weight."""
    return defaultdict(one_of_two)


def one_of_two() -> Iterator[bool]:
    """Without end: True for one of every two, whichever the lot falls on."""
    while True:
        first = random.random() < 0.5
        yield first
        yield not first


def halve(events: Sequence[Event], lots: Lots, spared: Container[int] = ()) -> list[Event]:
    """The survivors of a thinning, each of which stands for two; and those that are `spared`, as they are."""
    survivors = list[Event]()
    for event in events:
        if event.seq in spared:
            survivors.append(event)
        elif next(lots[event.weight]):
            event.weight *= 2
            survivors.append(event)
    return survivors
