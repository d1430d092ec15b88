"""Changing keys: which one goes, which one takes its place, and what there is to see of both."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Metadata, Root, Targets

from edgeloop.errors import ConfigError, NotFound, TrustError
from edgeloop.layout import RELEASE_METADATA
from edgeloop.store import Store
from fleet.ceremony import Draft, draft_next
from fleet.keys import Keys, half_of
from fleet.metadata import PATHS, read_delegated, read_published, read_roots, verified

SHORTEST = 8
"""Digits of a key id that name it."""


@dataclass(frozen=True)
class TrustedKey:
    """A key that the repository trusts for `role`, until when what it signed last holds, and what of it is here.

    `here` is `private`, `public` or nothing; `name` is what it is called here, and empty if it is not.
    """

    role: str
    keyid: str
    expires: datetime
    name: str
    here: str


def trusted_keys(store: Store, keys: Keys) -> list[TrustedKey]:
    """Every key that the repository trusts now. Raises as `metadata.read_published`."""
    roots = read_roots(store, keys)
    published = read_published(store, [root.signed for root in roots[-2:]])
    names = {keys.public(name).keyid: name for name in keys.names()}
    expires = {
        "root": published.root.expires,
        **{role: getattr(published, role).expires for role in ("targets", "snapshot", "timestamp")},
        **{role: read_delegated(store, published, role).expires for role in PATHS},
    }
    return [
        TrustedKey(role, keyid, until, names.get(keyid, ""), _here(keys, names.get(keyid, "")))
        for role, until in expires.items()
        for keyid in published.delegator(role).get_delegated_role(role).keyids
    ]


def _here(keys: Keys, name: str) -> str:
    return "" if not name else "private" if keys.holds(name) else "public"


def draft_rotation(store: Store, keys: Keys, asked: tuple[str, ...], now: datetime) -> Draft:
    """Root or targets, or both, with a new key in the place of each that `asked` names.

    Args:
        keys: gets a new key for each, if none is here that the repository never trusted; protected as the one it replaces.
        asked: a role that has one key, the name of a key here, or the beginning of a key's id.

    Raises:
        ConfigError: one of them names no trusted key, or more than one.
    """
    trusted = trusted_keys(store, keys)
    former = _ever_trusted(store, keys)
    exchange: dict[str, str] = {}
    for text in asked:
        old = _named(trusted, text)
        new = _new_key(keys, old, former | {keys.public(name).keyid for name in exchange.values()})
        exchange[old.keyid] = new
    return draft_next(store, keys, exchange, now, asked)


def _named(trusted: list[TrustedKey], text: str) -> TrustedKey:
    found = [key for key in trusted if text in (key.role, key.name)]
    if not found and len(text) >= SHORTEST:
        found = [key for key in trusted if key.keyid.startswith(text)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{key.role} {key.keyid[:12]}" for key in trusted)
    raise ConfigError(
        f"{text!r} names {'no key' if not found else f'{len(found)} keys'} that the repository trusts.",
        remedy=f"Name one by the beginning of its id: {known}.",
    )


def _new_key(keys: Keys, old: TrustedKey, former: set[str]) -> str:
    for name in keys.names(old.role):
        if keys.public(name).keyid not in former:
            return name
    if half_of(old.role) == "offline" and not any(keys.signs_for(role) for role in ("root", "targets")):
        raise ConfigError(
            f"a new {old.role} key is not made in {keys.directory}, where no offline key is.",
            remedy=f"Its holder makes it, `edgeloop fleet keys create DIR --role {keys.free_name(old.role)}`; bring its .pub file here.",
        )
    return keys.create(old.role, protected=keys.protects(old.role))


def _ever_trusted(store: Store, keys: Keys) -> set[str]:
    """The ids of all keys that any root or targets named: one that was replaced is never taken back."""
    roots = read_roots(store, keys)
    published = read_published(store, [root.signed for root in roots[-2:]])
    found = {keyid for root in roots for keyid in root.signed.keys}
    for version in range(1, published.targets.version + 1):
        found |= _delegated_by(store, version, [root.signed for root in roots])
    return found


def _delegated_by(store: Store, version: int, roots: list[Root]) -> set[str]:
    with suppress(NotFound, TrustError):  # cleaned away, or not ours
        content = store.read(f"{RELEASE_METADATA}/{version}.targets.json")
        targets: Metadata[Targets] = verified(content, Targets, "targets", roots)
        return set(targets.signed.delegations.keys) if targets.signed.delegations else set()
    return set()


def forget_replaced(keys: Keys, draft: Draft) -> list[str]:
    """Remove from here the keys that a published draft took out of force; their names."""
    gone = [name for name in keys.names() if keys.public(name).keyid in draft.replaced]
    for name in gone:
        keys.forget(name)
    return gone


def describe(draft: Draft) -> list[tuple[str, str]]:
    """What a holder is asked to sign: what each file says, and which keys go."""
    rows = []
    if draft.root is not None:
        root = draft.root.signed
        rows.append(("root", f"version {root.version}, until {root.expires:%Y-%m-%d}"))
        rows += [
            (f"  {role}", f"{found.threshold} of {', '.join(keyid[:12] for keyid in found.keyids)}")
            for role, found in root.roles.items()
        ]
    if draft.targets is not None:
        targets = draft.targets.signed
        rows.append(("targets", f"version {targets.version}, until {targets.expires:%Y-%m-%d}"))
        rows += [(f"  {role}", ", ".join(k[:12] for k in targets.get_delegated_role(role).keyids)) for role in PATHS]
    return [*rows, *(("replaced", keyid[:12]) for keyid in draft.replaced)]
