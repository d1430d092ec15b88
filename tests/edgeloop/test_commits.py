"""What came to a table since, whatever was done to its files meanwhile: an append, a compaction, a delete, a vacuum."""

from __future__ import annotations

import tempfile

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import open_store

MONTHS = ("2024-01", "2024 02")
"""The second is escaped in a path, and twice in the log."""


def table_of(values: list[int]) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64()), "month": [MONTHS[n % 2] for n in values]})


class Growth(RuleBasedStateMachine):
    """A table, what each of its versions has, and of every version on what `added` must give."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.lake = Lake(open_store(self.scratch.name), Layout("pump"))
        self.next = 0
        self.versions: list[set[int]] = []
        self.append(1)

    def teardown(self) -> None:
        self.scratch.cleanup()

    def handle(self) -> DeltaTable:
        table = self.lake.table("t")
        assert table is not None
        return table

    def seen(self, rows: set[int]) -> None:
        """What the table has at every version up to now that is not yet written down."""
        self.versions += [rows] * (self.handle().version() + 1 - len(self.versions))

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        new = list(range(self.next, self.next + count))
        self.next += count
        before = self.versions[-1] if self.versions else set()
        self.lake.append("t", table_of(new), ["month"])
        if not self.versions:
            self.versions.append(set())  # it is made empty
        self.seen(before | set(new))

    @rule()
    def compact(self) -> None:
        self.handle().optimize.compact()
        self.seen(self.versions[-1])

    @rule(pick=st.data())
    def delete(self, pick: st.DataObject) -> None:
        if rows := sorted(self.versions[-1]):
            gone = pick.draw(st.sampled_from(rows))
            self.handle().delete(f"n = {gone}")
            self.seen(self.versions[-1] - {gone})

    @invariant()
    def what_came_is_found_and_nothing_that_is_gone(self) -> None:
        now = self.versions[-1]
        for since, then in enumerate(self.versions):
            found = self.lake.added("t", since).to_table(["n", "month"])
            numbers = found["n"].to_pylist()
            assert found["month"].to_pylist() == [MONTHS[n % 2] for n in numbers]
            assert len(numbers) == len(set(numbers))
            assert now - then <= set(numbers) <= now


Growth.TestCase.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
TestGrowth = Growth.TestCase


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_a_compaction_brings_nothing(store_url: str) -> None:
    lake = Lake(open_store(store_url), Layout("pump"))
    for first in range(0, 40, 10):
        lake.append("t", table_of(list(range(first, first + 10))), ["month"])
    since = lake.version("t")
    lake.append("t", table_of([100, 101]), ["month"])
    table = lake.table("t")
    assert table is not None
    assert table.optimize.compact()["numFilesRemoved"] == 10
    assert sorted(lake.added("t", since).to_table()["n"].to_pylist()) == [100, 101]
    assert lake.added("t", table.version()).to_table().num_rows == 0
    # What came since is only in the compacted files then, with what was there before.
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert lake.added("t", since).to_table().num_rows == 42
