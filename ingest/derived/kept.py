"""From when on a loop's rows are kept. Of what retention took (ingest/upkeep/retention.py) only the hourly tables tell."""

from __future__ import annotations

from datetime import datetime, timedelta

from deltalake import DeltaTable

from edgeloop.clock import EPOCH_0

APPLICATION = "retention"
"""How many days from 1970 on a table has no rows of any more, as an application transaction."""


def kept_from(now: datetime, retention: timedelta) -> datetime:
    """The midnight, UTC, from which on rows are kept: each for at least `retention`, and for less than a day more."""
    return EPOCH_0 + timedelta(days=(now - retention - EPOCH_0).days)


def kept_since(*tables: DeltaTable | None) -> datetime | None:
    """From when on `tables`, which are `events` and `sketches`, have rows; None if retention never took any."""
    days = max((table.transaction_version(APPLICATION) or 0 for table in tables if table), default=0)
    return EPOCH_0 + timedelta(days=days) if days else None
