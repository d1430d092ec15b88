"""Signed metadata in the store: read back along the chain of signatures, and written, each version once.

What a publisher carries forward is verified as a device would, from the first root on, but for expiry: who signs anew has to
read what has expired. So no private key is needed but of the role that is signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from edgeloop.errors import AlreadyExists, ConfigError, NotFound, TrustError
from edgeloop.layout import RELEASE_METADATA
from edgeloop.store import Store
from fleet.keys import Keys

LIFETIME = {
    "root": timedelta(days=365),
    "targets": timedelta(days=365),
    "releases": timedelta(days=60),
    "rollouts": timedelta(days=7),
    "snapshot": timedelta(days=14),
    "timestamp": timedelta(days=3),
}
PATHS = {"releases": ["models/*/*"], "rollouts": ["rollouts/*"]}
TIMESTAMP = f"{RELEASE_METADATA}/timestamp.json"

Signed = TypeVar("Signed", Root, Targets, Snapshot, Timestamp)
Delegator = Root | Targets


@dataclass(frozen=True)
class Published:
    """What is published now, each part signed as the one before it says. `seen` is the timestamp's version in the store."""

    root: Root
    timestamp: Timestamp
    seen: str
    snapshot: Snapshot
    targets: Targets

    def delegator(self, role: str) -> Delegator:
        """Who says which keys sign for `role`."""
        return self.targets if role in PATHS else self.root


def read_roots(store: Store, keys: Keys) -> list[Metadata[Root]]:
    """Every root, oldest first, each signed as it says itself and as the one before it says.

    Raises:
        ConfigError: the repository has not been initialised.
        TrustError: one is not signed so.
    """
    try:
        first = keys.pinned_root or store.read(f"{RELEASE_METADATA}/1.root.json")
    except NotFound as error:
        raise not_initialised() from error
    roots = [_root(first, 1, [])]
    while True:
        version = roots[-1].signed.version + 1
        try:
            content = store.read(f"{RELEASE_METADATA}/{version}.root.json")
        except NotFound:
            return roots
        roots.append(_root(content, version, [roots[-1].signed]))


def _root(content: bytes, version: int, before: Sequence[Root]) -> Metadata[Root]:
    root = verified(content, Root, "root", before)
    if root.signed.version != version:
        raise TrustError(f"{version}.root.json says it is version {root.signed.version}.", remedy="Remove it.")
    if not signs(root.signed, "root", root):
        raise _unsigned("root")
    return root


def read_published(store: Store, roots: Sequence[Root]) -> Published:
    """What is published now.

    Args:
        roots: any of which may have said who signs timestamp, snapshot and targets. The last is the one in force; the one
            before counts only while a change of keys is under way.

    Raises:
        ConfigError: the repository has not been initialised.
        TrustError: something is not signed by the keys that it must be signed by.
    """
    try:
        content, seen = store.read_version(TIMESTAMP)
    except NotFound as error:
        raise not_initialised() from error
    timestamp = verified(content, Timestamp, "timestamp", roots).signed
    snapshot = _read(store, timestamp.snapshot_meta.version, Snapshot, "snapshot", roots)
    targets = _read(store, snapshot.meta["targets.json"].version, Targets, "targets", roots)
    return Published(roots[-1], timestamp, seen, snapshot, targets)


def read_delegated(store: Store, published: Published, role: str) -> Targets:
    """The targets of `releases` or `rollouts` as published. Raises `TrustError`."""
    return _read(store, published.snapshot.meta[f"{role}.json"].version, Targets, role, [published.targets])


def _read(store: Store, version: int, kind: type[Signed], role: str, delegators: Sequence[Delegator]) -> Signed:
    return verified(store.read(f"{RELEASE_METADATA}/{version}.{role}.json"), kind, role, delegators).signed


def verified(content: bytes, kind: type[Signed], role: str, delegators: Sequence[Delegator]) -> Metadata[Signed]:
    """Metadata that keys of any of `delegators` signed; with none given, nobody is asked.

    Raises:
        TrustError: it is none, of another kind, or not signed so.
    """
    try:
        metadata: Metadata[Signed] = Metadata.from_bytes(content)
    except RepositoryError as error:
        raise TrustError(
            f"{role}.json in the store cannot be read: {error}.", remedy="Restore it from a backup."
        ) from error
    if not isinstance(metadata.signed, kind):
        raise TrustError(f"{role}.json in the store is of another kind.", remedy="Restore it from a backup.")
    if delegators and not any(signs(delegator, role, metadata) for delegator in delegators):
        raise _unsigned(role)
    return metadata


def signs(delegator: Delegator, role: str, metadata: Metadata[Any]) -> bool:
    """Whether as many of the keys that `delegator` names for `role` signed as it demands."""
    return bool(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures))


def _unsigned(role: str) -> TrustError:
    return TrustError(
        f"{role}.json in the store is not signed by our {role!r} key.",
        remedy="Use the key directory of this repository, or find out who wrote to the bucket.",
    )


def signers_for(keys: Keys, role: str, delegator: Delegator) -> list[Signer]:
    """The signers here that `delegator` names for `role`. Raises `ConfigError`: there is none."""
    trusted = delegator.get_delegated_role(role).keyids
    if found := keys.signers(role, trusted):
        return found
    if held := [name for name in keys.names(role) if keys.holds(name)]:
        raise ConfigError(
            f"the {role!r} key in {keys.directory} ({', '.join(held)}) is not the one that the repository trusts.",
            remedy="`edgeloop fleet keys list` shows both. A key that was replaced is never taken back.",
        )
    raise ConfigError(
        f"key {role!r} is not in {keys.directory}.",
        remedy=f"Do this where the {role!r} key is, or bring the directory that has it.",
    )


def sign(signed: Root | Targets | Snapshot | Timestamp, signers: Sequence[Signer]) -> Metadata[Any]:
    """`signed` under the signature of each of `signers`. Raises `ConfigError`: one of them could not."""
    metadata: Metadata[Any] = Metadata(signed)
    add_signatures(metadata, signers)
    return metadata


def add_signatures(metadata: Metadata[Any], signers: Sequence[Signer]) -> None:
    """Add the signature of each of `signers`. Raises `ConfigError`: one of them, a token or a service, could not."""
    for signer in signers:
        try:
            metadata.sign(signer, append=True)
        except RepositoryError as error:
            raise ConfigError(
                f"key {signer.public_key.keyid[:12]} could not sign: {error.__cause__ or error}.",
                remedy="Check that its token is plugged in, or that its service may be used.",
            ) from error


def create_next(
    store: Store,
    role: str,
    signed: Targets | Snapshot,
    signers: Sequence[Signer],
    now: datetime,
    good_for: timedelta = timedelta(0),
) -> int:
    """Write the next version of `signed`; its number. One that is taken is skipped."""
    signed.expires = expiry(role, now, good_for)
    while True:
        signed.version += 1
        try:
            store.create(f"{RELEASE_METADATA}/{signed.version}.{role}.json", sign(signed, signers).to_bytes())
        except AlreadyExists:
            continue  # left by a publisher that crashed, or that is racing us and will lose or win at the timestamp
        return signed.version


def put_timestamp(
    store: Store,
    published: Published,
    signers: Sequence[Signer],
    now: datetime,
    good_for: timedelta = timedelta(0),
) -> None:
    """Write the next timestamp. Raises `PreconditionFailed`: it is not the one any more that was read."""
    timestamp = published.timestamp
    timestamp.version += 1
    timestamp.expires = expiry("timestamp", now, good_for)
    store.replace_if(TIMESTAMP, sign(timestamp, signers).to_bytes(), published.seen)


def expiry(role: str, now: datetime, good_for: timedelta = timedelta(0)) -> datetime:
    """Until when what is signed for `role` now holds."""
    return (now + max(LIFETIME[role], good_for)).replace(microsecond=0)


def half_over(role: str, expires: datetime, now: datetime) -> bool:
    """Whether half of the life of what `role` signed is over."""
    return expires - now < LIFETIME[role] / 2


def not_initialised() -> ConfigError:
    """What is said of a store that no repository was made in."""
    return ConfigError("the store has no release repository.", remedy="Make one with `edgeloop fleet init`.")
