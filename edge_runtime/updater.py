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

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from edge_runtime.releases import Release, choose_artefact, model_file
from edge_runtime.settings import DeviceSettings, read_root
from edge_runtime.slots import Slots
from edge_runtime.trust import Trusted, durable_replace, refresh
from edgeloop.errors import DataError, ModelError, StoreError, TrustError
from edgeloop.manifest import decode_manifest
from edgeloop.rollout import ReleaseRef, RolloutDocument, decode_rollout, rollout_target
from edgeloop.store import Store


@dataclass(frozen=True)
class Poll:
    """How a poll ended: a state (docs/device.md), why, the release to put on probation if there is one, and the bytes it took."""

    state: str
    reason: str
    release: Release | None = None
    downloaded: int = 0


def poll(home: Path, store: Store, settings: DeviceSettings, slots: Slots, now: datetime) -> Poll:
    """Ask the store what this device is to run, and fetch and verify it if that is new. Never raises for what the store holds."""
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
    return Poll(poll.state, poll.reason, poll.release, trusted.downloaded)


def _follow(trusted: Trusted, home: Path, settings: DeviceSettings, slots: Slots) -> Poll:
    rollout = _rollout(trusted, settings)
    if rollout is None:
        return Poll("idle", "no release of this loop has been rolled out")
    wanted = rollout.assigned(settings.device)
    if rollout.paused and slots.running:
        return Poll("paused", rollout.reason)
    if wanted.sha256 == slots.running:
        return Poll("probation" if slots.staged else "up-to-date", f"runs {wanted.id}")
    if wanted.sha256 in slots.refused:
        return Poll("refused-release", f"{wanted.id} was refused before: {slots.refused[wanted.sha256]}")
    if wanted.counter < rollout.floor:
        return Poll("refused-release", f"{wanted.id} is under the floor of {rollout.floor}")
    return _install(trusted, home, settings, slots, wanted)


def _rollout(trusted: Trusted, settings: DeviceSettings) -> RolloutDocument | None:
    target = trusted.find(rollout_target(settings.loop))
    return None if target is None else decode_rollout(trusted.read(target))


def _install(trusted: Trusted, home: Path, settings: DeviceSettings, slots: Slots, wanted: ReleaseRef) -> Poll:
    folder = home / "models" / wanted.sha256
    folder.mkdir(parents=True, exist_ok=True)
    _fetch(trusted, folder, settings, wanted)
    release = Release(folder, wanted.sha256, settings.section.threads)
    if wrong := release.disagreement():
        slots.refuse(wanted.sha256, wrong)
        return Poll("self-test-failed", wrong)
    return Poll("probation", f"{wanted.id} verified and self-tested", release)


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
    part = folder / "manifest.json.part"
    part.write_bytes(content)
    durable_replace(part, folder / "manifest.json")
