"""Publishing a release, and listing what is published. Holds the `releases` authority."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile, Targets

from edgeloop.errors import DataError, GateRefused, NotFound
from edgeloop.manifest import ReleaseManifest, decode_manifest
from edgeloop.rollout import ReleaseRef
from edgeloop.store import Store
from edgeloop.verdict import decode_verdict
from fleet.keys import Keys
from fleet.repository import blob_path, publish, read_role

LIVE_RELEASES = 20
"""How many releases of a loop stay in the signed metadata; older ones keep their blobs but are no longer named."""


def publish_release(
    store: Store,
    keys: Keys,
    manifest: bytes,
    artefacts: dict[str, bytes],
    verdict: bytes,
    keep: frozenset[str],
    now: datetime,
) -> ReleaseManifest:
    """Sign and publish a release, if its verdict is a pass for these very bytes.

    Args:
        manifest: the canonical manifest bytes.
        artefacts: file contents by TUF target path, as the manifest names them.
        verdict: the verdict document.
        keep: ids of releases that must stay listed however old, such as the champion's.

    Raises:
        GateRefused: the verdict is for another digest or no pass, an artefact is not the one in the manifest, or it would take a
            missing value for another.
        PreconditionFailed: another publisher was first; repeat.
    """
    release = decode_manifest(manifest)
    _demand_pass(release, manifest, verdict)
    _demand_values(release)
    for artefact in release.models:
        found = sha256(artefacts.get(artefact.target, b"")).hexdigest()
        if found != artefact.sha256:
            raise GateRefused(
                f"{artefact.target} has digest {found[:12]}, the manifest of {release.id} names {artefact.sha256[:12]}.",
                remedy="Publish the files of the training that the verdict is about.",
            )
    blobs = {release.target: manifest, **{a.target: artefacts[a.target] for a in release.models}}

    def add(targets: Targets) -> None:
        for path, content in blobs.items():
            targets.targets[path] = TargetFile.from_data(path, content, ["sha256"])
        _drop_old(targets, release.loop, keep | {release.id})

    publish(store, keys, "releases", add, blobs, now)
    return release


def withdraw_release(store: Store, keys: Keys, loop: str, ident: str, now: datetime) -> None:
    """Sign a release no longer: nobody who holds the `rollouts` key can bring it back. Raises as `publish`."""

    def drop(targets: Targets) -> None:
        _drop(targets, loop, ident)

    publish(store, keys, "releases", drop, {}, now)


def _demand_pass(release: ReleaseManifest, manifest: bytes, verdict: bytes) -> None:
    judged = decode_verdict(verdict)
    digest = sha256(manifest).hexdigest()
    if judged.manifest_sha256 != digest:
        raise GateRefused(
            f"the verdict is for {judged.manifest_sha256[:12]}, this manifest of {release.id} is {digest[:12]}.",
            remedy="Validate this candidate; a verdict holds for one digest only.",
        )
    if not judged.passed or not all(check.passed for check in judged.checks) or not judged.checks:
        raise GateRefused(f"{release.id} did not pass its gates: {judged.reason}", remedy="Train a better challenger.")


def _demand_values(release: ReleaseManifest) -> None:
    for artefact in release.models:
        if names := release.blind_to(artefact.runtime):
            raise GateRefused(
                f"a {artefact.runtime} model knows no missing value, and {', '.join(names)} may be missing to {artefact.target}.",
                remedy="Give each a value or 'reject' under [features.missing] of loop.toml, and train on that.",
            )


def _drop_old(targets: Targets, loop: str, keep: frozenset[str]) -> None:
    prefix = f"models/{loop}/"
    ids = sorted({path.removeprefix(prefix).partition(".")[0] for path in targets.targets if path.startswith(prefix)})
    for ident in [i for i in ids if i not in keep][: max(0, len(ids) - LIVE_RELEASES)]:
        _drop(targets, loop, ident)


def _drop(targets: Targets, loop: str, ident: str) -> None:
    for path in [p for p in targets.targets if p.startswith(f"models/{loop}/{ident}.")]:
        del targets.targets[path]


class UnreadableRelease(DataError):
    """What is signed as the release `ident`, and is none: damaged, or by somebody who had the key."""

    def __init__(self, ident: str, why: Exception) -> None:
        super().__init__(
            f"{ident} is signed, and its manifest is not in the store as it was signed: {why}.",
            remedy=f"Restore it; or, if nobody trained it, `edgeloop release revoke LOOP.toml {ident} --reason TEXT`.",
        )
        self.ident = ident


@dataclass(frozen=True)
class PublishedRelease:
    """A release in the signed metadata: its manifest and the manifest's digest."""

    manifest: ReleaseManifest
    sha256: str

    @property
    def ref(self) -> ReleaseRef:
        """What a rollout names it by."""
        return ReleaseRef(self.manifest.id, self.manifest.counter, self.sha256)


def list_releases(store: Store, keys: Keys, loop: str) -> list[PublishedRelease]:
    """The live releases of `loop`, oldest first, read through the signed metadata."""
    targets = read_role(store, keys, "releases").targets
    found = [
        PublishedRelease(_read_manifest(store, path, target), target.hashes["sha256"])
        for path, target in targets.items()
        if path.startswith(f"models/{loop}/") and path.endswith(".json")
    ]
    return sorted(found, key=lambda release: release.manifest.counter)


def read_release(store: Store, keys: Keys, loop: str, ident: str) -> PublishedRelease:
    """The live release `ident` (an id such as `r0003`, or a digest's beginning).

    Raises:
        DataError: no live release is called so.
    """
    releases = list_releases(store, keys, loop)
    for release in releases:
        if release.manifest.id == ident or (len(ident) >= 8 and release.sha256.startswith(ident)):
            return release
    known = ", ".join(r.manifest.id for r in releases) or "none"
    raise DataError(f"loop {loop!r} has no release {ident!r}.", remedy=f"Live releases: {known}.")


def read_model(store: Store, release: ReleaseManifest, runtime: str = "onnx") -> bytes:
    """The model file of a release for `runtime`, checked against the manifest's digest."""
    for artefact in release.models:
        if artefact.runtime == runtime:
            content = store.read(blob_path(artefact.target, artefact.sha256))
            if sha256(content).hexdigest() != artefact.sha256:
                raise DataError(f"{artefact.target} in the store is not what the manifest names.", remedy="Restore it.")
            return content
    raise DataError(f"release {release.id} has no {runtime} model.", remedy="Publish one with that artefact.")


def _read_manifest(store: Store, path: str, target: TargetFile) -> ReleaseManifest:
    try:
        content = store.read(blob_path(path, target.hashes["sha256"]))
        target.verify_length_and_hashes(content)
        return decode_manifest(content)
    except (NotFound, RepositoryError, DataError) as error:
        raise UnreadableRelease(path.rpartition("/")[2].removesuffix(".json"), error) from error
