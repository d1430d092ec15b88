"""What the commits of a table did, as deltalake and an upkeep write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import open_store
from ingest.upkeep.compaction import compact

MONTHS = ("2024-01", "2024-02")


def test_what_came_what_left_and_what_was_only_moved(tmp_path: Path) -> None:
    store, layout = open_store(tmp_path), Layout("pump")
    lake = Lake(store, layout)
    for n in range(2):
        lake.append("decisions", pa.table({"decided": [n, n], "month": MONTHS}), ["month"])
    compact(store, layout, "decisions", datetime.now(UTC))
    table = lake.table("decisions")
    assert table is not None
    table.delete("decided = 1 AND month = '2024-01'")
    made, first, second, *moved, deleted = lake.commits("decisions", 0, lake.version("decisions"))
    assert (made.added, made.removed) == ((), ())
    assert {file.partition["month"] for file in (*first.added, *second.added)} == set(MONTHS)
    assert all(file.changes for file in (*first.added, *second.added, *deleted.added, *deleted.removed))
    assert [(c.operation, len(c.added), len(c.removed)) for c in moved] == [("OPTIMIZE", 1, 2)] * 2
    assert not any(file.changes for commit in moved for file in (*commit.added, *commit.removed))
    assert {f.path for c in moved for f in c.removed} == {f.path for f in (*first.added, *second.added)}
    assert [file.partition for file in deleted.removed] == [{"month": "2024-01"}]
    for file in moved[0].added:
        assert store.size(f"{layout.lake('decisions')}/{file.path}") == file.size
    assert timedelta(0) <= datetime.now(UTC) - deleted.time < timedelta(hours=1)
