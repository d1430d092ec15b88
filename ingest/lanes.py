"""Lanes: ingests that run side by side, each for the devices whose ids fall to it by their digest. Labels go with the first one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from edgeloop.errors import ConfigError
from edgeloop.layout import Layout

MOST = 16
"""Of one loop. With more, a plan could be half as old as any that is kept (ingest/plan.py) before who wrote it has carried it out."""


@dataclass(frozen=True)
class Lane:
    """Lane `number`, from 0, of `of`."""

    number: int = 0
    of: int = 1

    def takes(self, layout: Layout, path: str) -> bool:
        """Whether what waits at `path` is for this lane."""
        if (device := layout.sender(path)) is None:
            return self.number == 0
        return int.from_bytes(sha256(device.encode()).digest()[:8]) % self.of == self.number


def application(number: int) -> str:
    """The name of a lane's transactions in the lake's tables: under one name a table takes no number after a higher one."""
    return f"ingest-{number}" if number else "ingest"


WHOLE = Lane()
"""Everything: the one lane of a loop that has no others."""


def parse_lane(text: str) -> Lane:
    """The lane that a person calls `1/4` to `4/4`. Raises `ConfigError`."""
    found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of <= MOST:
        raise ConfigError(
            f"shard {text!r} is none of 1/1 to {MOST}/{MOST}.", remedy="Give each ingest its own: 1/4, 2/4, 3/4, 4/4."
        )
    return Lane(number - 1, of)
