"""What is touched of each month, and which files may have it: one too many costs time, one too few would be a wrong figure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.commits import Commit, DataFile
from edgeloop.events import TIME
from ingest.derived.touched import KEYS, Touched, by_month, changed, needed, spans
from tests.site import START

HOUR = timedelta(hours=1)
Key = tuple[str, datetime]
KEY = st.tuples(st.sampled_from("abcd"), st.integers(0, 24 * 40).map(lambda hour: START + hour * HOUR))


def keys(rows: list[Key]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(KEYS.names, row, strict=True)) for row in rows], schema=KEYS)


def described(files: list[list[Key]], known: list[bool]) -> pa.Table:
    """What the log of a table has of files with such rows, or not."""
    rows = [
        {
            "path": str(i),
            **({"min.ts": min(t for _, t in file), "max.ts": max(t for _, t in file) + HOUR / 2} if told else {}),
            **({"min.device": min(d for d, _ in file), "max.device": max(d for d, _ in file)} if told else {}),
        }
        for i, (file, told) in enumerate(zip(files, known, strict=True))
    ]
    kinds = {"path": pa.string(), "min.ts": TIME, "max.ts": TIME, "min.device": pa.string(), "max.device": pa.string()}
    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(KEY, min_size=1, max_size=4), min_size=1, max_size=6),
    st.lists(KEY, min_size=1, max_size=4),
    st.booleans(),
    st.data(),
)
def test_no_file_that_has_a_touched_row_is_left_out(
    files: list[list[Key]], came: list[Key], device: bool, data: Any
) -> None:
    told = data.draw(st.lists(st.booleans(), min_size=len(files), max_size=len(files)))
    for month in by_month(keys(came), []):
        assert month.keys is not None
        first, until = month.days
        rows = [(row["device"], row["hour"]) for row in month.keys.to_pylist()]
        assert all(first <= hour < until for _, hour in rows)
        found = needed(described(files, told), "ts", spans(month, device=device))
        hours = {hour for _, hour in rows}
        for i, file in enumerate(files):
            if not told[i] or any((d, hour) in rows if device else hour in hours for d, hour in file):
                assert str(i) in found


def test_a_file_of_other_hours_or_other_devices_is_left_out() -> None:
    files = described([[("a", START)], [("b", START)], [("a", START + HOUR)]], [True] * 3)
    (month,) = by_month(keys([("a", START), ("a", START)]), [])
    assert month.keys is not None
    assert month.keys.num_rows == 1
    assert needed(files, "ts", spans(month, device=True)) == ["0"]
    assert sorted(needed(files, "ts", spans(month, device=False))) == ["0", "1"]
    assert len(needed(files, "ts", spans(Touched("2024-01"), device=True))) == 3
    assert needed(files, "ts", spans(Touched("2024-02"), device=True)) == []


def test_a_month_of_which_all_is_touched_has_no_hours_of_its_own() -> None:
    found = by_month(keys([("a", START), ("a", START + 24 * 31 * HOUR)]), ["2024-02", "2024-12"])
    assert [(month.month, month.keys is None) for month in found] == [
        ("2024-01", False),
        ("2024-02", True),
        ("2024-12", True),
    ]
    assert [day.day for day in found[0].days] == [1, 2]
    assert [(day.year, day.month, day.day) for day in found[2].days] == [(2024, 12, 1), (2025, 1, 1)]


def test_what_a_compaction_does_to_files_is_no_change() -> None:
    one, two, three = (
        DataFile(name, {"month": "2024-01"}, 1, changes) for name, changes in (("1", True), ("2", False), ("3", True))
    )
    commits = [
        Commit(1, START, "WRITE", (one,), ()),
        Commit(2, START, "OPTIMIZE", (two,), (DataFile("1", {}, 1, False),)),
    ]
    assert set(changed(commits)) == {"1"}
    assert set(changed([*commits, Commit(3, START, "DELETE", (three,), (DataFile("2", {}, 1, True),))])) == {
        "1",
        "2",
        "3",
    }
