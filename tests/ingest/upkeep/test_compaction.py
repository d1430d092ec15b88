"""A compaction changes no row, whoever writes at the same time; and what is chosen goes by what came, not by the table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from edgeloop.errors import AlreadyExists, StoreError
from edgeloop.store import open_store
from ingest.derived.touched import changed
from ingest.run import ingest
from ingest.upkeep import compaction
from ingest.upkeep.compaction import LARGE, Compacted, choose, compact
from ingest.upkeep.erasure import delete_rows, drop_history
from ingest.upkeep.rearrange import Overtaken, TableFile, table_files
from ingest.upkeep.vacuum import data_files
from tests.ingest.batches import events, seal
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)


def file(month: str, size: int = 1000) -> TableFile:
    return TableFile(f"month={month}/part", {"month": month}, 1, size, 0)


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ([file("2024-01")] * 7, []),  # of the present month, a few small ones may stand
        ([file("2024-01")] * 8 + [file("2024-01", LARGE)], [8]),  # large ones stay as they are
        ([file("2023-12")] * 2 + [file("2023-11")], [2]),  # a month that is over is put in order
        ([file("2023-12", LARGE)] * 20, []),
        ([file("2023-12", LARGE - 1)] * 5, [2, 2]),  # as many at a time as memory has room for
        ([TableFile("part", {}, 1, 10, 0)] * 8, [8]),
    ],
)
def test_what_is_joined(files: list[TableFile], chosen: list[int]) -> None:
    assert [len(part) for part in choose(files, "2024-01")] == chosen


def grown(site: Site, batches: int = 8) -> list[dict[str, object]]:
    """The rows of a lake that as many intakes brought, out of order by device and time."""
    for i in range(batches):
        site.store.create(*seal(site, events(1 + 50 * i, 50), device=f"d{i % 3}"))
        ingest(site.store, site.lake, site.config, NOW + timedelta(minutes=i))
    return rows_of(site)


def handle(site: Site, version: int | None = None) -> DeltaTable:
    table = site.lake.table("events", version)
    assert table is not None
    return table


def rows_of(site: Site, version: int | None = None) -> list[dict[str, object]]:
    rows = handle(site, version).to_pyarrow_table().sort_by([("device", "ascending"), ("seq", "ascending")])
    return rows.to_pylist()


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_the_rows_stay_and_are_sorted(store_url: str, tmp_path: Path) -> None:
    site = make_site(tmp_path, store=open_store(store_url))
    before, version = grown(site), site.lake.version("events")
    schema = handle(site).schema()
    assert compact(site.store, site.config.layout, "events", NOW) == Compacted(8, 1)
    assert str(rows_of(site)) == str(before)  # some of the values are NaN
    assert str(rows_of(site, version)) == str(before)
    assert handle(site).schema() == schema
    (after,) = table_files(handle(site))
    assert (after.rows, after.partition) == (400, {"month": "2024-01"})
    as_stored = site.lake.read_files("events", [after.place])[0].to_table(columns=["device"])
    assert as_stored["device"].to_pylist() == sorted(as_stored["device"].to_pylist())
    assert site.lake.connect(events=None).sql("SELECT count(*) FROM events").fetchall() == [(400,)]
    assert changed(site.lake.commits("events", version + 1, handle(site).version())) == {}
    assert compact(site.store, site.config.layout, "events", NOW) == Compacted()
    # Both deltalake and ingest go on from it.
    site.store.create(*seal(site, events(1000, 50)))
    assert ingest(site.store, site.lake, site.config, NOW + timedelta(days=1)).rows == 50
    assert len(rows_of(site)) == 450


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_files_that_are_not_alike_become_one(store_url: str, tmp_path: Path) -> None:
    """Of an earlier version with fewer columns, of a delete by deltalake, whose text is of another kind."""
    site = make_site(tmp_path, store=open_store(store_url))
    fewer = {"device": ["d9"], "n": [9], "month": ["2023-12"]}
    site.lake.append("sketches", pa.table(fewer), ["month"])
    for n in range(8):
        table = site.lake.table("sketches")
        assert table is not None
        rows = pa.table(
            {**{k: v * 2 for k, v in fewer.items()}, "n": [n, 10 + n], "hour": [START] * 2, "more": ["x"] * 2}
        )
        write_deltalake(table, rows, mode="append", schema_mode="merge")
    table = site.lake.table("sketches")
    assert table is not None
    table.delete("n >= 10 AND n < 14")
    assert compact(site.store, site.config.layout, "sketches", NOW).after == 1
    found = site.lake.connect(sketches=None).execute("SELECT n, more FROM sketches ORDER BY n, more").fetchall()
    assert found == sorted([*((n, "x") for n in (*range(8), *range(14, 18))), (9, None)])


def before_the_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something else done once, between the writing of a compaction's files and their commit."""
    commit = compaction.rearrange

    def late(*args: Any) -> int:
        monkeypatch.setattr(compaction, "rearrange", commit)
        act()
        return commit(*args)

    monkeypatch.setattr(compaction, "rearrange", late)


def test_what_is_ingested_meanwhile_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path)
    grown(site)
    site.store.create(*seal(site, events(1000, 50)))
    before_the_commit(monkeypatch, lambda: ingest(site.store, site.lake, site.config, NOW + timedelta(hours=1)))
    assert compact(site.store, site.config.layout, "events", NOW) == Compacted(8, 1)
    assert len({(row["device"], row["seq"]) for row in rows_of(site)}) == len(rows_of(site)) == 450
    assert len(handle(site).file_uris()) == 2


def test_of_two_at_once_one_gives_up_and_no_row_is_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path)
    before = grown(site)
    before_the_commit(monkeypatch, lambda: compact(site.store, site.config.layout, "events", NOW))
    with pytest.raises(Overtaken, match="taken by another"):
        compact(site.store, site.config.layout, "events", NOW)
    assert str(rows_of(site)) == str(before)


def test_what_is_deleted_meanwhile_stays_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path)
    grown(site)
    before_the_commit(monkeypatch, lambda: handle(site).delete("device = 'd1'"))
    with pytest.raises(Overtaken):
        compact(site.store, site.config.layout, "events", NOW)
    assert {row["device"] for row in rows_of(site)} == {"d0", "d2"}


def test_what_is_deleted_for_good_meanwhile_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of before is gone then, and nothing stands in the way of a commit that nobody would ever read."""
    site = make_site(tmp_path)
    grown(site)
    layout = site.config.layout

    def forget() -> None:
        delete_rows(site.lake, "events", "device = 'd1'")
        drop_history(site.store, site.lake, layout, "events")

    before_the_commit(monkeypatch, forget)
    with pytest.raises(Overtaken):
        compact(site.store, layout, "events", NOW)
    assert {row["device"] for row in rows_of(site)} == {"d0", "d2"}
    assert {e.path.rpartition("/")[2] for e in data_files(site.store, layout, "events")} == site.lake.files("events")
    versions = [
        int(e.path[-25:-5]) for e in site.store.list(f"{layout.lake('events')}/_delta_log") if e.path.endswith(".json")
    ]
    assert versions == [site.lake.version("events")]


def test_what_cannot_be_read_is_left_as_it_is_and_no_copy_stays(tmp_path: Path) -> None:
    """As when a forgetting takes the files that are being read."""
    site = make_site(tmp_path)
    grown(site)
    layout, (first, *_) = site.config.layout, table_files(handle(site))
    path = f"{layout.lake('events')}/{first.place}"
    content = site.store.read(path)
    site.store.replace(path, content[:4] + bytes(500) + content[504:])
    version = handle(site).version()
    with pytest.raises(StoreError):
        compact(site.store, layout, "events", NOW)
    assert handle(site).version() == version
    assert not list(site.store.list(f"{layout.lake('events')}/compacted"))


def test_an_ingest_that_began_before_is_committed_once(tmp_path: Path) -> None:
    """The handle of an ingest is of a version from before; it must see that it can go on, and only once."""
    site = make_site(tmp_path)
    before = grown(site)
    old = handle(site)
    assert compact(site.store, site.config.layout, "events", NOW).after == 1
    commit = CommitProperties(app_transactions=[Transaction("ingest", 99)])
    other = handle(site)
    write_deltalake(old, other.to_pyarrow_table().slice(0, 1), mode="append", commit_properties=commit)
    with pytest.raises(CommitFailedError):
        write_deltalake(other, old.to_pyarrow_table().slice(0, 1), mode="append", commit_properties=commit)
    assert len(rows_of(site)) == len(before) + 1


def test_a_reply_that_was_lost_is_no_conflict(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    before = grown(site)

    class Forgetful(type(site.store)):  # type: ignore[misc]
        """A store that says of a commit that it made: it is there already."""

        def create(self, path: str, content: bytes) -> None:
            super().create(path, content)
            if "_delta_log" in path:
                raise AlreadyExists(path)

    store = Forgetful(site.store._backend, site.store.url, site.store.directory)
    assert compact(store, site.config.layout, "events", NOW) == Compacted(8, 1)
    assert str(rows_of(site)) == str(before)
