"""The updater: from a poll to a verified release on this device, ready for probation.

A release is installed only if
1. the rollout, signed by `rollouts`, names its manifest digest for this device,
2. `releases` signs a manifest with the same digest,
3. the rollout does not forbid it (its floor, and what was revoked), and it is not refused here,
4. its features are the ones this device makes, a runtime here can run it, and there is room for it,
5. the model file has the digest that the manifest names, and
6. it gives the golden vectors' answers on this very hardware; one that passed its probation here, and is still in a slot, is run
   again without that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from shutil import disk_usage

from edge_runtime.releases import Release, choose_artefact, installed_artefact, model_file
from edge_runtime.room import FULL, demand_disk, memory_available
from edge_runtime.settings import ROLLOUT_FILE, DeviceSettings, read_root
from edge_runtime.slots import Slots
from edge_runtime.targets import part_of
from edge_runtime.trust import Trusted, refresh
from edgeloop.errors import DataError, MetadataRefused, ModelError, NoRoom, StoreError, TrustError
from edgeloop.layout import is_digest
from edgeloop.manifest import Artefact, decode_manifest
from edgeloop.rollout import ReleaseRef, RolloutDocument, decode_rollout, rollout_target
from edgeloop.store import DeviceStore
from edgeloop.window import Window


@dataclass(frozen=True)
class Poll:
    """How a poll ended: a state (docs/updates.md), why, the digest of the release that it is `about`, and the bytes it took.

    There may be a `release` to run, or the one that it is about is to be refused. `verified` is whether the metadata was, and
    `rollout` the document that was read.
    """

    state: str
    reason: str
    about: str = ""
    release: Release | None = None
    refuse: bool = False
    downloaded: int = 0
    verified: bool = False
    rollout: RolloutDocument | None = None


Say = Callable[[str, str, str], None]
"""Takes a state that a poll passes through, why, and the digest of the release that it is about."""


def poll(home: Path, store: DeviceStore, settings: DeviceSettings, slots: Slots, now: datetime, say: Say) -> Poll:
    """Ask the store what this device is to run, and fetch and verify it if that is new. Never raises for what the store holds.

    Reads `slots` and changes none, so that another thread can go on predicting.

    Args:
        now: the trusted time.
        say: called before a download and before a self-test.
    """
    try:
        trusted = refresh(home, store, read_root(home), now)
    except MetadataRefused as error:
        return Poll("refused-metadata", str(error))
    except StoreError as error:
        return Poll("no-store", str(error))
    rollout: RolloutDocument | None = None
    about, verified = "", True
    try:
        if (rollout := _rollout(trusted, home, settings)) is None:
            found = Poll("idle", "no release of this loop has been rolled out")
        else:
            wanted = _wanted(rollout, settings)
            about = wanted.sha256
            found = _decide(home, rollout, wanted, slots, settings.section.window, now) or _install(
                trusted, home, settings, slots, wanted, say
            )
    except MetadataRefused as error:  # of a delegated role, which is read only now
        found, verified = Poll("refused-metadata", str(error)), False
    except (TrustError, DataError) as error:
        found = Poll("refused-target", str(error))
    except ModelError as error:
        found = Poll("refused-release", str(error))
    except NoRoom as error:
        found = Poll("no-room", str(error))
    except StoreError as error:
        found = Poll("no-store", str(error))
    except OSError as error:
        found = Poll("no-room" if error.errno in FULL else "no-store", str(error))
    return replace(found, about=about, downloaded=trusted.downloaded, verified=verified, rollout=rollout)


def _rollout(trusted: Trusted, home: Path, settings: DeviceSettings) -> RolloutDocument | None:
    target = trusted.find(rollout_target(settings.loop))
    return None if target is None else decode_rollout(trusted.read(target, kept=home / ROLLOUT_FILE))


def _wanted(rollout: RolloutDocument, settings: DeviceSettings) -> ReleaseRef:
    wanted = rollout.assigned(settings.device)
    if not is_digest(wanted.sha256):  # it is to be the name of a folder
        raise TrustError(f"the rollout names {wanted.id} by {wanted.sha256[:80]!r}, which is no SHA-256 digest.")
    return wanted


def _decide(
    home: Path, rollout: RolloutDocument, wanted: ReleaseRef, slots: Slots, window: Window, now: datetime
) -> Poll | None:
    """What comes of it without an installation; None if `wanted` is to be installed."""
    if rollout.paused and _may_stay(home, rollout, slots.running):
        return Poll("paused", rollout.reason)
    if wanted.sha256 == slots.running:
        return Poll("probation" if slots.staged else "up-to-date", f"runs {wanted.id}")
    if why := slots.refusals.why(wanted.sha256, now):
        return Poll("refused-release", f"{wanted.id} was refused before: {why}")
    if why := rollout.forbids(wanted.counter, wanted.sha256):
        return Poll("refused-release", f"{wanted.id} {why}")
    closed = wanted.sha256 not in slots.held and window.opens(now) > now
    if closed and _may_stay(home, rollout, slots.running):
        return Poll("waiting", f"{wanted.id} waits for {window} UTC")
    return None


def _may_stay(home: Path, rollout: RolloutDocument, running: str) -> bool:
    """Whether a release runs that the rollout does not forbid: any other is left whatever the hour, and whether paused or not."""
    if not running:
        return False
    with suppress(OSError, DataError):  # it was removed, or is damaged: the next start says so
        counter = decode_manifest((home / "models" / running / "manifest.json").read_bytes()).counter
        return not rollout.forbids(counter, running)
    return True


def _install(
    trusted: Trusted, home: Path, settings: DeviceSettings, slots: Slots, wanted: ReleaseRef, say: Say
) -> Poll:
    folder = home / "models" / wanted.sha256
    folder.mkdir(parents=True, exist_ok=True)
    _fetch(trusted, folder, settings, wanted, say)
    if wanted.sha256 in slots.proven:
        release = Release(folder, wanted.sha256, settings.section.threads).load()
        return Poll("rolled-back", f"the centre took its candidate back; runs {wanted.id}", release=release)
    say("self-testing", f"{wanted.id} is tried on its golden vectors", wanted.sha256)
    with slots.attempt(wanted.sha256):
        tested, wrong = _self_test(folder, wanted.sha256, settings.section.threads)
    if wrong:
        return Poll("self-test-failed", wrong, refuse=True)
    return Poll("probation", f"{wanted.id} verified and self-tested", release=tested)


def _self_test(folder: Path, digest: str, threads: int) -> tuple[Release | None, str]:
    """The release, and what is wrong with it. Raises as `Release`."""
    try:
        release = Release(folder, digest, threads).load()
        return release, release.disagreement()
    except (TrustError, DataError):
        raise
    except Exception as error:  # a runtime's errors have no common base, and whatever it is, the release is to blame
        return None, f"the self-test ended with {type(error).__name__}: {str(error)[:200]}"


def _fetch(trusted: Trusted, folder: Path, settings: DeviceSettings, wanted: ReleaseRef, say: Say) -> None:
    target = trusted.find(f"models/{settings.loop}/{wanted.id}.json")
    if target is None or target.hashes.get("sha256") != wanted.sha256:
        raise TrustError(f"the rollout names {wanted.id} ({wanted.sha256[:12]}), which `releases` does not sign.")
    manifest = decode_manifest(trusted.read(target, kept=folder / "manifest.json"))
    if manifest.schema.digest != settings.schema.digest:
        raise ModelError(
            f"{wanted.id} was made for other features than this device has.", remedy="Update the device's settings."
        )
    if installed_artefact(folder, manifest) is None:
        artefact = choose_artefact(manifest, settings.section.model_mb, memory_available())
        _download(trusted, folder, settings, artefact, say)


def _download(trusted: Trusted, folder: Path, settings: DeviceSettings, artefact: Artefact, say: Say) -> None:
    target = trusted.find(artefact.target)
    if target is None or (target.hashes["sha256"], target.length) != (artefact.sha256, artefact.length):
        raise TrustError(f"{artefact.target} is not signed as its manifest names it.")
    destination = folder / model_file(artefact)
    destination.unlink(missing_ok=True)  # it is damaged
    part = part_of(target, destination)
    for other in set(folder.parent.glob("*/*.part")) - {part}:
        other.unlink()
    promised = settings.section.spool_mb * 1e6 - _size(folder.parent.parent / "state.sqlite")
    demand_disk(target.path, target.length - _size(part), disk_usage(folder).free, promised)
    say("downloading", f"{target.path}, {target.length / 1e6:.1f} MB", folder.name)
    trusted.download(target, destination)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
