"""Forgetting: everything that the centre has of devices, or of a span of their time, goes for good, and what was done is proven.

Rules:
1. *Ask*: the request is written down. From then on nothing of theirs is taken in (ingest/upkeep/tombstones.py).
2. *Settle*: what is planned is carried out, and the next plan is of nothing: no ingest is left that began before.
3. *Plan*: what there is of them is counted and listed, create-only. What a kill interrupts is counted once.
4. *Erase*: objects go; rows go, with every older version of the tables, whoever pinned one; what is derived is made again; then what a
   bucket kept of all that.
5. *Search*: every object that is left is read (ingest/upkeep/traces.py). Only what is signed may name them still, and is said.
6. *Prove*: the proof is written, and the request goes, which was the last to name them.
Every step can be repeated; whoever types the same again goes on, or the next night does (assets/forgetting.py).
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from edgeloop.config import LoopConfig
from edgeloop.errors import AlreadyExists, ConfigError, NotFound, StoreError
from edgeloop.lake import Lake, file_name
from edgeloop.layout import Layout, check_id
from edgeloop.manifest import decode_document
from edgeloop.store import Store
from ingest.derived.aggregates import TIMES, update_aggregates
from ingest.plan import empty_plans
from ingest.run import ingest, settle
from ingest.upkeep.erasure import begin_anew, delete_rows, drop_history, replace_text
from ingest.upkeep.theirs import count_rows, predicate, trained_on
from ingest.upkeep.tombstones import (
    PLANNED,
    VERSION,
    Proof,
    Request,
    TrainedOn,
    digest_of,
    make_salt,
    read_proofs,
    read_requests,
    request_path,
    write_proof,
)
from ingest.upkeep.traces import OldVersions, Subject, find_traces, naming, paths_in
from ingest.upkeep.vacuum import data_files


class Found(msgspec.Struct, frozen=True):
    """What there is of them: rows by table, objects to delete, objects to take a name out of, and what was trained on their rows."""

    version: int
    rows: dict[str, int]
    delete: tuple[str, ...]
    redact: tuple[str, ...]
    trained: tuple[TrainedOn, ...]

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to erase."""
        return not (any(self.rows.values()) or self.delete or self.redact)


def make_request(
    config: LoopConfig, devices: Sequence[str], since: datetime | None, until: datetime | None, now: datetime
) -> Request:
    """A request to forget `devices`, or what they measured in a span: until now, if only `since` is given.

    Raises:
        DataError: an id is none.
        ConfigError: the span ends before it begins.
    """
    for device in devices:
        check_id("device id", device)
    until = until or (now if since else None)
    if since and until and since >= until:
        raise ConfigError(f"{since:%Y-%m-%d %H:%M} is not before {until:%Y-%m-%d %H:%M}.", remedy="Swap them.")
    ident = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    return Request(VERSION, ident, config.name, now, tuple(sorted(set(devices))), since, until)


def is_known(store: Store, config: LoopConfig, request: Request, old: OldVersions | None) -> bool:
    """Whether the same is under way, or there is anything of them anywhere: also in what a bucket keeps of what it deleted."""
    if _under_way(store, config.layout, request):
        return True
    found = find_traces(store, config.layout, subject_of(config, request), old)
    return bool(found.objects or found.old)


def _under_way(store: Store, layout: Layout, request: Request) -> Request | None:
    others = read_requests(store, layout)
    return next((other for other in others if (other.devices, other.span) == (request.devices, request.span)), None)


def ask(store: Store, layout: Layout, request: Request) -> Request:
    """Write a request down, unless the same is under way; which one it is."""
    if other := _under_way(store, layout, request):
        return other
    make_salt(store, layout)
    store.create(request_path(layout, request.id), msgspec.json.encode(request))
    return request


def find(store: Store, lake: Lake, config: LoopConfig, request: Request) -> Found:
    """What there is of them. Changes nothing."""
    subject = subject_of(config, request)
    paths = [path for path in _searched(store, config.layout, request) if _is_in(store, subject, path)]
    redact = [path for path in paths if path.endswith("/verdict.json")]
    trained = tuple(trained_on(store, lake, config.layout, request))
    return Found(VERSION, count_rows(lake, request), tuple(p for p in paths if p not in redact), tuple(redact), trained)


def forget(
    store: Store, lake: Lake, config: LoopConfig, request: Request, now: datetime, old: OldVersions | None
) -> tuple[str, Proof]:
    """Do what a request that was asked says; the proof and its digest. May be repeated after a kill at any point.

    Args:
        old: what the bucket keeps of objects that were overwritten or deleted; None for a store that keeps nothing.

    Raises:
        StoreError: the store failed, or somebody goes on writing; do it again.
    """
    layout = config.layout
    proven = next((found for found in read_proofs(store, layout) if found[1].id == request.id), None)
    if proven is None:
        settle(store, lake, config, now)
        found = _plan(store, lake, config, request)
        _erase_objects(store, layout, request, found)
        # Label files are of many devices: as they are taken in, what is theirs is left out.
        ingest(store, lake, config, now)
        tables = _erase_tables(store, lake, config, request)
        store.delete(layout.received)  # the next ingest makes it again
        removed = old.remove_old(layout.root) if old else 0
        searched, left = _search(store, config, request, old)
        proof = _proof(store, layout, request, found, now, tables=tables, removed=removed, searched=searched, left=left)
        proven = write_proof(store, layout, proof), proof
    for path in (f"{layout.forgetting}/{request.id}{PLANNED}", request_path(layout, request.id)):
        store.delete(path)
        if old:
            old.remove_old(path, current=True)
    return proven


def subject_of(config: LoopConfig, request: Request) -> Subject:
    """Whom a request is about, to look for."""
    return Subject(config, request.devices, request.span)


def by_folder(layout: Layout, found: Found) -> dict[str, int]:
    """How many objects of theirs are in each folder of the loop."""
    folders = Counter(path.removeprefix(f"{layout.root}/").split("/")[0] for path in (*found.delete, *found.redact))
    return dict(sorted(folders.items()))


def _searched(store: Store, layout: Layout, request: Request) -> Iterator[str]:
    """The objects that can be theirs. What waits is judged at the door, and plans are emptied."""
    others = [f"{layout.lake('')}", layout.plans, layout.forgetting, layout.forgotten, layout.labels]
    waiting = [layout.inbox] if request.span else []
    skipped = tuple(f"{folder.rstrip('/')}/" for folder in (*others, *waiting))
    paths = paths_in(store, layout.root, [])
    yield from (path for path in paths if not path.startswith(skipped) and path != layout.received)


def _is_in(store: Store, subject: Subject, path: str) -> bool:
    with suppress(NotFound):
        return subject.is_in(path, store.read(path))
    return False


def _plan(store: Store, lake: Lake, config: LoopConfig, request: Request) -> Found:
    path = f"{config.layout.forgetting}/{request.id}{PLANNED}"
    with suppress(NotFound):
        return decode_document(store.read(path), Found, VERSION, path)
    found = find(store, lake, config, request)
    with suppress(AlreadyExists):
        store.create(path, msgspec.json.encode(found))
    return decode_document(store.read(path), Found, VERSION, path)


def _erase_objects(store: Store, layout: Layout, request: Request, found: Found) -> None:
    store.delete_all(found.delete)
    for folder in {path.rpartition("/")[0] for path in found.delete} | {f"{layout.inbox}/{d}" for d in request.devices}:
        store.remove_folder(folder)
    for path in found.redact:
        store.replace(path, _redacted(store, layout, request, store.read(path).decode()).encode())
    empty_plans(store, layout)


def _redacted(store: Store, layout: Layout, request: Request, text: str) -> str:
    salt = make_salt(store, layout)
    return naming(request.devices).sub(lambda found: _alias(salt, found[0]), text)


def _alias(salt: str, device: str) -> str:
    return f"forgotten-{digest_of(salt, device)[:8]}"


def _erase_tables(store: Store, lake: Lake, config: LoopConfig, request: Request) -> dict[str, int]:
    """Erase their rows; the oldest version that there is of each table then."""
    names, layout = [name for name in lake.names() if lake.table(name)], config.layout
    for name in names:
        if where := predicate(lake, name, request):
            delete_rows(lake, name, where)
        if request.span is None:
            _redact_rows(store, lake, layout, name, request)
    begun = {name: begin_anew(lake, name) for name in names if name in TIMES}
    update_aggregates(lake, mark=True)  # while the log still says what left
    _drop_lonely_hours(lake)
    first = {name: drop_history(store, lake, layout, name, begun.get(name)).first for name in names}
    store.delete(layout.received)  # an ingest makes it again of the batches there are then
    subject = subject_of(config, request)
    for name in names:
        files = lake.files(name)
        for entry in data_files(store, layout, name):  # of a write that was killed; no commit can take them up any more
            if file_name(entry.path) not in files and _is_in(store, subject, entry.path):
                store.delete(entry.path)
    return first


def _redact_rows(store: Store, lake: Lake, layout: Layout, name: str, request: Request) -> None:
    """Take their names out of what others' rows say, such as why a release was put back."""
    salt = make_salt(store, layout)
    table = lake.table(name)
    assert table is not None
    text = [f.name for f in table.schema().fields if f.type.type == "string" and f.name not in ("device", "month")]
    for device in request.devices:
        pattern = rf"(^|[^A-Za-z0-9._-]){device.replace('.', '[.]')}($|[^A-Za-z0-9_-])"
        for column in text:
            replace_text(lake, name, column, pattern, rf"\1{_alias(salt, device)}\2")


def _drop_lonely_hours(lake: Lake) -> None:
    """Delete the figures over the fleet of hours in which no other device was there: those that are too old to be made again."""
    for name, same in (
        ("feature_hourly", ""),
        ("release_hourly", "AND d.release IS NOT DISTINCT FROM release_hourly.release"),
    ):
        where = f"NOT EXISTS (FROM device_hourly AS d WHERE d.hour = {name}.hour {same})"
        if lake.table("device_hourly") is not None:
            delete_rows(lake, name, where, beside=["device_hourly"])


def _search(store: Store, config: LoopConfig, request: Request, old: OldVersions | None) -> tuple[int, tuple[str, ...]]:
    """How many objects were searched, and those that are signed and name them. Raises `StoreError`: there is anything else."""
    layout, subject = config.layout, subject_of(config, request)
    found = find_traces(store, layout, subject, old)
    if theirs := [folder for folder in found.hidden if subject.owns(folder)]:
        raise StoreError(
            f"{theirs[0]} holds a name that cannot be listed, and cannot be emptied.",
            remedy="Remove it with the store's own tools, then do it again.",
        )
    own = f"{layout.forgetting}/"
    paths = [path for path in (*found.objects, *found.old) if not path.startswith(own)]
    left = tuple(sorted({path for path in paths if path.startswith("releases/")}))
    if again := sorted(set(paths) - set(left)):
        raise StoreError(
            f"{len(again)} objects that came meanwhile tell of what is to be forgotten, such as {again[0]}.",
            remedy="Do it again; if they keep on coming, find out who writes them.",
        )
    return found.searched, left


def _proof(
    store: Store,
    layout: Layout,
    request: Request,
    found: Found,
    now: datetime,
    *,
    tables: dict[str, int],
    removed: int,
    searched: int,
    left: tuple[str, ...],
) -> Proof:
    salt = make_salt(store, layout)
    return Proof(
        version=VERSION,
        id=request.id,
        loop=request.loop,
        asked=request.asked,
        done=now,
        devices=tuple(sorted(digest_of(salt, device) for device in request.devices)),
        since=request.since,
        until=request.until,
        rows=found.rows,
        objects=by_folder(layout, found),
        tables=tables,
        old_versions=removed,
        trained=found.trained,
        searched=searched,
        left=left,
    )
