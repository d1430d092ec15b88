"""The TUF repository in the store: its roles, and the order in which they are written.

    root       2 of 3, offline   1 year
    targets    offline           1 year    delegations only
     ├ releases   online         60 days   models/*/*     says that a release is sound
     └ rollouts   online          7 days   rollouts/*     says which cohort gets it
    snapshot   online           14 days    lists exactly these three
    timestamp  online            3 days    the only object ever replaced

Rules, each of them a test:
1. Blobs, then the delegated role, then snapshot, then timestamp: until the last put, a device sees the old state whole.
2. Versioned files are create-only. A number that a crashed publisher used up is skipped, never overwritten.
3. The timestamp is put on condition that it is still the one read at the start: of two publishers one wins.

Roles, thresholds and client rules: The Update Framework specification 1.0.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar

from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

from edgeloop.errors import AlreadyExists, ConfigError, NotFound, PreconditionFailed
from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS
from edgeloop.store import Store
from fleet.ceremony import Draft, draft_first, draft_next, publish_draft, sign_draft
from fleet.keys import Keys
from fleet.metadata import (
    PATHS,
    TIMESTAMP,
    Delegator,
    Published,
    create_next,
    expiry,
    half_over,
    not_initialised,
    put_timestamp,
    read_delegated,
    read_published,
    read_roots,
    sign,
    signers_for,
    verified,
)
from fleet.seen import demand_no_older, note_seen

ATTEMPTS = 10

T = TypeVar("T")


def initialise(store: Store, keys: Keys, now: datetime, draft: Draft | None = None) -> bytes:
    """Write the first version of every role and return the root, which devices are born with.

    An initialised repository is left as it is, and its first root returned; one that a crash left half made is finished.

    Args:
        draft: the first root and targets as the holders of the offline keys signed them; without one those keys are here.

    Raises:
        ConfigError: a key or a signature is missing.
        TrustError: what is there was begun with other keys.
    """
    if not initialised(store):
        _create_first(store, keys, now, draft or sign_draft(draft_first(keys, now), keys))
    root = store.read(f"{RELEASE_METADATA}/1.root.json")
    keys.pin(root)
    return root


def initialised(store: Store) -> bool:
    """Whether there is a whole repository."""
    try:
        store.size(TIMESTAMP)  # written last
    except NotFound:
        return False
    return True


def _create_first(store: Store, keys: Keys, now: datetime, draft: Draft) -> None:
    draft.demand_complete()
    root, targets = draft.root, draft.targets
    if draft.previous is not None or root is None or targets is None or targets.signed.delegations is None:
        raise ConfigError(
            "this draft does not begin a repository.", remedy="Make one with `edgeloop fleet keys draft`."
        )
    meta = {f"{role}.json": MetaFile(1) for role in ("targets", *PATHS)}
    first: list[tuple[str, Delegator, Targets | Snapshot | Timestamp]] = [
        *((role, targets.signed, Targets(expires=expiry(role, now))) for role in PATHS),
        ("snapshot", root.signed, Snapshot(expires=expiry("snapshot", now), meta=meta)),
        ("timestamp", root.signed, Timestamp(expires=expiry("timestamp", now), snapshot_meta=MetaFile(1))),
    ]
    files: list[tuple[str, Delegator, Metadata[Any]]] = [
        ("root", root.signed, root),
        ("targets", root.signed, targets),
        *((role, by, sign(signed, signers_for(keys, role, by))) for role, by, signed in first),
    ]
    for role, by, metadata in files:
        path = TIMESTAMP if role == "timestamp" else f"{RELEASE_METADATA}/1.{role}.json"
        try:
            store.create(path, metadata.to_bytes())
        except AlreadyExists:
            verified(store.read(path), type(metadata.signed), role, [by])


def in_turn(attempt: Callable[[], T]) -> T:
    """Call `attempt`, which reads, decides and publishes, again while another publisher was first.

    Raises:
        PreconditionFailed: others were first `ATTEMPTS` times over.
    """
    for failed in range(ATTEMPTS - 1):
        try:
            return attempt()
        except PreconditionFailed:
            time.sleep(random.uniform(0, min(0.1 * 2**failed, 5)))
    return attempt()


def publish(
    store: Store, keys: Keys, role: str, change: Callable[[Targets], None], blobs: dict[str, bytes], now: datetime
) -> None:
    """Publish one change to a delegated role. Of the keys it needs that role's, snapshot's and timestamp's.

    Args:
        role: `releases` or `rollouts`.
        change: edits the role's targets in place; `target_file` makes their entries.
        blobs: the contents by target path.
        now: when it is signed; expiries count from here.

    Raises:
        PreconditionFailed: another publisher was first; nothing of this change is visible. Repeat it.
        ConfigError: the repository has not been initialised, or a key is missing.
        TrustError: what is in the store does not verify against the repository's root, or is older than what was seen before.
    """
    published = _published(store, keys)
    targets = read_delegated(store, published, role)
    signers = {name: signers_for(keys, name, published.delegator(name)) for name in (role, "snapshot", "timestamp")}
    for path, content in blobs.items():
        _create_blob(store, path, content)
    change(targets)
    snapshot = published.snapshot
    snapshot.meta[f"{role}.json"] = MetaFile(create_next(store, role, targets, signers[role], now))
    published.timestamp.snapshot_meta = MetaFile(create_next(store, "snapshot", snapshot, signers["snapshot"], now))
    put_timestamp(store, published, signers["timestamp"], now)
    note_seen(keys, published)


def refresh(store: Store, keys: Keys, now: datetime, *, good_for: timedelta = timedelta(0)) -> None:
    """Sign timestamp again and, when half of its life is over, snapshot, `rollouts` and `releases`, changing nothing else.

    The outage that devices tolerate is the timestamp's expiry, so this has a schedule of its own. A delegated role whose key
    is not here is left to the process that has it.

    Args:
        good_for: sign for no less than this; for a stick that will be long under way. Then every key has to be here.

    Raises:
        as `publish`.
    """
    published = _published(store, keys)
    snapshot, timestamp = published.snapshot, published.timestamp
    stale = False
    for role in PATHS:
        targets = read_delegated(store, published, role)
        too_short = targets.expires < now + good_for
        if (half_over(role, targets.expires, now) and _can_sign(keys, role, published)) or (good_for and too_short):
            signers = signers_for(keys, role, published.targets)
            snapshot.meta[f"{role}.json"] = MetaFile(create_next(store, role, targets, signers, now, good_for))
            stale = True
    if stale or half_over("snapshot", snapshot.expires, now) or snapshot.expires < now + good_for:
        signers = signers_for(keys, "snapshot", published.root)
        timestamp.snapshot_meta = MetaFile(create_next(store, "snapshot", snapshot, signers, now, good_for))
    put_timestamp(store, published, signers_for(keys, "timestamp", published.root), now, good_for)
    note_seen(keys, published)


def _can_sign(keys: Keys, role: str, published: Published) -> bool:
    return bool(keys.signers(role, published.delegator(role).get_delegated_role(role).keyids))


def renew_offline_roles(store: Store, keys: Keys, now: datetime) -> bool:
    """Sign root and targets again, each when half of its life is over; needs the offline keys. True if either was."""
    draft = draft_next(store, keys, {}, now)
    if draft.root is None and draft.targets is None:
        return False
    publish_draft(store, keys, sign_draft(draft, keys), now)
    return True


def read_role(store: Store, keys: Keys, role: str) -> Targets:
    """The targets of a delegated role as published now. Needs no key. Raises as `publish`."""
    return read_delegated(store, _published(store, keys), role)


def _published(store: Store, keys: Keys) -> Published:
    published = read_published(store, [read_roots(store, keys)[-1].signed])
    demand_no_older(keys, published)
    note_seen(keys, published)
    return published


def blob_path(path: str, sha256: str) -> str:
    """Where the contents of target `path` are: consistent snapshots put the digest before the file's name."""
    folder, _, name = path.rpartition("/")
    return f"{RELEASE_TARGETS}/{folder}/{sha256}.{name}"


def latest_root_version(store: Store) -> int:
    """The highest `N.root.json`; they are never deleted."""
    names = (entry.path.rpartition("/")[2] for entry in store.list(RELEASE_METADATA))
    versions = [int(name.partition(".")[0]) for name in names if name.endswith(".root.json")]
    if not versions:
        raise not_initialised()
    return max(versions)


def _create_blob(store: Store, path: str, content: bytes) -> None:
    try:
        store.create(blob_path(path, sha256(content).hexdigest()), content)
    except AlreadyExists:
        return  # content-addressed: a repeat of the same publish
