"""A name is found wherever it can be, and no other is taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.config import parse_loop
from edgeloop.errors import UnlistableName
from edgeloop.store import Entry
from ingest.upkeep.traces import Subject, find_traces
from tests.site import LOOP, BentStore, make_site

CONFIG = parse_loop(LOOP)
IDS = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,20}[A-Za-z0-9]", fullmatch=True)
WORDS = {"pump", "good", "bad", "a", "b", "mode", "slow", "fast", "hour"}


def subject(*devices: str) -> Subject:
    return Subject(CONFIG, devices, None)


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


ZEROS = {"n": list(range(500))}
PLACES = {
    "text": b'{"device": "d1"}',
    "a sentence": b"Worst off is device d1, which loses 0.1.",
    "a path in text": b'{"path": "loops/pump/inbox/d1/000007-000000000001.parquet"}',
    "a status in text": b"loops/pump/status/d1.json",
    "a column": parquet(pa.table({**ZEROS, "device": ["d1"] * 500}), compression="zstd"),
    "an odd column": parquet(pa.table({**ZEROS, "reason": ["its device is 'd1'"] * 500}), compression="brotli"),
    "a dictionary": parquet(pa.table({**ZEROS, "who": pa.array(["d1"] * 500).dictionary_encode()})),
    "a view": parquet(pa.table({**ZEROS, "who": pa.array(["d1"] * 500, pa.string_view())})),
    "what is nested": parquet(pa.table({**ZEROS, "add": [[{"stats": {"min": "d1"}}]] * 500})),
    "a map": parquet(pa.table({"tags": pa.array([[("d1", "x")]] * 5, pa.map_(pa.string(), pa.string()))})),
    "a footer": parquet(pa.table(ZEROS).replace_schema_metadata({"device": "d1"})),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_is_found(place: str) -> None:
    assert subject("x", "d1").is_in("lake/events/part-0.parquet", PLACES[place])
    assert not subject("d2", "d", "1", "d11", "xd1").is_in("lake/events/part-0.parquet", PLACES[place])


def test_a_longer_one_is_found_in_any_bytes_also_of_a_torn_file() -> None:
    content = PLACES["a footer"].replace(b"d1", b"badge-17")
    assert subject("badge-17").is_in("x", b"\xff\xfe" + content[:-20])
    assert not subject("badge-1").is_in("x", b"\xff\xfe" + content[:-20])


def test_a_word_of_the_loop_is_looked_for_where_devices_are_named() -> None:
    assert not subject("good").is_in("trainings/000001/manifest.json", b'{"classes": ["good", "bad"]}')
    assert not subject("good").is_in("x", parquet(pa.table({"prediction": ["good"], "device": ["d1"]})))
    assert subject("good").is_in("x", parquet(pa.table({"prediction": ["bad"], "device": ["good"]})))
    assert subject("pump").is_in("loops/pump/inbox/pump/x", b"")
    assert not subject("pump").is_in("loops/pump/inbox/d1/x", b"")


@given(IDS, IDS)
def test_no_other_id_is_taken_for_it(one: str, other: str) -> None:
    if {one, other} & WORDS:
        return
    for path, content in ((f"inbox/{other}/x", b""), (f"status/{other}.json", b""), ("x", f'"{other}"'.encode())):
        assert subject(one).is_in(path, content) == (one == other)


def test_what_deltalake_wrote_anew_and_what_its_log_says_is_searched(tmp_path: Path) -> None:
    """Its files have text of another kind; its log names devices as the least and the greatest of a file."""
    site = make_site(tmp_path)
    folder = str(tmp_path / "store" / site.config.layout.lake("seen"))
    write_deltalake(folder, pa.table({"device": ["d1", "d2", "d3"], "n": [1, 2, 3]}))
    DeltaTable(folder).delete("n = 2")
    assert len(find_traces(site.store, site.config.layout, subject("d2"), None).objects) == 1  # the first file
    DeltaTable(folder).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert find_traces(site.store, site.config.layout, subject("d2"), None).objects == []
    found = find_traces(site.store, site.config.layout, subject("d3"), None)
    assert len(found.objects) == 3
    assert found.searched > 3


def test_a_folder_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    class Hostile(BentStore):
        def list(self, prefix: str) -> Iterator[Entry]:
            if "loops/pump/inbox/d1".startswith(prefix):
                raise UnlistableName("a name with a line break")
            return super().list(prefix)

    site = make_site(tmp_path)
    for device in ("d1", "d2"):
        site.store.create(f"{site.config.layout.inbox}/{device}/x", b"x")
    found = find_traces(Hostile(site.store), site.config.layout, subject("d2"), None)
    assert found.objects == [f"{site.config.layout.inbox}/d2/x"]
    assert found.hidden == [f"{site.config.layout.inbox}/d1"]
