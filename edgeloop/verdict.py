"""The verdict on a candidate: what each gate wanted, what it found, and for which manifest that holds.

It is bound to the manifest's digest, which names the digest of every artefact; a verdict says nothing of any other bytes.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from edgeloop.manifest import decode_document

VERDICT_VERSION = 1


class Check(msgspec.Struct, frozen=True):
    """One gate: what was wanted and found, and the same as a sentence."""

    name: str
    passed: bool
    wanted: str
    found: str
    sentence: str


class Verdict(msgspec.Struct, frozen=True):
    """All gates of one candidate; `passed` only if every check did."""

    version: int
    manifest_sha256: str
    passed: bool
    checks: tuple[Check, ...]
    decided: datetime

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @property
    def reason(self) -> str:
        """The sentences of the checks that failed, or of all if none did."""
        failed = [c.sentence for c in self.checks if not c.passed]
        return " ".join(failed or [c.sentence for c in self.checks])


def decode_verdict(content: bytes) -> Verdict:
    """Read a verdict. Raises `DataError` as `decode_document`."""
    return decode_document(content, Verdict, VERDICT_VERSION, "verdict")
