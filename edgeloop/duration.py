"""Lengths of time as people write them in `loop.toml`: `90s`, `5m`, `24h`, `14d`, `2w`."""

from __future__ import annotations

import re
from datetime import timedelta

from edgeloop.errors import ConfigError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Duration(timedelta):
    """A `timedelta` that is read from and written to text such as `14d`."""

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read `<number><s|m|h|d|w>`.

        Raises:
            ConfigError: it is anything else, or negative.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
        if not found:
            raise ConfigError(f"{text!r} is no duration.", remedy="Write a number and s, m, h, d or w, such as '14d'.")
        try:
            return cls(**{_UNITS[found[2]]: float(found[1])})
        except OverflowError as error:
            raise ConfigError(f"{text!r} is longer than any history.", remedy="Write a shorter one.") from error

    def __str__(self) -> str:
        seconds = self.total_seconds()
        for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
            if seconds and seconds % length == 0:
                return f"{int(seconds // length)}{unit}"
        return f"{seconds:g}s"
