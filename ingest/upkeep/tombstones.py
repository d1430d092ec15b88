"""Who was forgotten, and what keeps it from coming back.

Rules:
1. A *request* names devices in clear, for as long as it is under way. The *proof* that it leaves has a digest of each instead:
   SHA-256 of the loop's salt and the id. Who has an id can tell whether it was forgotten; nobody can read it there.
2. A proof is called by the digest of its bytes. One that was changed is none.
3. Of a device that was forgotten as a whole nothing is taken in. If it is enrolled again, nothing that it measured before.
4. If a span of time was forgotten, nothing of the device in that span is taken in, whenever it comes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import msgspec

from edgeloop.clock import EPOCH_0
from edgeloop.errors import AlreadyExists, DataError, NotFound
from edgeloop.layout import Layout
from edgeloop.manifest import decode_document
from edgeloop.store import Store

VERSION = 1


class Request(msgspec.Struct, frozen=True):
    """To forget `devices`: all of them, or what they measured from `since` until before `until`. A whole one has neither."""

    version: int
    id: str
    loop: str
    asked: datetime
    devices: tuple[str, ...]
    since: datetime | None = None
    until: datetime | None = None

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """What is forgotten of each device; None for everything."""
        return None if self.until is None else (self.since or EPOCH_0, self.until)


class TrainedOn(msgspec.Struct, frozen=True):
    """A training whose rows cannot be read again: it had `rows`, of which at most `forgotten` were of those who were forgotten;
    None if that could not be counted any more."""

    release: str
    rows: int
    forgotten: int | None


class Proof(msgspec.Struct, frozen=True):
    """What was done to forget `devices`, which are digests.

    `rows` by table, `objects` by folder of the loop; `tables` is the oldest version there is of each; `old_versions` how many a
    bucket had kept of what had been overwritten or deleted in the loop. `left` are the paths of objects that name a device and are
    signed. `searched` is how many objects were looked through afterwards.
    """

    version: int
    id: str
    loop: str
    asked: datetime
    done: datetime
    devices: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    rows: dict[str, int]
    objects: dict[str, int]
    tables: dict[str, int]
    old_versions: int
    trained: tuple[TrainedOn, ...]
    searched: int
    left: tuple[str, ...]


class _Readmission(msgspec.Struct, frozen=True):
    version: int
    device: str
    since: datetime


@dataclass(frozen=True)
class Tombstones:
    """What is not to be taken in. `stones` are (digest of a device, asked, since, until), a whole one without the last two."""

    salt: str
    stones: dict[str, list[tuple[datetime, datetime | None, datetime | None]]]
    readmitted: dict[str, datetime]

    def __bool__(self) -> bool:
        return bool(self.stones)

    def spans(self, device: str) -> list[tuple[datetime, datetime | None]]:
        """What is forgotten of a device: from when until before when, None for ever."""
        found = self.stones.get(digest_of(self.salt, device), []) if self.stones else []
        return [(since or EPOCH_0, until or self._readmission(device, asked)) for asked, since, until in found]

    def refuses(self, device: str | None) -> bool:
        """Whether nothing at all of a device is taken in; of no device's it is not for here to say."""
        return device is not None and any(until is None for _, until in self.spans(device))

    def _readmission(self, device: str, asked: datetime) -> datetime | None:
        again = self.readmitted.get(device)
        return again if again and again >= asked else None


def digest_of(salt: str, device: str) -> str:
    """What a proof calls a device."""
    return sha256(f"{salt}{device}".encode()).hexdigest()


def read_tombstones(store: Store, layout: Layout) -> Tombstones:
    """Everything that was forgotten in the loop, or is about to be. Raises `DataError`: a proof was changed."""
    if not (salt := loop_salt(store, layout)):  # made before the first request: most loops never had one
        return Tombstones("", {}, {})
    stones: dict[str, list[tuple[datetime, datetime | None, datetime | None]]] = {}
    for request in read_requests(store, layout):
        for device in request.devices:
            stones.setdefault(digest_of(salt, device), []).append((request.asked, request.since, request.until))
    for _, proof in read_proofs(store, layout):
        for digest in proof.devices:
            stones.setdefault(digest, []).append((proof.asked, proof.since, proof.until))
    found = (decode_document(store.read(e.path), _Readmission, VERSION, e.path) for e in store.list(layout.readmitted))
    return Tombstones(salt, stones, {again.device: again.since for again in found} if stones else {})


def loop_salt(store: Store, layout: Layout) -> str:
    """What the loop's digests are salted with; empty before the first request."""
    with suppress(NotFound):
        return store.read(f"{layout.forgotten}/salt").decode()
    return ""


def make_salt(store: Store, layout: Layout) -> str:
    """The same, made if there is none yet."""
    with suppress(AlreadyExists):
        store.create(f"{layout.forgotten}/salt", secrets.token_hex(16).encode())
    return loop_salt(store, layout)


def read_requests(store: Store, layout: Layout) -> list[Request]:
    """The requests that are under way, oldest first."""
    paths = sorted(e.path for e in store.list(layout.forgetting) if not e.path.endswith(PLANNED))
    found = [decode_document(store.read(path), Request, VERSION, path) for path in paths]
    return sorted(found, key=lambda request: request.asked)


PLANNED = ".plan.json"


def request_path(layout: Layout, ident: str) -> str:
    """Where the request `ident` is."""
    return f"{layout.forgetting}/{ident}.json"


def read_proofs(store: Store, layout: Layout) -> Iterator[tuple[str, Proof]]:
    """Each proof with its digest. Raises `DataError`: one is not what its name says."""
    for entry in sorted(store.list(layout.forgotten), key=lambda entry: entry.path):
        name = entry.path.rpartition("/")[2]
        if name == "salt":
            continue
        content = store.read(entry.path)
        if sha256(content).hexdigest() != name.removesuffix(".json"):
            raise DataError(f"{entry.path} is not what its name says.", remedy="Somebody changed it: find out who.")
        yield name.removesuffix(".json"), decode_document(content, Proof, VERSION, entry.path)


def write_proof(store: Store, layout: Layout, proof: Proof) -> str:
    """Write a proof; its digest."""
    content = msgspec.json.encode(proof)
    digest = sha256(content).hexdigest()
    with suppress(AlreadyExists):
        store.create(f"{layout.forgotten}/{digest}.json", content)
    return digest


def readmit(store: Store, layout: Layout, device: str, now: datetime) -> bool:
    """Let a device that was forgotten be one of the loop again, for what it measures from now on; whether that was needed."""
    if not read_tombstones(store, layout).refuses(device):
        return False
    content = msgspec.json.encode(_Readmission(VERSION, device, now))
    store.replace(layout.readmission(device), content)
    return True
