"""What was rejected, counted in ways that a person can look at: by kind of reason, by sender."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from edgeloop.layout import Layout
from ingest.plan import Rejected

MOST = 5
"""Kinds and senders that are told of, the most frequent first."""

_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{12,}\b|-?\d[\d.:-]*")


def by_reason(rejected: Iterable[Rejected]) -> dict[str, int]:
    """How many were rejected by each kind of reason: its sentence, with … for what is this file's alone."""
    return dict(Counter(_PARTICULAR.sub("…", bad.reason) for bad in rejected).most_common(MOST))


def by_sender(layout: Layout, rejected: Iterable[Rejected]) -> dict[str, int]:
    """How many were rejected of each device or source of labels."""
    return dict(Counter(_sender(layout, bad.path) for bad in rejected).most_common(MOST))


def _sender(layout: Layout, path: str) -> str:
    return path.removeprefix(f"{layout.inbox}/").removeprefix(f"{layout.root}/").rpartition("/")[0]
