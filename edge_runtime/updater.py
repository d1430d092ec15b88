"""The updater: from a poll to a verified release on this device, ready for probation.

A release is installed only if
1. the rollout, signed by `rollouts`, names its manifest digest for this device,
2. `releases` signs a manifest with the same digest,
3. its counter is at or over the rollout's floor, and it was not refused here before,
4. its features are the ones this device makes, and a runtime here can run it,
5. the model file has the digest that the manifest names, and
6. it gives the golden vectors' answers on this very hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from edge_runtime.releases import Release, choose_artefact, model_file
from edge_runtime.settings import DeviceSettings, read_root
from edge_runtime.slots import Slots
from edge_runtime.trust import Trusted, durable_write, refresh
from edgeloop.errors import DataError, EdgeloopError, ModelError, StoreError, TrustError
from edgeloop.layout import is_digest
from edgeloop.manifest import decode_manifest
from edgeloop.rollout import ReleaseRef, RolloutDocument, decode_rollout, rollout_target
from edgeloop.store import DeviceStore


@dataclass(frozen=True)
class Poll:
    """How a poll ended: a state (docs/device.md), why, and the bytes it took.

    There may be a `release` to put on probation, or the digest of one to `refuse` for ever.
    """

    state: str
    reason: str
    release: Release | None = None
    refuse: str = ""
    downloaded: int = 0


def poll(home: Path, store: DeviceStore, settings: DeviceSettings, slots: Slots, now: datetime) -> Poll:
    """Ask the store what this device is to run, and fetch and verify it if that is new. Never raises for what the store holds.

    Reads `slots` and changes none, so that another thread can go on predicting.
    """
    try:
        trusted = refresh(home, store, read_root(home), now)
    except TrustError as error:
        return Poll("refused-metadata", str(error))
    except StoreError as error:
        return Poll("no-store", str(error))
    try:
        poll = _follow(trusted, home, settings, slots)
    except (TrustError, DataError) as error:
        poll = Poll("refused-target", str(error))
    except ModelError as error:
        poll = Poll("refused-release", str(error))
    except (StoreError, OSError) as error:
        poll = Poll("no-store", str(error))
    return replace(poll, downloaded=trusted.downloaded)


def _follow(trusted: Trusted, home: Path, settings: DeviceSettings, slots: Slots) -> Poll:
    rollout = _rollout(trusted, home, settings)
    if rollout is None:
        return Poll("idle", "no release of this loop has been rolled out")
    wanted = rollout.assigned(settings.device)
    if not is_digest(wanted.sha256):  # it is to be the name of a folder
        raise TrustError(f"the rollout names {wanted.id} by {wanted.sha256[:80]!r}, which is no SHA-256 digest.")
    if rollout.paused and slots.running:
        return Poll("paused", rollout.reason)
    if wanted.sha256 == slots.running:
        return Poll("probation" if slots.staged else "up-to-date", f"runs {wanted.id}")
    if wanted.sha256 in slots.refused:
        return Poll("refused-release", f"{wanted.id} was refused before: {slots.refused[wanted.sha256]}")
    if wanted.counter < rollout.floor:
        return Poll("refused-release", f"{wanted.id} is under the floor of {rollout.floor}")
    return _install(trusted, home, settings, slots, wanted)


def _rollout(trusted: Trusted, home: Path, settings: DeviceSettings) -> RolloutDocument | None:
    target = trusted.find(rollout_target(settings.loop))
    return None if target is None else decode_rollout(trusted.read(target, kept=home / "rollout.json"))


def _install(trusted: Trusted, home: Path, settings: DeviceSettings, slots: Slots, wanted: ReleaseRef) -> Poll:
    folder = home / "models" / wanted.sha256
    folder.mkdir(parents=True, exist_ok=True)
    _fetch(trusted, folder, settings, wanted)
    with slots.attempt(wanted.sha256):
        release, wrong = _self_test(folder, wanted.sha256, settings.section.threads)
    if wrong:
        return Poll("self-test-failed", wrong, refuse=wanted.sha256)
    return Poll("probation", f"{wanted.id} verified and self-tested", release)


def _self_test(folder: Path, digest: str, threads: int) -> tuple[Release | None, str]:
    """The release, and what is wrong with it. Raises as `Release`."""
    try:
        release = Release(folder, digest, threads)
        return release, release.disagreement()
    except EdgeloopError:
        raise
    except Exception as error:  # a runtime's errors have no common base, and whatever it is, the release is to blame
        return None, f"the self-test ended with {type(error).__name__}: {str(error)[:200]}"


def _fetch(trusted: Trusted, folder: Path, settings: DeviceSettings, wanted: ReleaseRef) -> None:
    target = trusted.find(f"models/{settings.loop}/{wanted.id}.json")
    if target is None or target.hashes.get("sha256") != wanted.sha256:
        raise TrustError(f"the rollout names {wanted.id} ({wanted.sha256[:12]}), which `releases` does not sign.")
    content = trusted.read(target)
    manifest = decode_manifest(content)
    if manifest.schema.digest != settings.schema.digest:
        raise ModelError(
            f"{wanted.id} was made for other features than this device has.", remedy="Update the device's settings."
        )
    artefact = choose_artefact(manifest)
    destination = folder / model_file(artefact)
    if destination.exists() and sha256(destination.read_bytes()).hexdigest() != artefact.sha256:
        destination.unlink()  # damaged here: fetch it again
    if not destination.exists():
        model = trusted.find(artefact.target)
        if model is None or model.hashes.get("sha256") != artefact.sha256:
            raise TrustError(f"{artefact.target} is not signed as the manifest of {wanted.id} names it.")
        trusted.download(model, destination)
    durable_write(folder / "manifest.json", content)
