"""Rows that go for good."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

import ingest.upkeep.erasure
from ingest.upkeep.erasure import delete_rows, drop_history, is_unfinished
from tests.site import Site, make_site

COLUMNS = pa.schema([("device", pa.string()), ("n", pa.int64()), ("month", pa.string())])
BATCHES = 30  # so that there are checkpoints among what is dropped


def rows(n: int) -> pa.Table:
    return pa.table(
        {"device": ["pump-1", "pump-2", "pump-10"], "n": [n] * 3, "month": [f"2024-{1 + n % 3:02d}"] * 3},
        schema=COLUMNS,
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path)
    for n in range(BATCHES):
        numbered = CommitProperties(app_transactions=[Transaction("ingest", n + 1)])
        site.lake.append("seen", rows(n), ["month"], numbered)
    return site


def folder(site: Site) -> Path:
    return site.directory / "store" / site.config.layout.lake("seen")


def test_what_is_deleted_is_in_no_file_and_no_version_and_all_else_stays(site: Site) -> None:
    assert delete_rows(site.lake, "seen", "device = 'pump-1'") == BATCHES
    assert is_unfinished(site.store, site.lake, site.config.layout, "seen")
    dropped = drop_history(site.store, site.lake, site.config.layout, "seen")
    assert dropped.first == BATCHES + 2
    assert dropped.versions == BATCHES + 2
    assert not is_unfinished(site.store, site.lake, site.config.layout, "seen")
    table = site.lake.table("seen")
    assert table is not None
    assert table.transaction_version("ingest") == BATCHES
    found = table.to_pyarrow_table()
    assert found.num_rows == 2 * BATCHES
    assert set(found["device"].to_pylist()) == {"pump-2", "pump-10"}
    there = {path for path in folder(site).rglob("*.parquet") if "_delta_log" not in path.parts}
    assert there == {Path(uri) for uri in table.file_uris()}
    for path in folder(site).rglob("*"):
        if path.is_file():
            assert not re.search(rb"pump-1(?!\d)", path.read_bytes())
    for version in range(dropped.first):
        with pytest.raises(TableNotFoundError):
            DeltaTable(str(folder(site)), version=version)


def test_what_others_write_meanwhile_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's commit comes between the rows that are kept being read and the commit of them."""

    def overtaken(*arguments: object, **options: object) -> None:
        monkeypatch.setattr(ingest.upkeep.erasure, "write_deltalake", write_deltalake)
        site.lake.append("seen", rows(100))
        write_deltalake(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(ingest.upkeep.erasure, "write_deltalake", overtaken)
    assert delete_rows(site.lake, "seen", "device = 'pump-1'") == BATCHES + 1
    assert site.lake.connect(seen=None).execute("SELECT count(*), max(n) FROM seen").fetchone() == (
        2 * BATCHES + 2,
        100,
    )


def test_who_writes_to_a_version_that_went_is_told_and_changes_nothing(site: Site) -> None:
    early = site.lake.table("seen")
    assert early is not None
    delete_rows(site.lake, "seen", "device = 'pump-1'")
    drop_history(site.store, site.lake, site.config.layout, "seen")
    with pytest.raises(DeltaError):
        write_deltalake(early, rows(100), mode="append")
    site.lake.append("seen", rows(101))
    assert site.lake.connect(seen=None).execute("SELECT count(*), max(n) FROM seen").fetchone() == (
        2 * BATCHES + 3,
        101,
    )


def test_a_table_without_such_rows_keeps_its_versions(site: Site) -> None:
    assert delete_rows(site.lake, "seen", "device = 'nobody'") == 0
    assert not is_unfinished(site.store, site.lake, site.config.layout, "seen")
    assert site.lake.version("seen") == BATCHES
