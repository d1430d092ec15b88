"""Root and targets: drawn up here, signed where the offline keys are, published by whoever holds the online ones.

A draft is a file that is carried from holder to holder, each of whom adds a signature; published are 2 of 3 of the root keys in
force and of the new ones. What changes hands is exchanged without a moment at which a device would find the one but not the other:

1. What is online (targets, delegated roles, snapshot, timestamp) is signed by the old keys and the new; the timestamp switches.
2. The new root is written. From here on the old keys count for nothing.
3. The timestamp is signed again, so that a publisher that is still at it with the old keys loses its turn.

An old online key that is lost cannot sign in step 1, which is then left out: between 2 and 3 devices refuse what they find, and keep
what they have. Each step can be repeated after a crash at any point.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Root, Targets
from tuf.api.metadata import Role as TufRole

from edgeloop.errors import AlreadyExists, ConfigError, NotFound
from edgeloop.layout import RELEASE_METADATA
from edgeloop.store import Store
from fleet.keys import ROOT_THRESHOLD, Keys
from fleet.metadata import (
    PATHS,
    Delegator,
    add_signatures,
    create_next,
    expiry,
    half_over,
    put_timestamp,
    read_delegated,
    read_published,
    read_roots,
    signers_for,
    signs,
)
from fleet.seen import demand_no_older, note_seen

DRAFT_VERSION = 1
ONLINE_OF_ROOT = ("targets", "snapshot", "timestamp")
"""The roles whose keys the root names, and whose files change with their keys."""


@dataclass(frozen=True)
class Draft:
    """A root, or targets, or both, on their way to be signed.

    Args:
        previous: the root in force; None for the first.
        asked: what the change of keys was asked for, as it was typed.
        replaced: the ids of the keys that it takes out of force.
    """

    root: Metadata[Root] | None
    targets: Metadata[Targets] | None
    previous: Metadata[Root] | None = None
    asked: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The file's bytes."""
        parts = {"root": self.root, "targets": self.targets, "previous": self.previous}
        documents = {name: part.to_dict() if part else None for name, part in parts.items()}
        return json.dumps(
            {"version": DRAFT_VERSION, **documents, "asked": self.asked, "replaced": self.replaced}, indent=1
        ).encode()

    def missing(self) -> list[str]:
        """Which signatures are still wanted, a sentence for each; none if it can be published."""
        found = []
        if self.root is not None:
            before = self.previous.signed if self.previous else None
            result = self.root.signed.get_root_verification_result(before, self.root.signed_bytes, self.root.signatures)
            parts = {"root, by the keys in force": result.first} if before else {}
            parts["root, by its own keys"] = result.second
            found = [_wanted(what, part.missing, part.unsigned) for what, part in parts.items() if not part]
        if self.targets is not None:
            by = self.decisive.get_verification_result("targets", self.targets.signed_bytes, self.targets.signatures)
            found += [] if by else [_wanted("targets", by.missing, by.unsigned)]
        return list(dict.fromkeys(found))

    def demand_complete(self) -> None:
        """Raises `ConfigError`: a signature is missing."""
        if missing := self.missing():
            raise ConfigError(
                f"not signed yet: {'; '.join(missing)}.",
                remedy="Bring the offline keys, or carry the draft to their holders: `edgeloop fleet keys sign-root`.",
            )

    @property
    def decisive(self) -> Root:
        """The root that will be in force."""
        root = self.root or self.previous
        assert root is not None
        return root.signed

    @property
    def exchanges(self) -> bool:
        """Whether a key that signs what is online changes with the root."""
        if self.root is None or self.previous is None:
            return False
        old, new = self.previous.signed.roles, self.root.signed.roles
        return any(old[role].keyids != new[role].keyids for role in ONLINE_OF_ROOT)


def _wanted(what: str, count: int, unsigned: dict[str, Any]) -> str:
    return f"{what}: {count} more of {', '.join(sorted(keyid[:12] for keyid in unsigned))}"


def decode_draft(content: bytes) -> Draft:
    """Read a draft. Raises `ConfigError`: it is none, or of a version this edgeloop does not know."""
    try:
        found = json.loads(content)
        if found["version"] > DRAFT_VERSION:
            raise ConfigError(f"the draft is of version {found['version']}.", remedy="Upgrade edgeloop here.")
        parts = {name: found[name] and Metadata.from_dict(found[name]) for name in ("root", "targets", "previous")}
        return Draft(**parts, asked=tuple(found["asked"]), replaced=tuple(found["replaced"]))
    except (ValueError, KeyError, TypeError, RepositoryError) as error:
        raise ConfigError(f"this is no draft of a root: {error}.", remedy="Bring the file whole.") from error


def draft_first(keys: Keys, now: datetime) -> Draft:
    """The first root and targets, from the public halves of all keys. Raises `ConfigError`: one is missing."""
    root = Root(expires=expiry("root", now), consistent_snapshot=True)
    root.roles["root"] = TufRole([], ROOT_THRESHOLD)
    for name in keys.names("root") or ["root-1"]:
        root.add_key(keys.public(name), "root")
    if len(root.roles["root"].keyids) < ROOT_THRESHOLD:
        raise ConfigError(
            f"{keys.directory} holds fewer than {ROOT_THRESHOLD} root keys.", remedy="Bring their .pub files here."
        )
    for role in ONLINE_OF_ROOT:
        root.add_key(keys.public(role), role)
    public = {role: keys.public(role) for role in PATHS}
    roles = {r: DelegatedRole(r, [public[r].keyid], 1, terminating=True, paths=PATHS[r]) for r in PATHS}
    delegations = Delegations(keys={key.keyid: key for key in public.values()}, roles=roles)
    return Draft(Metadata(root), Metadata(Targets(expires=expiry("targets", now), delegations=delegations)))


def draft_next(store: Store, keys: Keys, exchange: dict[str, str], now: datetime, asked: tuple[str, ...] = ()) -> Draft:
    """The root and targets that follow.

    Args:
        exchange: for the id of each key to be replaced, the name here of the one that takes its place. Empty to sign for another
            year what has less than half of its own left: then either or both may be None.

    Raises:
        as `metadata.read_published`.
    """
    roots = read_roots(store, keys)
    previous = roots[-1]
    published = read_published(store, [root.signed for root in roots[-2:]])
    root, targets = Metadata[Root].from_bytes(previous.to_bytes()).signed, published.targets
    in_root = [role for role in root.roles if _exchange(root, role, exchange, keys)]
    in_targets = [role for role in PATHS if _exchange(targets, role, exchange, keys)]
    renew_root = not exchange and half_over("root", root.expires, now)
    renew_targets = not exchange and half_over("targets", targets.expires, now)
    root.version, root.expires = root.version + 1, expiry("root", now)
    targets.version, targets.expires = _free_version(store, "targets", targets.version), expiry("targets", now)
    return Draft(
        Metadata(root) if in_root or renew_root else None,
        Metadata(targets) if in_targets or renew_targets or "targets" in in_root else None,
        previous,
        asked,
        tuple(exchange),
    )


def _exchange(delegator: Delegator, role: str, exchange: dict[str, str], keys: Keys) -> bool:
    old = [keyid for keyid in delegator.get_delegated_role(role).keyids if keyid in exchange]
    for keyid in old:
        delegator.revoke_key(keyid, role)
        delegator.add_key(keys.public(exchange[keyid]), role)
    return bool(old)


def _free_version(store: Store, role: str, version: int) -> int:
    while True:  # one that a crash left behind may have been signed for something else
        version += 1
        try:
            store.size(f"{RELEASE_METADATA}/{version}.{role}.json")
        except NotFound:
            return version


def sign_draft(draft: Draft, keys: Keys) -> Draft:
    """The draft with the signatures of all its keys that are here; of the old ones, too, where it replaces some."""
    roots = [metadata.signed for metadata in (draft.previous, draft.root) if metadata]
    for role, metadata in (("root", draft.root), ("targets", draft.targets)):
        if metadata is not None:
            trusted = {keyid for root in roots for keyid in root.roles[role].keyids}
            add_signatures(metadata, keys.signers(role, trusted))
    return draft


def publish_draft(store: Store, keys: Keys, draft: Draft, now: datetime) -> None:
    """Put a draft into force, as the module says; the online keys of its root have to be here if anything online changes.

    Raises:
        ConfigError: a signature or a key is missing, or another root was published meanwhile.
        PreconditionFailed: another publisher was first; repeat it.
    """
    draft.demand_complete()
    roots = read_roots(store, keys)
    due = _due(roots, draft)
    accepted = [*(root.signed for root in roots[-2:]), draft.decisive]
    bridged = not due or _can_bridge(keys, draft, roots[-1].signed)
    if bridged and (draft.targets is not None or draft.exchanges):
        _publish_online(store, keys, draft, accepted, roots[-1].signed if due else draft.decisive, now)
    if due and draft.root is not None:
        store.create(f"{RELEASE_METADATA}/{draft.root.signed.version}.root.json", draft.root.to_bytes())
    if due and (draft.exchanges or (draft.targets is not None and not bridged)):
        _publish_online(store, keys, draft, accepted, draft.decisive, now)


def _due(roots: list[Metadata[Root]], draft: Draft) -> bool:
    """Whether the draft has a root that is still to be published."""
    latest = roots[-1].signed
    if draft.previous is not None and draft.previous.signed == latest:
        return draft.root is not None
    if draft.root is not None and draft.root.signed == latest:
        return False
    raise ConfigError(
        f"the draft follows another root than the one in force, version {latest.version}.",
        remedy="Remove it and begin again: another was published meanwhile.",
    )


def _can_bridge(keys: Keys, draft: Draft, old: Root) -> bool:
    if draft.targets is not None and not signs(old, "targets", draft.targets):
        return False
    return all(keys.signers(role, old.roles[role].keyids) for role in ("snapshot", "timestamp"))


def _publish_online(store: Store, keys: Keys, draft: Draft, accepted: list[Root], old: Root, now: datetime) -> None:
    """What is online, signed for the root that will be in force and for `old`."""
    published = read_published(store, accepted)
    snapshot, timestamp, new = published.snapshot, published.timestamp, draft.decisive
    demand_no_older(keys, published)
    due = draft.targets is not None and draft.targets.signed.version > published.targets.version
    if not due and not draft.exchanges:
        return  # done by a former attempt
    signers = {role: signers_for(keys, role, new) for role in ("snapshot", "timestamp")}
    for role, found in signers.items():
        found += [s for s in keys.signers(role, old.roles[role].keyids) if s not in found]
    if due and draft.targets is not None:
        for role in PATHS:
            targets, trusted = read_delegated(store, published, role), draft.targets.signed.get_delegated_role(role)
            if trusted.keyids != published.targets.get_delegated_role(role).keyids:
                by = signers_for(keys, role, draft.targets.signed)
                snapshot.meta[f"{role}.json"] = MetaFile(create_next(store, role, targets, by, now))
        snapshot.meta["targets.json"] = MetaFile(_create_targets(store, draft.targets))
    timestamp.snapshot_meta = MetaFile(create_next(store, "snapshot", snapshot, signers["snapshot"], now))
    put_timestamp(store, published, signers["timestamp"], now)
    note_seen(keys, published)


def _create_targets(store: Store, targets: Metadata[Targets]) -> int:
    path = f"{RELEASE_METADATA}/{targets.signed.version}.targets.json"
    try:
        store.create(path, targets.to_bytes())
    except AlreadyExists:
        if Metadata[Targets].from_bytes(store.read(path)).signed != targets.signed:
            raise ConfigError(f"{path} was written by another.", remedy="Remove the draft and begin again.") from None
    return targets.signed.version
