from __future__ import annotations

import math
from pathlib import Path

import pytest

from edge_runtime.room import DISK_MARGIN, demand_disk, memory_available
from edgeloop.errors import NoRoom

MB = 1_000_000


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def group(root: Path, path: str, limit: str, used: int, files: int) -> None:
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")


def test_this_machine_has_some_memory_and_another_may_not_say() -> None:
    assert 1 * MB < memory_available() < 1e15
    assert memory_available(Path("/nowhere")) == math.inf


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo="MemTotal: 900 kB\nMemAvailable:   500 kB\n")
    assert memory_available(tmp_path) == 500 * 1024
    write(tmp_path, proc__self__cgroup="4:memory:/x\n0::/system.slice/edge.service\n")
    assert memory_available(tmp_path) == 500 * 1024  # the machine has no version 2
    group(tmp_path, "system.slice/edge.service", "max", 10, 0)
    assert memory_available(tmp_path) == 500 * 1024
    group(tmp_path, "system.slice", "300000", 100_000, 40_000)
    assert memory_available(tmp_path) == 240_000
    group(tmp_path, "system.slice/edge.service", "200000", 150_000, 0)
    assert memory_available(tmp_path) == 50_000
    group(tmp_path, "", "60000", 50_000, 0)  # as in a container, where the uppermost has one too
    assert memory_available(tmp_path) == 10_000


def test_the_disk_must_hold_what_the_spool_may_still_take() -> None:
    free = 60 * MB + DISK_MARGIN
    demand_disk("r1", 10 * MB, free, 50 * MB)
    demand_disk("r1", 60 * MB, free, -5 * MB)  # a spool over its budget lends none
    with pytest.raises(NoRoom, match=r"r1 needs 62\.0 MB .* 62\.0 MB are free"):
        demand_disk("r1", 10 * MB + 1, free, 50 * MB)
