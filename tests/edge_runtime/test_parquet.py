"""Files of a device's own writer, read by Arrow: what was put in, whatever that was."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.parquet import Column, write_parquet

KINDS = {
    "int64": (pa.int64(), st.integers(-(2**61), 2**61)),
    "time": (pa.timestamp("us", tz="UTC"), st.integers(-(2**61), 2**61)),
    "float32": (pa.float32(), st.floats(width=32, allow_nan=False)),
    "text": (pa.string(), st.text(max_size=20)),
}


@st.composite
def columns(draw: st.DrawFn) -> list[Column]:
    rows, found = draw(st.sampled_from([1, 7, 8, 33, 128, 129, 300])), []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=17))):
        nullable = draw(st.booleans())
        few = draw(st.lists(KINDS[kind][1] | st.none() if nullable else KINDS[kind][1], min_size=1, max_size=20))
        values = [few[i * i % len(few)] for i in range(rows)]  # drawn by itself, each value would be slow
        found.append(Column(f"c {number} é", kind, values, nullable))  # type: ignore[arg-type]
    return found


@given(columns(), st.dictionaries(st.text(max_size=5), st.text(max_size=200), min_size=1, max_size=16))
def test_a_file_is_read_as_it_was_written(columns: list[Column], metadata: dict[str, str]) -> None:
    file = pq.ParquetFile(pa.BufferReader(write_parquet(columns, metadata)))
    table = file.read()
    table.validate(full=True)
    fields = [pa.field(c.name, KINDS[c.kind][0], nullable=c.nullable) for c in columns]
    assert table.schema.remove_metadata() == pa.schema(fields)
    for column in columns:
        found = table[column.name]
        assert (found.cast(pa.int64()) if column.kind == "time" else found).to_pylist() == list(column.values)
    assert {k.decode(): v.decode() for k, v in file.metadata.metadata.items()} == metadata


def test_a_hundred_thousand_rows_are_read_as_they_were_written() -> None:
    values = [None if i % 7 == 3 else i * i % 1009 / 8 for i in range(100_000)]
    numbers = [i * 1_000_000 + i * i % 4099 for i in range(100_000)]
    content = write_parquet([Column("n", "int64", numbers, nullable=False), Column("x", "float32", values)], {"k": "v"})
    table = pq.read_table(pa.BufferReader(content))
    assert table["n"].to_pylist() == numbers
    assert table["x"].to_pylist() == values
    assert len(content) < 100_000 * 4
