"""Somebody who can write to the bucket, and who signs with the keys they have: the centre itself, if those are all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from edgeloop.layout import RELEASE_METADATA
from edgeloop.manifest import ReleaseManifest
from edgeloop.rollout import ReleaseRef, RolloutDocument
from fleet.keys import OFFLINE, ONLINE, ROOT_KEYS
from fleet.metadata import LIFETIME, PATHS
from fleet.releases import list_releases
from fleet.repository import blob_path
from fleet.rollouts import read_current
from tests.site import Site

ALL = (*OFFLINE, *ONLINE)
TIMESTAMP = f"{RELEASE_METADATA}/timestamp.json"

TEN_YEARS = dict.fromkeys(LIFETIME, timedelta(days=3650))

Signed = Any
"""The signed part of a role's metadata; what is done to it differs by role."""
Change = Callable[[Signed], None]


def contents(site: Site) -> dict[str, bytes]:
    """The whole repository as it is now."""
    return {entry.path: site.store.read(entry.path) for entry in site.store.list("releases")}


class Attacker:
    """Signs for each of the `stolen` keys with it, for any other with one of their own.

    Args:
        before: the repository as it once was.
        lifetimes: for how long each role is signed.
    """

    def __init__(
        self,
        site: Site,
        stolen: Sequence[str] = (),
        before: Mapping[str, bytes] = MappingProxyType({}),
        lifetimes: Mapping[str, timedelta] = TEN_YEARS,
    ) -> None:
        self._site, self._store, self._before, self._lifetimes = site, site.store, before, lifetimes
        self._signers = {
            name: site.keys.signer(name) if name in stolen else CryptoSigner.generate_ed25519() for name in ALL
        }

    # What is there

    def path(self, role: str, back: int = 0) -> str:
        """The newest file of a role, or one so many versions before."""
        if role == "timestamp":
            return TIMESTAMP
        names = (entry.path.rpartition("/")[2].split(".") for entry in self._store.list(RELEASE_METADATA))
        versions = sorted(int(name[0]) for name in names if name[1:] == [role, "json"])
        return f"{RELEASE_METADATA}/{versions[-1 - back]}.{role}.json"

    def read(self, role: str) -> Signed:
        return Metadata.from_bytes(self._store.read(self.path(role))).signed

    def manifest(self) -> ReleaseManifest:
        """That of the newest release."""
        return list_releases(self._store, self._site.keys, "pump")[-1].manifest

    def rollout(self) -> RolloutDocument:
        """The one in force."""
        found = read_current(self._store, self._site.keys, "pump")
        assert found is not None
        return found

    # Without any key

    def put(self, path: str, content: bytes) -> None:
        self._store.replace(path, content)

    def put_back(self, path: str) -> None:
        """What was there before."""
        self.put(path, self._before[path])

    def exchange_for_older(self, role: str) -> None:
        """The version before, under the name of the newest."""
        self.put(self.path(role), self._store.read(self.path(role, back=1)))

    # Signing

    def overwrite(self, role: str, change: Change) -> None:
        """Change the newest metadata of a role under its version, so that nothing else has to be signed."""
        signed = self.read(role)
        change(signed)
        self._write(role, signed)

    def renew(self, role: str, change: Change = lambda _: None, version: int = 0) -> None:
        """Publish the next version of a role, or `version`, and what names it."""
        signed = self.read(role)
        change(signed)
        signed.version = version or signed.version + 1
        self._write(role, signed)
        if role == "snapshot":
            self.renew("timestamp", lambda found: setattr(found, "snapshot_meta", MetaFile(signed.version)), version)
        elif role != "timestamp":
            self.renew("snapshot", lambda found: found.meta.update({f"{role}.json": MetaFile(signed.version)}), version)

    def rotate_root(
        self, *roles: str, old: Sequence[str] = ROOT_KEYS[:2], new: Sequence[str] = (), version: int = 0
    ) -> None:
        """A next root with new keys for `roles`, signed by these `old` root keys and, if they are among `roles`, these `new` ones.

        Args:
            version: what it says that it is.
        """
        root, before = self.read("root"), dict(self._signers)
        place = f"{RELEASE_METADATA}/{root.version + 1}.root.json"
        self._signers |= {name: CryptoSigner.generate_ed25519() for name in roles}
        for role, names in (("root", ROOT_KEYS), *((name, (name,)) for name in ("targets", "snapshot", "timestamp"))):
            if {*names} & {*roles}:
                _replace_keys(root, role, [self._signers[name] for name in names])
        root.version = version or root.version + 1
        self.put(place, _sign(root, [before[name] for name in old] + [self._signers[name] for name in new]))

    def rotate(self, *roles: str) -> None:
        """New keys for `roles`, everything that they sign signed anew by them, and the metadata published as they were."""
        self.rotate_root(*roles, new=[name for name in ROOT_KEYS[:2] if name in roles])
        delegated = {*roles} & {*PATHS}
        for role in delegated:
            self._write(role, self.read(role))

        def replace(targets: Signed) -> None:
            for role in delegated:
                _replace_keys(targets, role, [self._signers[role]])

        self.renew("targets", replace)

    def _write(self, role: str, signed: Signed) -> None:
        signed.expires = (self._site.clock.now + self._lifetimes[role]).replace(microsecond=0)
        name = TIMESTAMP if role == "timestamp" else f"{RELEASE_METADATA}/{signed.version}.{role}.json"
        self.put(name, _sign(signed, [self._signers[role]]))

    # What they would have signed

    def file(self, path: str, content: bytes, length: int = 0) -> Change:
        """A target of these bytes, which are put in the store; `length` is what is said of it."""

        def add(targets: Signed) -> None:
            targets.targets[path] = TargetFile.from_data(path, content, ["sha256"])
            targets.targets[path].length = length or len(content)
            self.put(blob_path(path, targets.targets[path].hashes["sha256"]), content)

        return add

    def release(self, target: str = "") -> tuple[ReleaseRef, Change]:
        """A release r0003 of their own, its model the newest's or the one at `target`; and what signs it."""
        manifest = self.manifest()
        models = [msgspec.structs.replace(model, target=target or model.target) for model in manifest.models]
        evil = msgspec.structs.replace(manifest, id="r0003", counter=3, models=tuple(models))
        return ReleaseRef("r0003", 3, evil.sha256), self.file(evil.target, evil.encode())

    def naming(self, ref: ReleaseRef) -> Change:
        """A rollout document that gives everyone this release."""
        document = msgspec.structs.replace(self.rollout(), stable=ref, candidate=None)
        return self.file(document.target, document.encode())


def _replace_keys(delegator: Signed, role: str, signers: Sequence[CryptoSigner]) -> None:
    roles = delegator.roles if hasattr(delegator, "roles") else delegator.delegations.roles
    for keyid in list(roles[role].keyids):
        delegator.revoke_key(keyid, role)
    for signer in signers:
        delegator.add_key(signer.public_key, role)


def _sign(signed: Signed, signers: Sequence[CryptoSigner]) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
