"""The rollout controller: starts, advances, pauses and ends rollouts. Holds the `rollouts` authority.

A rollout is one signed document for each loop; each change is a new version of it. What the gate says is written to the
`decisions` table with the numbers it was taken on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
from tuf.api.metadata import TargetFile, Targets

from edgeloop.config import Rollout
from edgeloop.errors import DataError, PreconditionFailed
from edgeloop.events import TIME
from edgeloop.rollout import ROLLOUT_VERSION, ReleaseRef, RolloutDocument, bucket, decode_rollout, rollout_target
from edgeloop.store import Store
from fleet.gate import Decision, Evidence
from fleet.keys import Keys
from fleet.releases import PublishedRelease
from fleet.repository import blob_path, publish, read_role

if TYPE_CHECKING:
    from edgeloop.lake import Lake

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
    return _current(store, read_role(store, keys, "rollouts"), loop)


def _current(store: Store, rollouts: Targets, loop: str) -> RolloutDocument | None:
    path = rollout_target(loop)
    target = rollouts.targets.get(path)
    if target is None:
        return None
    content = store.read(blob_path(path, target.hashes["sha256"]))
    target.verify_length_and_hashes(content)
    return decode_rollout(content)


def start(
    current: RolloutDocument | None, published: PublishedRelease, rules: Rollout, devices: list[str], now: datetime
) -> RolloutDocument:
    """The document that begins to roll out `published`; the first release of a loop goes to everyone at once."""
    manifest = published.manifest
    release = published.ref
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
        revoked=() if current is None else current.revoked,
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
    ended = {"candidate": None, "verdict": decision.verdict, "paused": False, **change}
    if decision.verdict == "promote":
        following = document.wave + 1
        if following < len(document.waves) and document.waves[following] < 10_000:
            return msgspec.structs.replace(document, wave=following, verdict="running", **change)
        return raise_floor(msgspec.structs.replace(document, stable=document.candidate, **ended))
    if decision.verdict in ("reject", "aborted"):
        return msgspec.structs.replace(document, **ended)
    return msgspec.structs.replace(document, verdict="hold", **change)


def revoke(
    document: RolloutDocument, release: ReleaseRef, instead: ReleaseRef | None, reason: str, now: datetime
) -> RolloutDocument:
    """The document after which no device may run `release` again; who does goes back at the next poll.

    Args:
        instead: what everybody gets, if `release` is the stable one.

    Raises:
        DataError: it is, and there is nothing to go back to.
    """
    why = f"{release.id} was revoked: {reason}"
    change = {"reason": why, "updated": now, "revoked": (*document.revoked, release)}
    ended = {"candidate": None, "verdict": "aborted", "paused": False, **change}
    if document.stable == release:
        if instead is None:
            raise DataError(
                f"everybody is on {release.id}, and no release before it can be gone back to.",
                remedy="Name one with --to, or publish a better one first.",
            )
        ended |= {"number": document.number + 1, "stable": instead}
    named = release in (document.stable, document.candidate)
    return raise_floor(msgspec.structs.replace(document, **(ended if named else change)))


def raise_floor(document: RolloutDocument) -> RolloutDocument:
    """The document with its floor over every revoked release that is older than the stable one; those it need not name any more."""
    over = [release for release in document.revoked if release.counter > document.stable.counter]
    under = [release.counter + 1 for release in document.revoked if release not in over]
    return msgspec.structs.replace(document, floor=max([document.floor, *under]), revoked=tuple(over))


def pause(document: RolloutDocument, paused: bool, now: datetime) -> RolloutDocument:
    """The document paused (devices stay where they are) or resumed."""
    return msgspec.structs.replace(
        document, paused=paused, reason="paused by hand" if paused else "resumed by hand", updated=now
    )


def publish_rollout(
    store: Store, keys: Keys, document: RolloutDocument, now: datetime, *, based_on: RolloutDocument | None
) -> None:
    """Sign and publish `document`.

    Args:
        based_on: the document that it was made from; None for a loop's first.

    Raises:
        PreconditionFailed: that is not the one in force any more, or another publisher was first. Read, decide and publish
            again: what a person did in between must stand.
    """
    content = document.encode()

    def put(targets: Targets) -> None:
        if _current(store, targets, document.loop) != based_on:
            raise PreconditionFailed(
                f"the rollout of {document.loop} was changed by somebody else.", remedy="Read it again and repeat."
            )
        targets.targets[document.target] = TargetFile.from_data(document.target, content, ["sha256"])

    publish(store, keys, "rollouts", put, {document.target: content}, now)


def record_decision(
    lake: Lake,
    document: RolloutDocument,
    decision: Decision,
    evidence: Evidence | None,
    now: datetime,
    subject: ReleaseRef | None = None,
) -> None:
    """Add a row to `decisions`: the verdict on the release that `document` was about, or on `subject`, and what it was taken on.

    Before the verdict is published: a crash in between repeats a decision, and never forgets one.
    """
    subject = subject or document.candidate or document.stable
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


def read_looks(lake: Lake, document: RolloutDocument) -> list[Evidence]:
    """What each look at this rollout was taken on, oldest first."""
    if lake.table("decisions") is None:
        return []
    query = "SELECT evidence FROM decisions WHERE rollout = ? AND evidence <> '{}' ORDER BY decided"
    rows = lake.connect(decisions=None).execute(query, [document.number]).fetchall()
    return [Evidence(**json.loads(evidence)) for (evidence,) in rows]


def last_decision(lake: Lake, document: RolloutDocument) -> str:
    """When this rollout was last looked at or changed, and what was found; empty if there is no row of that."""
    if lake.table("decisions") is None:
        return ""
    query = "SELECT decided, verdict, reason FROM decisions WHERE rollout = ? ORDER BY decided DESC LIMIT 1"
    row = lake.connect(decisions=None).execute(query, [document.number]).fetchone()
    return f"{row[0]:%Y-%m-%d %H:%M} UTC, {row[1]}: {row[2]}" if row else ""


def proven(lake: Lake) -> set[str]:
    """The digests of all releases that were promoted and never rejected or aborted."""
    if lake.table("decisions") is None:
        return set()
    query = """SELECT release_sha256 FROM decisions WHERE verdict = 'promote'
        EXCEPT SELECT release_sha256 FROM decisions WHERE verdict IN ('reject', 'aborted')"""
    return {digest for (digest,) in lake.connect(decisions=None).execute(query).fetchall()}


def highest_started(lake: Lake, current: RolloutDocument | None) -> int:
    """The highest counter that ever had a rollout, 0 if none had: a rejected release is not started again.

    A start that was recorded and, for a crash, never published does not count.
    """
    if current is None:
        return 0
    named = max(r.counter for r in (current.stable, current.candidate) if r)
    if lake.table("decisions") is None:
        return named
    query = "SELECT coalesce(max(substr(release, 2)::INTEGER), 0) FROM decisions WHERE rollout <= ?"
    ((counter,),) = lake.connect(decisions=None).execute(query, [current.number]).fetchall()
    return max(named, int(counter))
