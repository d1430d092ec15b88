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
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.metadata import Role as TufRole

from edgeloop.errors import AlreadyExists, ConfigError, NotFound, PreconditionFailed, TrustError
from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS
from edgeloop.store import Store
from fleet.keys import ROOT_KEYS, ROOT_THRESHOLD, Keys

LIFETIME = {
    "root": timedelta(days=365),
    "targets": timedelta(days=365),
    "releases": timedelta(days=60),
    "rollouts": timedelta(days=7),
    "snapshot": timedelta(days=14),
    "timestamp": timedelta(days=3),
}
PATHS = {"releases": ["models/*/*"], "rollouts": ["rollouts/*"]}

ATTEMPTS = 5

T = TypeVar("T")
Signed = TypeVar("Signed", Root, Targets, Snapshot, Timestamp)


def initialise(store: Store, keys: Keys, now: datetime) -> bytes:
    """Write the first version of every role and return the root, which devices are born with.

    An initialised repository is left as it is, and its first root returned; one that a crash left half made is finished.

    Raises:
        TrustError: what is there was begun with other keys.
    """
    try:
        store.size(_TIMESTAMP)  # written last
    except NotFound:
        _create_first(store, keys, now)
    return store.read(f"{RELEASE_METADATA}/1.root.json")


def _create_first(store: Store, keys: Keys, now: datetime) -> None:
    files = {"1.root.json": _root(keys, now), "1.targets.json": _targets(keys, now)}
    for role in PATHS:
        signed = Targets(expires=_expiry(role, now))
        files[f"1.{role}.json"] = _sign(signed, [keys.signer(role)])
    meta = {f"{role}.json": MetaFile(1) for role in ("targets", *PATHS)}
    files["1.snapshot.json"] = _sign(Snapshot(expires=_expiry("snapshot", now), meta=meta), [keys.signer("snapshot")])
    timestamp = Timestamp(expires=_expiry("timestamp", now), snapshot_meta=MetaFile(1))
    files["timestamp.json"] = _sign(timestamp, [keys.signer("timestamp")])
    for name, content in files.items():
        try:
            store.create(f"{RELEASE_METADATA}/{name}", content)
        except AlreadyExists:
            role = name.split(".")[-2]
            signer = keys.signer("root-1" if role == "root" else role)
            found: Metadata[Any] = Metadata.from_bytes(store.read(f"{RELEASE_METADATA}/{name}"))
            _verify_signature(found, signer.public_key, role)


def in_turn(attempt: Callable[[], T]) -> T:
    """Call `attempt`, which reads, decides and publishes, again while another publisher was first.

    Raises:
        PreconditionFailed: others were first `ATTEMPTS` times over.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt()
        except PreconditionFailed:
            time.sleep(random.uniform(0, 0.2))
    return attempt()


def publish(
    store: Store, keys: Keys, role: str, change: Callable[[Targets], None], blobs: dict[str, bytes], now: datetime
) -> None:
    """Publish one change to a delegated role.

    Args:
        role: `releases` or `rollouts`.
        change: edits the role's targets in place; `target_file` makes their entries.
        blobs: the contents by target path.
        now: when it is signed; expiries count from here.

    Raises:
        PreconditionFailed: another publisher was first; nothing of this change is visible. Repeat it.
        ConfigError: the repository has not been initialised.
        TrustError: what is in the store does not verify against the keys at hand.
    """
    timestamp, seen = _read_timestamp(store, keys)
    snapshot = _read(store, f"{timestamp.snapshot_meta.version}.snapshot.json", Snapshot, keys, "snapshot")
    targets = _read(store, f"{snapshot.meta[f'{role}.json'].version}.{role}.json", Targets, keys, role)
    for path, content in blobs.items():
        _create_blob(store, path, content)
    change(targets)
    snapshot.meta[f"{role}.json"] = MetaFile(_create_next(store, keys, role, targets, now))
    timestamp.snapshot_meta = MetaFile(_create_next(store, keys, "snapshot", snapshot, now))
    _put_timestamp(store, keys, timestamp, seen, now)


def refresh(store: Store, keys: Keys, now: datetime, *, good_for: timedelta = timedelta(0)) -> None:
    """Sign timestamp again and, when half of its life is over, snapshot and `rollouts`, changing nothing else.

    The outage that devices tolerate is the timestamp's expiry, so this has a schedule of its own.

    Args:
        good_for: sign for no less than this; for a stick that will be long under way.

    Raises:
        as `publish`.
    """
    timestamp, seen = _read_timestamp(store, keys)
    snapshot = _read(store, f"{timestamp.snapshot_meta.version}.snapshot.json", Snapshot, keys, "snapshot")
    stale = False
    for role in PATHS:
        targets = _read(store, f"{snapshot.meta[f'{role}.json'].version}.{role}.json", Targets, keys, role)
        if _half_over(role, targets.expires, now) or targets.expires < now + good_for:
            snapshot.meta[f"{role}.json"] = MetaFile(_create_next(store, keys, role, targets, now, good_for))
            stale = True
    if stale or _half_over("snapshot", snapshot.expires, now) or snapshot.expires < now + good_for:
        timestamp.snapshot_meta = MetaFile(_create_next(store, keys, "snapshot", snapshot, now, good_for))
    _put_timestamp(store, keys, timestamp, seen, now, good_for)


def renew_offline_roles(store: Store, keys: Keys, now: datetime) -> bool:
    """Sign root and targets again, each when half of its life is over; needs the offline keys. True if either was.

    Each by itself: a crash between the two must not leave the other to expire.
    """
    root_version = latest_root_version(store)
    root = Metadata[Root].from_bytes(store.read(f"{RELEASE_METADATA}/{root_version}.root.json")).signed
    root_due = _half_over("root", root.expires, now)
    if root_due:
        root.version, root.expires = root_version + 1, _expiry("root", now)
        store.create(f"{RELEASE_METADATA}/{root.version}.root.json", _sign(root, [keys.signer(n) for n in ROOT_KEYS]))
    timestamp, seen = _read_timestamp(store, keys)
    snapshot = _read(store, f"{timestamp.snapshot_meta.version}.snapshot.json", Snapshot, keys, "snapshot")
    targets = _read(store, f"{snapshot.meta['targets.json'].version}.targets.json", Targets, keys, "targets")
    if not _half_over("targets", targets.expires, now):
        return root_due
    snapshot.meta["targets.json"] = MetaFile(_create_next(store, keys, "targets", targets, now))
    timestamp.snapshot_meta = MetaFile(_create_next(store, keys, "snapshot", snapshot, now))
    _put_timestamp(store, keys, timestamp, seen, now)
    return True


def read_role(store: Store, keys: Keys, role: str) -> Targets:
    """The targets of a delegated role as published now. Raises as `publish`."""
    timestamp, _ = _read_timestamp(store, keys)
    snapshot = _read(store, f"{timestamp.snapshot_meta.version}.snapshot.json", Snapshot, keys, "snapshot")
    return _read(store, f"{snapshot.meta[f'{role}.json'].version}.{role}.json", Targets, keys, role)


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


_TIMESTAMP = f"{RELEASE_METADATA}/timestamp.json"


def _read_timestamp(store: Store, keys: Keys) -> tuple[Timestamp, str]:
    try:
        content, seen = store.read_version(_TIMESTAMP)
    except NotFound as error:
        raise not_initialised() from error
    return _verified(content, Timestamp, keys, "timestamp"), seen


def _read(store: Store, name: str, kind: type[Signed], keys: Keys, role: str) -> Signed:
    return _verified(store.read(f"{RELEASE_METADATA}/{name}"), kind, keys, role)


def _verified(content: bytes, kind: type[Signed], keys: Keys, role: str) -> Signed:
    # A publisher must not carry forward what somebody with write access to the bucket has put there. The public half
    # comes from the root and the targets delegation in the full client; here our own key is the shorter proof.
    try:
        metadata: Metadata[Signed] = Metadata.from_bytes(content)
    except RepositoryError as error:
        raise TrustError(
            f"{role}.json in the store cannot be read: {error}.", remedy="Restore it from a backup."
        ) from error
    if not isinstance(metadata.signed, kind):
        raise TrustError(f"{role}.json in the store is of another kind.", remedy="Restore it from a backup.")
    _verify_signature(metadata, keys.signer(role).public_key, role)
    return metadata.signed


def _verify_signature(metadata: Metadata[Signed], key: Key, role: str) -> None:
    signature = metadata.signatures.get(key.keyid)
    try:
        if signature is None:
            raise TrustError("no signature by that key")
        key.verify_signature(signature, metadata.signed_bytes)
    except Exception as error:
        raise TrustError(
            f"{role}.json in the store is not signed by our {role!r} key.",
            remedy="Use the key directory this repository was made with, or find out who wrote to the bucket.",
        ) from error


def _create_next(
    store: Store, keys: Keys, role: str, signed: Targets | Snapshot, now: datetime, good_for: timedelta = timedelta(0)
) -> int:
    signed.expires = _expiry(role, now, good_for)
    while True:
        signed.version += 1
        try:
            store.create(f"{RELEASE_METADATA}/{signed.version}.{role}.json", _sign(signed, [keys.signer(role)]))
        except AlreadyExists:
            continue  # left by a publisher that crashed, or that is racing us and will lose or win at the timestamp
        return signed.version


def _put_timestamp(
    store: Store, keys: Keys, timestamp: Timestamp, seen: str, now: datetime, good_for: timedelta = timedelta(0)
) -> None:
    timestamp.version += 1
    timestamp.expires = _expiry("timestamp", now, good_for)
    store.replace_if(_TIMESTAMP, _sign(timestamp, [keys.signer("timestamp")]), seen)


def _create_blob(store: Store, path: str, content: bytes) -> None:
    from hashlib import sha256

    try:
        store.create(blob_path(path, sha256(content).hexdigest()), content)
    except AlreadyExists:
        return  # content-addressed: a repeat of the same publish


def _root(keys: Keys, now: datetime) -> bytes:
    signers = {name: keys.signer(name) for name in ROOT_KEYS}
    root = Root(expires=_expiry("root", now), consistent_snapshot=True)
    root.roles["root"] = TufRole([], ROOT_THRESHOLD)
    for signer in signers.values():
        root.add_key(signer.public_key, "root")
    for role in ("targets", "snapshot", "timestamp"):
        root.add_key(keys.signer(role).public_key, role)
    return _sign(root, list(signers.values()))


def _targets(keys: Keys, now: datetime) -> bytes:
    public = {role: keys.signer(role).public_key for role in PATHS}
    roles = {r: DelegatedRole(r, [public[r].keyid], 1, terminating=True, paths=PATHS[r]) for r in PATHS}
    delegations = Delegations(keys={key.keyid: key for key in public.values()}, roles=roles)
    return _sign(Targets(expires=_expiry("targets", now), delegations=delegations), [keys.signer("targets")])


def _sign(signed: Root | Targets | Snapshot | Timestamp, signers: list[CryptoSigner]) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def _expiry(role: str, now: datetime, good_for: timedelta = timedelta(0)) -> datetime:
    return (now + max(LIFETIME[role], good_for)).replace(microsecond=0)


def _half_over(role: str, expires: datetime, now: datetime) -> bool:
    return expires - now < LIFETIME[role] / 2


def not_initialised() -> ConfigError:
    """What is said of a store that no repository was made in."""
    return ConfigError("the store has no release repository.", remedy="Make one with `edgeloop fleet init`.")
