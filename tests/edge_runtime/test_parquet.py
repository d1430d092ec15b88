"""Files of a device's own writer, read by Arrow: what was put in, whatever that was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.parquet import BLOCK, WORDS, Column, write_parquet

KINDS = {
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "time": (pa.timestamp("us", tz="UTC"), st.integers(-(2**61), 2**61)),
    "float32": (pa.float32(), st.floats(width=32) | st.integers(-9999, 9999).map(lambda n: float(np.float32(n / 10)))),
    "text": (pa.string(), st.text(max_size=20)),
    "bytes": (pa.binary(), st.binary(max_size=20)),
}


@st.composite
def columns(draw: st.DrawFn) -> list[Column]:
    rows, found = draw(st.sampled_from([1, 7, 8, 33, 300, BLOCK + 1, BLOCK + 2])), []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=17))):
        values = KINDS[kind][1] | st.none() if draw(st.booleans()) else KINDS[kind][1]
        few = draw(st.lists(values, min_size=1, max_size=20))
        values = [few[i * i % len(few)] for i in range(rows)]  # drawn by itself, each value would be slow
        found.append(Column(f"c {number} é", kind, values))  # type: ignore[arg-type]
    return found


def read(column: pa.ChunkedArray, kind: str) -> list[Any]:
    """The values of a column; of numbers the bits."""
    if kind == "float32":
        wide = column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column
        return bits(wide.cast(pa.float32()).to_pylist())
    return (column.cast(pa.int64()) if kind == "time" else column).to_pylist()  # type: ignore[no-any-return]


def bits(values: list[float | None]) -> list[bytes | None]:
    return [None if value is None else np.float32(value).tobytes() for value in values]


@given(columns(), st.dictionaries(st.text(max_size=5), st.text(max_size=200), min_size=1, max_size=16))
def test_a_file_is_read_as_it_was_written(columns: list[Column], metadata: dict[str, str]) -> None:
    file = pq.ParquetFile(pa.BufferReader(write_parquet(columns, metadata)))
    table = file.read()
    table.validate(full=True)
    for column, field in zip(columns, table.schema, strict=True):
        assert (field.name, field.nullable) == (column.name, None in column.values)
        assert field.type == KINDS[column.kind][0] or column.kind == "float32"
        found = read(table[column.name], column.kind)
        assert found == (bits(column.values) if column.kind == "float32" else list(column.values))  # type: ignore[arg-type]
    assert {k.decode(): v.decode() for k, v in file.metadata.metadata.items()} == metadata


def test_numbers_are_of_the_type_that_packs_them_best() -> None:
    tenths = [float(np.float32(181 / 10 + i * i % 7 / 10)) for i in range(300)]
    kinds = {"whole": [float(i * i % 50) for i in range(300)], "tenths": tenths, "fine": [i / 3 for i in range(1, 301)]}
    table = pq.read_table(
        pa.BufferReader(write_parquet([Column(n, "float32", v) for n, v in kinds.items()], {"k": "v"}))
    )
    assert table.schema.types == [pa.int32(), pa.decimal128(9, 1), pa.float32()]


def test_words_that_come_again_are_there_once() -> None:
    few, many = ([f"{i * i % count:064}" for i in range(3000)] for count in (WORDS, 3000))
    for words in (few, many):
        content = write_parquet([Column("w", "text", words)], {"k": "v"})
        assert pq.read_table(pa.BufferReader(content))["w"].to_pylist() == words
    encodings = pq.read_metadata(pa.BufferReader(write_parquet([Column("w", "text", few)], {"k": "v"})))
    assert "RLE_DICTIONARY" in encodings.row_group(0).column(0).encodings


def test_a_hundred_thousand_rows_are_read_as_they_were_written() -> None:
    values = [None if i % 7 == 3 else i * i % 1009 / 8 for i in range(100_000)]
    numbers = [i * 1_000_000 + i * i % 4099 for i in range(100_000)]
    content = write_parquet([Column("n", "int64", numbers), Column("x", "float32", values)], {"k": "v"})
    table = pq.read_table(pa.BufferReader(content))
    assert table["n"].to_pylist() == numbers
    assert table["x"].cast(pa.float64()).to_pylist() == values
    assert len(content) < 100_000 * 4
