"""Whatever was done to a table, a vacuum leaves every version that is kept as it was, and nothing that none of them has."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from edgeloop.errors import VersionGone
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store, open_store
from ingest.upkeep.trim import log_files, spans, trim
from ingest.upkeep.vacuum import data_files, vacuum

LAYOUT = Layout("pump")
EARLIER = datetime(2024, 1, 1, tzinfo=UTC)


def rows_of(table: DeltaTable) -> list[int]:
    return sorted(table.to_pyarrow_table()["n"].to_pylist())


class History(RuleBasedStateMachine):
    """The rows of every version that is still promised, and an instant at which it was the newest, but for the one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.store = open_store(self.scratch.name)
        self.lake = Lake(self.store, LAYOUT)
        self.promised: dict[int, list[int]] = {}
        self.until: dict[int, datetime] = {}
        self.next = 0
        self.now = EARLIER
        self.append(1)

    def teardown(self) -> None:
        self.scratch.cleanup()

    def handle(self, version: int | None = None) -> DeltaTable:
        table = self.lake.table("t", version)
        assert table is not None
        return table

    def done(self) -> None:
        """Write down what the newest version has; times in the log are of milliseconds."""
        self.until = {version: self.until.get(version, self.now) for version in self.promised}
        table = self.handle()
        self.promised[table.version()] = rows_of(table)
        time.sleep(0.002)
        self.now = datetime.now(UTC)
        time.sleep(0.002)

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        numbers = range(self.next, self.next + count)
        self.next += count
        self.lake.append("t", pa.table({"n": list(numbers), "month": [str(n % 2) for n in numbers]}), ["month"])
        self.done()

    @rule()
    def compact(self) -> None:
        self.handle().optimize.compact()
        self.done()

    @rule()
    def checkpoint(self) -> None:
        self.handle().create_checkpoint()

    @rule(which=st.integers(0, 5))
    def delete(self, which: int) -> None:
        self.handle().delete(f"n % 6 = {which}")
        self.done()

    @rule(pick=st.data())
    def vacuum(self, pick: st.DataObject) -> None:
        versions = sorted(self.promised)
        keep = set(pick.draw(st.lists(st.sampled_from(versions), unique=True)))
        since = pick.draw(st.sampled_from([EARLIER, *self.until.values(), datetime.now(UTC)]))
        vacuum(self.store, LAYOUT, "t", since, keep, writing=timedelta(0))
        trim(self.store, LAYOUT, "t", since, keep, writing=timedelta(0))
        young = {version for version in versions if version not in self.until or self.until[version] >= since}
        self.promised = {version: self.promised[version] for version in sorted(keep | young)}
        for version, rows in self.promised.items():
            assert rows_of(self.handle(version)) == rows
        needed = {name for version in self.promised for name in self.lake.files("t", version)}
        assert {entry.path.rpartition("/")[2] for entry in data_files(self.store, LAYOUT, "t")} >= needed
        if since > max(self.until.values(), default=EARLIER) and not keep:
            assert len(data_files(self.store, LAYOUT, "t")) == len(self.lake.files("t"))


History.TestCase.settings = settings(max_examples=12, stateful_step_count=8, deadline=None)
TestHistory = History.TestCase


def grown(store: Store) -> Lake:
    """A table of five versions: made, three appends, a compaction."""
    lake = Lake(store, LAYOUT)
    for first in (0, 10, 20):
        lake.append("t", pa.table({"n": range(first, first + 10)}))
    table = lake.table("t")
    assert table is not None
    table.optimize.compact()
    return lake


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_a_pinned_version_stays_and_the_bytes_of_others_are_freed(store_url: str) -> None:
    store = open_store(store_url)
    lake = grown(store)
    before = sum(entry.size for entry in data_files(store, LAYOUT, "t"))
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    named = vacuum(store, LAYOUT, "t", in_two_days, {2}, dry_run=True)
    gone = vacuum(store, LAYOUT, "t", in_two_days, {2})
    assert named == gone
    assert sum(entry.size for entry in data_files(store, LAYOUT, "t")) == before - sum(entry.size for entry in gone)
    assert len(gone) == 1  # versions 1 and 2 have two files, version 3 one more, version 4 its own
    pinned, newest, lost = (lake.table("t", version) for version in (2, 4, 3))
    assert pinned is not None
    assert newest is not None
    assert lost is not None
    assert rows_of(pinned) == list(range(20))
    assert rows_of(newest) == list(range(30))
    with pytest.raises(FileNotFoundError):
        rows_of(lost)


def test_the_log_is_kept_from_the_checkpoint_before_what_can_be_asked_for() -> None:
    assert spans({20, 40, 60, 80}, [45, 80, 97], 97) == [(80, float("inf")), (40, 45), (80, 80), (80, 97)]
    assert spans({20}, [3, 25], 19) == [(0, float("inf")), (0, 3), (20, 25)]


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_the_log_does_not_grow_for_ever(store_url: str) -> None:
    store = open_store(store_url)
    lake = Lake(store, LAYOUT)
    for n in range(50):  # a checkpoint is made every 20
        lake.append("t", pa.table({"n": [n]}))
    later = datetime.now(UTC) + timedelta(days=2)
    assert len(trim(store, LAYOUT, "t", later, {25})) == 19 + 13
    assert sorted(set(log_files(store, LAYOUT, "t").values())) == [*range(19, 26), *range(39, 51)]
    pinned, newest = lake.table("t", 25), lake.table("t")
    assert pinned is not None
    assert newest is not None
    assert (rows_of(pinned), rows_of(newest)) == (list(range(25)), list(range(50)))
    with pytest.raises(VersionGone):
        lake.table("t", 24 + 10)
    lake.append("t", pa.table({"n": [50]}))
    assert trim(store, LAYOUT, "t", later, {25}) == []


def test_a_pin_on_what_is_deleted_for_good_is_in_vain(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    lake = grown(store)
    table = lake.table("t")
    assert table is not None
    table.create_checkpoint()
    for version in range(4):
        store.delete(LAYOUT.commit("t", version))
    assert len(vacuum(store, LAYOUT, "t", datetime.now(UTC) + timedelta(days=2), {2})) == 3
    newest = lake.table("t")
    assert newest is not None
    assert rows_of(newest) == list(range(30))


def test_what_a_failed_write_left_goes_and_what_may_still_be_committed_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    grown(store)
    for name in ("left", "under-way"):
        store.create(f"{LAYOUT.lake('t')}/month=2024-01/part-{name}.parquet", b"PAR1")
    os.utime(tmp_path / LAYOUT.lake("t") / "month=2024-01" / "part-left.parquet", (0, 0))
    gone = vacuum(store, LAYOUT, "t", datetime.now(UTC))
    assert [entry.path.rpartition("/")[2] for entry in gone] == ["part-left.parquet"]
    assert not (tmp_path / LAYOUT.lake("t") / "month=2024-01" / "part-left.parquet").exists()
