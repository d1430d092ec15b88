"""The rollout controller: starts, advances, pauses and ends rollouts. Holds the `rollouts` authority.

A rollout is one signed document for each loop; each change is a new version of it. What the gate says is written to the
`decisions` table with the numbers it was taken on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256

import msgspec
import pyarrow as pa
from tuf.api.metadata import TargetFile, Targets

from edgeloop.config import Rollout
from edgeloop.errors import DataError
from edgeloop.events import TIME
from edgeloop.lake import Lake
from edgeloop.manifest import ReleaseManifest
from edgeloop.rollout import ROLLOUT_VERSION, ReleaseRef, RolloutDocument, bucket, decode_rollout, rollout_target
from edgeloop.store import Store
from fleet.gate import Decision, Evidence
from fleet.keys import Keys
from fleet.repository import blob_path, publish, read_role

DECISIONS = pa.schema(
    [
        ("decided", TIME),
        ("rollout", pa.int64()),
        ("release", pa.string()),
        ("release_sha256", pa.string()),
        ("wave", pa.int32()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("evidence", pa.string()),
    ]
)


def read_current(store: Store, keys: Keys, loop: str) -> RolloutDocument | None:
    """The loop's rollout document as published now; None before the first release."""
    path = rollout_target(loop)
    target = read_role(store, keys, "rollouts").targets.get(path)
    if target is None:
        return None
    content = store.read(blob_path(path, target.hashes["sha256"]))
    target.verify_length_and_hashes(content)
    return decode_rollout(content)


def start(
    current: RolloutDocument | None, manifest: ReleaseManifest, rules: Rollout, devices: list[str], now: datetime
) -> RolloutDocument:
    """The document that begins to roll out `manifest`; the first release of a loop goes to everyone at once."""
    release = ReleaseRef(manifest.id, manifest.counter, manifest.sha256)
    salts = _salts(release.sha256, devices, rules.waves[0])
    document = RolloutDocument(
        version=ROLLOUT_VERSION,
        loop=manifest.loop,
        number=1 if current is None else current.number + 1,
        stable=release if current is None else current.stable,
        candidate=None if current is None else release,
        salt=salts[0],
        control_salt=salts[1],
        waves=rules.waves,
        wave=0,
        control=rules.control,
        floor=0 if current is None else current.floor,
        paused=False,
        verdict="promote" if current is None else "running",
        reason="the first release: there is nothing to compare it with" if current is None else "just started",
        updated=now,
        max_offline_days=rules.max_offline_days,
    )
    if current is not None and len(rules.waves) == 1:
        return conclude(document, Decision("promote", "the only wave is everyone"), now)
    return document


def _salts(digest: str, devices: list[str], first_wave: int) -> tuple[str, str]:
    # Fresh with each release, and not to be chosen before it exists. In a small fleet a wave could hold nobody, and
    # would wait for ever: the first salt that puts somebody in it, and leaves somebody out if there is more than one, is
    # taken.
    for attempt in range(1000):
        salt = sha256(f"{digest}/wave/{attempt}".encode()).hexdigest()[:16]
        treated = sum(bucket(salt, device) < first_wave for device in devices)
        if not devices or 0 < treated < max(len(devices), 2):
            break
    return salt, sha256(f"{digest}/control".encode()).hexdigest()[:16]


def conclude(document: RolloutDocument, decision: Decision, now: datetime) -> RolloutDocument:
    """The document after a decision: `promote` goes to the next wave or to everyone, `reject` back to the champion."""
    if document.candidate is None:
        raise DataError(f"loop {document.loop!r} has no rollout under way.", remedy="Publish a release first.")
    change = {"reason": decision.reason, "updated": now}
    if decision.verdict == "promote":
        following = document.wave + 1
        if following < len(document.waves) and document.waves[following] < 10_000:
            return msgspec.structs.replace(document, wave=following, verdict="running", **change)
        return msgspec.structs.replace(document, stable=document.candidate, candidate=None, verdict="promote", **change)
    if decision.verdict in ("reject", "aborted"):
        return msgspec.structs.replace(document, candidate=None, verdict=decision.verdict, **change)
    return msgspec.structs.replace(document, verdict="hold", **change)


def pause(document: RolloutDocument, paused: bool, now: datetime) -> RolloutDocument:
    """The document paused (devices stay where they are) or resumed."""
    return msgspec.structs.replace(
        document, paused=paused, reason="paused by hand" if paused else "resumed by hand", updated=now
    )


def publish_rollout(store: Store, keys: Keys, document: RolloutDocument, now: datetime) -> None:
    """Sign and publish `document`. Raises `PreconditionFailed` if another publisher was first."""
    content = document.encode()

    def put(targets: Targets) -> None:
        targets.targets[document.target] = TargetFile.from_data(document.target, content, ["sha256"])

    publish(store, keys, "rollouts", put, {document.target: content}, now)


def record_decision(
    lake: Lake, document: RolloutDocument, decision: Decision, evidence: Evidence | None, now: datetime
) -> None:
    """Add a row to `decisions`: the verdict on the release that `document` was about, and what it was taken on."""
    subject = document.candidate or document.stable
    row = {
        "decided": now,
        "rollout": document.number,
        "release": subject.id,
        "release_sha256": subject.sha256,
        "wave": document.wave,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "evidence": json.dumps(asdict(evidence)) if evidence else "{}",
    }
    lake.append("decisions", pa.Table.from_pylist([row], schema=DECISIONS))
