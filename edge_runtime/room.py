"""What room this machine has for a release, and whether that is enough.

Memory is what Linux says can be had without swapping, and no more than what the control groups leave that this process is in: a service or
container with a limit is killed at that limit, however much the machine has.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterator
from pathlib import Path

from edgeloop.errors import NoRoom

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk, or of a share of it, that is full."""

MEMORY_MARGIN = 1.25
"""Of what the centre measured: another processor and another version of a runtime take other amounts."""

DISK_MARGIN = 2_000_000
"""Bytes for what is written beside a download: SQLite's log, metadata, a manifest."""


def memory_available(root: Path = Path("/")) -> float:
    """Bytes of memory that can be had here; infinite where nothing says so, as on other systems than Linux.

    Source: Linux, Documentation/filesystems/proc.rst (MemAvailable) and admin-guide/cgroup-v2.rst (memory.*).
    """
    return min((_machine(root), *_groups(root)), default=math.inf)


def memory_needed(measured: int) -> float:
    """Bytes that must be available for a model that took `measured` at the centre."""
    return MEMORY_MARGIN * measured


def demand_disk(what: str, length: int, free: int, promised: float) -> None:
    """Demand room for `length` bytes beside what is promised to the spool.

    Args:
        free: bytes that the disk has.
        promised: bytes that the spool may still grow by.

    Raises:
        NoRoom: there is too little.
    """
    needed = length + max(0.0, promised) + DISK_MARGIN
    if needed > free:
        raise NoRoom(
            f"{what} needs {needed / 1e6:.1f} MB of disk with what the spool may still take, {free / 1e6:.1f} MB are free.",
            remedy="It is tried again at the next poll; make room, or lower spool_mb.",
        )


def _machine(root: Path) -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return 1024.0 * int((root / "proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0])
    return math.inf


def _groups(root: Path) -> Iterator[float]:
    """What each control group from this process's up to the uppermost leaves under its limit."""
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        mount = root / "sys/fs/cgroup"
        for own in (line.removeprefix("0::/") for line in lines if line.startswith("0::/")):
            for group in (mount / own, *(mount / own).parents):
                if group.is_relative_to(mount):
                    yield _left(group)


def _left(group: Path) -> float:
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Files that were read count as used, and are given up first.
        return limit - used + int(counts.get("inactive_file", 0))
    return math.inf
