"""Quarantine: what ingest rejected, with the reason, until a person sends it back (`ingest/retry.py`) or drops it.

What is in there was made by strangers, names and all. Rules:
1. A file's place says where it came from. What the reason says of that counts only if it leads to this very place.
2. A reason is written by the centre alone: a rejected file that is called like one is kept by the digest of its path.
3. The file comes before its reason and goes before it. One that is there without the other is of an ingest or a command that was
   killed, and whoever repeats that finds it so.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import msgspec

from edgeloop.errors import NotFound
from edgeloop.layout import Layout
from edgeloop.store import Entry, Store
from ingest.plan import Rejected

REASON = ".reason.json"
LONGEST_NAME = 200
"""Bytes in a part of a path that leave room for `.reason.json` in a directory, where a name has at most 255."""

ODD, LABELS = "odd-names", "labels"

UNKNOWN = "its reason is not written yet, or cannot be read: an ingest was interrupted, and the next one mends that"

_REASON_BYTES = 64 * 1024
_READERS = 16


class _Words(msgspec.Struct, frozen=True):
    path: str
    reason: str


_NOTHING = _Words("", "")


@dataclass(frozen=True)
class Held:
    """A file in quarantine, at `place` in there.

    `path` is where it was, empty if nobody knows that; `sender` a device's id, or the source of labels; `size` None if only its
    reason is there. `since` is the store's time of the reason.
    """

    place: str
    path: str
    kind: str
    sender: str
    name: str
    reason: str
    size: int | None
    since: datetime


def hold(store: Store, layout: Layout, bad: Rejected) -> None:
    """Copy a rejected file into quarantine, and write down why. May be repeated."""
    place = held_at(layout, quarantine_place(layout, bad.path))
    with contextlib.suppress(NotFound):  # taken away since the listing
        store.copy(bad.path, place)
    store.replace(f"{place}{REASON}", msgspec.json.encode(_Words(bad.path, bad.reason)))


def release(store: Store, layout: Layout, held: Held) -> None:
    """Take a file and its reason out of quarantine, for good. May be repeated."""
    store.delete(held_at(layout, held.place))
    store.delete(f"{held_at(layout, held.place)}{REASON}")


def held_at(layout: Layout, place: str) -> str:
    """The path of what is at `place` in quarantine."""
    return f"{layout.quarantine}/{place}"


def quarantine_place(layout: Layout, path: str) -> str:
    """Where in quarantine a file from `path` is kept: at the same place, or by the digest of the path where there is no room for the
    reason's name, or the place is another's."""
    takes_anothers = layout.sender(path) in (ODD, LABELS)
    inside = path.removeprefix(f"{layout.inbox}/").removeprefix(f"{layout.root}/")
    longest = max(len(part.encode()) for part in inside.split("/"))
    if takes_anothers or inside.endswith(REASON) or longest > LONGEST_NAME or len(inside) > 4 * LONGEST_NAME:
        return f"{ODD}/{sha256(path.encode()).hexdigest()}"
    return inside


def list_held(store: Store, layout: Layout) -> list[Held]:
    """What is in quarantine, by place. Nothing that is in there can make it fail."""
    found = _listed(store, layout)
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda place: _held(store, layout, place, found), _places(found)))


def paths_held(store: Store, layout: Layout) -> list[str]:
    """Where the files in quarantine came from, if anybody knows; no reason is read that is not needed for that."""
    found = _listed(store, layout)
    places = [place for place in _places(found) if place in found]
    return [
        path for place in places if (path := _path(layout, place) or _path(layout, place, _said(store, layout, place)))
    ]


def _listed(store: Store, layout: Layout) -> dict[str, Entry]:
    return {entry.path.removeprefix(f"{layout.quarantine}/"): entry for entry in store.list(layout.quarantine)}


def _places(found: dict[str, Entry]) -> list[str]:
    """Of files, there or gone. What is called like a reason and has one itself is a file, of before rule 2."""
    reasons = {place for place in found if place.endswith(REASON) and f"{place}{REASON}" not in found}
    return sorted(
        {place for place in found if place not in reasons} | {place.removesuffix(REASON) for place in reasons}
    )


def _held(store: Store, layout: Layout, place: str, found: dict[str, Entry]) -> Held:
    said, file = _said(store, layout, place), found.get(place)
    path = _path(layout, place) or _path(layout, place, said)
    inside = path.removeprefix(f"{layout.inbox}/").removeprefix(f"{layout.root}/{LABELS}/")
    sender, _, name = inside.rpartition("/")
    return Held(
        place,
        path,
        "labels" if path.startswith(f"{layout.labels}/") else "batch",
        sender,
        name or place,
        said.reason or UNKNOWN,
        file.size if file else None,
        (found.get(f"{place}{REASON}") or found[place]).modified,
    )


def _path(layout: Layout, place: str, said: _Words = _NOTHING) -> str:
    """Where the file at `place` came from: by the place itself or, if that does not tell, by its reason's word, if that leads here."""
    for path in (f"{layout.root}/{place}", f"{layout.inbox}/{place}", said.path):
        at_home = path.startswith((f"{layout.labels}/", f"{layout.inbox}/"))
        if at_home and quarantine_place(layout, path) == place:
            return path
    return ""


def _said(store: Store, layout: Layout, place: str) -> _Words:
    with contextlib.suppress(NotFound, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(store.read(f"{held_at(layout, place)}{REASON}", _REASON_BYTES), type=_Words)
    return _NOTHING
