"""The object of the store that was not what was signed: fetched again at once when it changes, and else ever more rarely.

A model can be large, a device polls every minute, and its link may be paid for by the byte. That wrong bytes came can be the fault of the
link, so the same object is tried again: at the 2nd poll since, the 4th, the 8th, and so on.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from edge_runtime.durable import durable_write


class Wrong(msgspec.Struct, frozen=True):
    """A target, by its digest, which version of the object was wrong, and in how many polls it has been looked for since."""

    sha256: str = ""
    version: str = ""
    polls: int = 0

    def seen(self, sha256: str, version: str) -> Wrong:
        """What is to be remembered after one more poll that finds this version of that target."""
        same = version and (self.sha256, self.version) == (sha256, version)
        return Wrong(sha256, version, self.polls + 1 if same else 1)

    @property
    def due(self) -> bool:
        """Whether it is fetched in this poll: the first, and each whose number is a power of two."""
        return self.polls & (self.polls - 1) == 0


def read_wrong(path: Path) -> Wrong:
    """What `write_wrong` kept; nothing if it kept none, or that is damaged."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Wrong)
    return Wrong()


def write_wrong(path: Path, wrong: Wrong) -> None:
    """Keep it for the next poll. Raises `OSError`."""
    durable_write(path, msgspec.json.encode(wrong))
