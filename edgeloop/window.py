"""Hours of the day, as people write them in `loop.toml`: `22:00-06:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from edgeloop.errors import ConfigError

_FORM = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d)")


class Window(str):
    """Hours of every day in UTC, from the first time up to the second, over midnight if that is earlier; empty: always."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `HH:MM-HH:MM`, or nothing.

        Raises:
            ConfigError: it is anything else, or no time lies between the two.
        """
        found = _FORM.fullmatch(text)
        if text and (found is None or found[1] == found[2]):
            raise ConfigError(f"{text!r} are no hours of the day.", remedy="Write them in UTC, such as '22:00-06:00'.")
        return cls(text)

    def opens(self, now: datetime) -> datetime:
        """When it is open next; `now`, if it is."""
        if not self:
            return now
        begin, end = map(time.fromisoformat, self.split("-"))
        now = now.astimezone(UTC)
        if (begin <= now.time() < end) if begin < end else not (end <= now.time() < begin):
            return now
        opening = datetime.combine(now.date(), begin, UTC)
        return opening if opening > now else opening + timedelta(days=1)
