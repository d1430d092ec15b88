"""What is shown of a file that nobody trusts: it never raises, and a small file does not become a large one."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.glimpse import ROWS, glimpse
from tests.ingest.batches import events, seal
from tests.site import Site, make_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


def test_a_batch_shows_its_words_and_its_first_rows(site: Site) -> None:
    seen = glimpse(seal(site, events(1, 5))[1])
    assert (seen.rows, seen.unreadable, seen.words["device"]) == (5, "", "d1")
    assert [row["seq"] for row in seen.first] == ["1", "2", "3"]
    assert datetime.fromisoformat(seen.first[0]["ts"])
    assert (seen.columns["seq"], seen.columns["prediction"]) == ("int64", "string")
    assert seen.first[0]["release"] == ""


def written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (pa.array([2**62] * 5, pa.timestamp("us")), "(OverflowError)"),
        (pa.array([b"\xff\xfe"] * 5), "b'\\xff\\xfe'"),
        (pa.array(["x" * 9_000_000] * 5), "x" * 120 + "…"),
    ],
)
def test_odd_values_are_shown_as_text(column: pa.Array, shown: str) -> None:
    seen = glimpse(written(pa.table({"odd": column})))
    assert [row["odd"] for row in seen.first] == [shown] * ROWS


def test_a_value_that_a_dictionary_repeats_is_not_unpacked_for_every_row() -> None:
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 5_000_000]))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": one}), sink, store_schema=False)
    pool, usual = pa.system_memory_pool(), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        seen = glimpse(sink.getvalue().to_pybytes())
    finally:
        pa.set_memory_pool(usual)
    assert (seen.columns, len(seen.first)) == ({"a": "string"}, ROWS)
    assert 0 < pool.max_memory() < 200_000_000


def test_lists_are_not_unpacked() -> None:
    seen = glimpse(written(pa.table({"a": [[1, 2]]})))
    assert (seen.rows, seen.first, seen.columns) == (1, [], {"a": "list<element: int64>"})
    assert "it has lists" in seen.unreadable


@settings(deadline=None)
@given(content=st.binary(max_size=300))
def test_no_bytes_raise(content: bytes) -> None:
    for found in (content, b"PAR1" + content + b"PAR1"):
        assert glimpse(found).unreadable


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_nor_does_a_batch_with_any_bytes_changed(site: Site, changes: list[tuple[int, int]]) -> None:
    content = bytearray(seal(site, events(1, 40))[1])
    for place, value in changes:
        content[place % len(content)] = value
    assert len(glimpse(bytes(content)).first) <= ROWS
