"""A file is held to what its pages say, whatever its footer does."""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import DataError
from ingest.checks.footer import read_footer
from ingest.checks.pages import PAGE
from ingest.checks.pages import demand_bounded as demand_pages_bounded
from ingest.checks.thrift import kinds_of, read_struct
from tests.ingest.batches import lying, varint


def written(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def demand_bounded(content: bytes, most_rows: int, most_bytes: int) -> None:
    demand_pages_bounded(content, read_footer(content).groups, most_rows, most_bytes)


def footer(content: bytes) -> pq.FileMetaData:
    return pq.ParquetFile(pa.BufferReader(content)).metadata


ROW = st.fixed_dictionaries({"a": st.integers(-9, 9) | st.none(), "b": st.text(max_size=9), "c": st.booleans()})
SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.bool_())])


@given(
    st.lists(ROW, min_size=1),
    st.sampled_from(["none", "snappy", "zstd", "brotli", "gzip"]),
    st.sampled_from(["1.0", "2.0"]),
    st.booleans(),
    st.integers(1, 100),
)
def test_an_honest_file_has_as_many_values_as_rows_and_unpacks_to_what_it_says(
    rows: list[dict[str, object]], compression: str, version: str, dictionary: bool, group: int
) -> None:
    content = written(
        pa.Table.from_pylist(rows, SCHEMA),
        compression=compression,
        data_page_version=version,
        use_dictionary=dictionary,
        row_group_size=group,
        data_page_size=16,
    )
    found = footer(content)
    groups = [found.row_group(i) for i in range(found.num_row_groups)]
    room = sum(g.total_byte_size for g in groups) + PAGE * len(content)
    demand_bounded(content, len(rows), room)
    with pytest.raises(DataError, match="more than the"):
        demand_bounded(content, len(rows) - 1, room)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_no_bytes_crash_it(junk: bytes, at: int) -> None:
    content = written(pa.table({"a": list(range(100)), "b": ["x"] * 100}))
    with suppress(DataError, LookupError, TypeError, RecursionError):
        demand_bounded(content[:at] + junk + content[at + len(junk) :], 1000, 100_000)


def test_a_footer_that_lies_is_not_believed() -> None:
    content = written(pa.table({"a": ["x" * 1_000_000] * 5}), use_dictionary=False)
    liar = lying(content, footer(content).row_group(0).total_byte_size)
    assert footer(liar).row_group(0).total_byte_size == 100
    with pytest.raises(DataError, match="1000000 bytes"):
        demand_bounded(liar, 100, 1_000_000)


def test_the_rows_of_all_row_groups_count() -> None:
    content = lying(written(pa.table({"a": pa.nulls(300_000, pa.float32())}), row_group_size=100_000), 300_000, 1)
    assert footer(content).num_rows == 100
    with pytest.raises(DataError, match="100 rows, and its row groups have 300000"):
        demand_bounded(content, 100_000, 1_000_000)


def test_a_column_has_the_values_that_its_pages_have() -> None:
    content = written(pa.table({"a": pa.array(range(500), pa.int64())}), use_dictionary=False)
    after = b"\x16" + varint(footer(content).row_group(0).column(0).total_uncompressed_size)
    liar = content.replace(varint(500) + after, varint(100, 2) + after)
    with pytest.raises(DataError, match="500 values, and says that it has 100"):
        demand_bounded(liar, 1000, 100_000)


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        (b"\x15\2" + b"\5" + varint(1) + b"\4", {}),  # field 1, and 1 again
        (b"\x15\2" + b"\5" + varint((1 << 16) + 1) + b"\4", {}),  # whose number Arrow cuts to 16 bits
        (b"\x15\2" + b"\5" + varint((1 << 15) - 1) + b"\4\x35\2", {}),  # or adds up to one under 0
        (b"\x15" + varint(1 << 32), {}),  # what Arrow cuts to 32 bits
        (b"\x15\2", {(1,): 6}),  # one of 32 bits, which Arrow reads over where it expects 64
        (b"\x19\x1c\0", {(1,): 6}),  # a list of structures where Arrow reads one of numbers
    ],
)
def test_what_arrow_would_take_for_something_else_is_refused(fields: bytes, kinds: dict[tuple[int, ...], int]) -> None:
    with pytest.raises(DataError):
        read_struct(fields + b"\0", 0, kinds_of(kinds))


def test_what_is_of_the_kind_that_it_must_be_is_read() -> None:
    assert read_struct(b"\x16\2\x19\x25\2\4\0", 0, kinds_of({(1,): 6, (2,): 5})) == ({1: 1, 2: [1, 2]}, 7)


def test_of_a_footer_arrow_reads_what_is_read_here() -> None:
    """Arrow believes that a list is of what it should be: as structures, these two numbers would be other ones."""
    content = written(pa.table({"a": [1.0] * 9}), use_dictionary=False).replace(b"\x19\x25\6\0", b"\x19\x2c\6\0")
    assert pq.read_table(pa.BufferReader(content)).num_rows == 9
    with pytest.raises(DataError, match="of kind 12"):
        demand_bounded(content, 9, 10_000)


def test_texts_by_their_difference_are_refused() -> None:
    content = written(
        pa.table({"a": ["x" * 100] * 50}), use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"}
    )
    with pytest.raises(DataError, match="plain encoding"):
        demand_bounded(content, 100, 10_000)


def test_numbers_are_written_as_thrift_does() -> None:
    assert [varint(n) for n in (0, 1, 63, 64, 100_000)] == [b"\0", b"\2", b"\x7e", b"\x80\1", b"\xc0\x9a\x0c"]
    assert varint(1, 3) == b"\x82\x80\0"
