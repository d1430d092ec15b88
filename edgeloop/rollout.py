"""The rollout document: the signed rule that says which device gets which release.

A rule, never a list: a device's place is a hash of its id with the rollout's salt, so the document is as small for a
hundred thousand devices as for one, and holds for devices that are born later. New salts with each rollout, or the
same devices would always go first.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Literal

import msgspec

from edgeloop.manifest import decode_document

ROLLOUT_VERSION = 1
MYRIAD = 10_000

Arm = Literal["everyone", "treated", "control", "waiting"]
Verdict = Literal["running", "promote", "hold", "reject", "aborted"]


class ReleaseRef(msgspec.Struct, frozen=True):
    """A release by its id, counter and manifest digest."""

    id: str
    counter: int
    sha256: str


class RolloutDocument(msgspec.Struct, frozen=True):
    """One version of a loop's rollout. `number` rises with each rollout, `wave` indexes `waves` (per-myriad).

    `candidate` is None once everybody is on `stable`. `floor` is the lowest counter a device may run, and
    `revoked` are releases over it that none may. A `paused` rollout keeps devices where they are.
    """

    version: int
    loop: str
    number: int
    stable: ReleaseRef
    candidate: ReleaseRef | None
    salt: str
    control_salt: str
    waves: tuple[int, ...]
    wave: int
    control: int
    floor: int
    paused: bool
    verdict: Verdict
    reason: str
    updated: datetime
    max_offline_days: int
    revoked: tuple[ReleaseRef, ...] = ()

    def encode(self) -> bytes:
        """The canonical bytes, which are signed."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def target(self) -> str:
        """Its path in the TUF repository."""
        return rollout_target(self.loop)

    def forbids(self, counter: int, sha256: str) -> str:
        """Why no device may run this release; empty if it may."""
        if counter < self.floor:
            return f"is under the rollout's floor of {self.floor}"
        return "was revoked" if any(release.sha256 == sha256 for release in self.revoked) else ""

    def arm(self, device: str) -> Arm:
        """Where `device` stands: `treated` gets the candidate; `control` stays to be compared; `waiting` just stays."""
        if self.candidate is None:
            return "everyone"
        exposed = self.waves[self.wave]
        if bucket(self.salt, device) < exposed:
            return "treated"
        return "control" if bucket(self.control_salt, device) < self.control else "waiting"

    def assigned(self, device: str) -> ReleaseRef:
        """The release that `device` is to run."""
        if self.candidate is not None and self.arm(device) == "treated":
            return self.candidate
        return self.stable


def rollout_target(loop: str) -> str:
    """The TUF target path of a loop's rollout document."""
    return f"rollouts/{loop}.json"


def bucket(salt: str, device: str) -> int:
    """The device's place, 0 to 9999: the first 8 bytes of SHA-256(salt ‖ device), big-endian, modulo 10000."""
    return int.from_bytes(sha256(f"{salt}{device}".encode()).digest()[:8], "big") % MYRIAD


def decode_rollout(content: bytes) -> RolloutDocument:
    """Read a rollout document. Raises `DataError` as `decode_document`."""
    return decode_document(content, RolloutDocument, ROLLOUT_VERSION, "rollout document")
