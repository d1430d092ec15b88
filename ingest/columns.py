"""The columns of a file, which are as they should be or a reason to refuse it.

A column of numbers may be of any type of numbers, if that has a bound, and is cast; time is a timestamp, text is text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.errors import DataError
from ingest.sketches import LONGEST

LONGEST_TEXT = 256


def read_columns(content: bytes, expected: pa.Schema, text: Sequence[str], *, others: bool = False) -> pa.Table:
    """The rows of a file whose footer and pages have a bound, with exactly the columns of `expected`.

    Args:
        text: which of them are text or bytes.
        others: whether the file may have more columns, and in another order.

    Raises:
        DataError: its columns are not these.
        ArrowException: it cannot be read.
    """
    file = _open(content, expected.names, text)
    _check_names(file.schema_arrow.names, expected.names, others)
    for field in expected:
        _check_type(file, field)
    table = file.read(columns=expected.names)
    if table.num_rows != file.metadata.num_rows:
        raise DataError(f"it has {table.num_rows} rows and says that it has {file.metadata.num_rows}.")
    _demand_short_text(table, text)
    return _cast(table.select(expected.names), expected)


def _open(content: bytes, names: Sequence[str], text: Sequence[str]) -> pq.ParquetFile:
    """The file, whose columns `text` stay dictionaries when they are read."""
    try:
        return pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(text))
    except KeyError as error:
        there = pq.ParquetFile(pa.BufferReader(content)).schema_arrow.names
        _check_names(there, names, others=True)
        name = error.args[0].decode(errors="replace")
        raise DataError(f"its column {name} has columns in it, and is no text.") from error


def _check_names(found: Sequence[str], expected: Sequence[str], others: bool) -> None:
    missing, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    if others:
        more = Counter({name: times for name, times in more.items() if name in expected})
    if wrong := [f"{name} is missing" for name in _say(missing)] + [f"{name} is one too many" for name in _say(more)]:
        raise DataError(f"its columns are not those that it should have: {', '.join(wrong)}.")
    if not others and list(found) != list(expected):
        raise DataError(f"its columns are in another order than {', '.join(expected)[:400]}.")


def _say(names: Counter[str]) -> list[str]:
    return [name[:80] if name.isidentifier() else repr(name[:80]) for name in sorted(names)[:8]]


def _check_type(file: pq.ParquetFile, wanted: pa.Field) -> None:
    place = file.schema_arrow.get_field_index(wanted.name)
    found = file.schema_arrow.field(place).type
    if not _fits(found, wanted.type):
        raise DataError(f"its column {wanted.name} is {str(found)[:80]}, expected {wanted.type}.")
    # Bytes of any length are once in a dictionary, and Arrow makes a number of them for each row.
    if pa.types.is_decimal(found) and _stored(file, wanted.name) == "BYTE_ARRAY":
        raise DataError(f"its column {wanted.name} has numbers of any length.", remedy="Write them in a fixed one.")


def _stored(file: pq.ParquetFile, name: str) -> str:
    leaves = (file.schema.column(i) for i in range(len(file.schema.names)))
    return next(str(leaf.physical_type) for leaf in leaves if leaf.path == name)


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column of a file may stand for one of ours."""
    kinds = pa.types
    if kinds.is_timestamp(wanted):
        return bool(kinds.is_timestamp(found))
    if kinds.is_integer(wanted):
        return bool(kinds.is_integer(found))
    if kinds.is_floating(wanted):
        return bool(kinds.is_integer(found) or kinds.is_floating(found) or kinds.is_decimal(found))
    return bool(kinds.is_dictionary(found))  # as which text is opened, and numbers are not


def _demand_short_text(table: pa.Table, names: Sequence[str]) -> None:
    # One long value in a dictionary is small in the file and in memory, and huge once every row has a copy of its own.
    for name in names:
        for chunk in table[name].chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            limit = LONGEST if name == "sketch" else LONGEST_TEXT
            if longest > limit:
                raise DataError(f"its column {name} has a value of {longest} bytes, at most {limit} are taken.")


def _cast(table: pa.Table, expected: pa.Schema) -> pa.Table:
    for field in expected:
        if not field.nullable and table[field.name].null_count:
            raise DataError(f"its column {field.name} has empty values.")
    found = _through_float64(table, expected).cast(expected)
    found.validate(full=True)  # text is UTF-8
    return found


def _through_float64(table: pa.Table, expected: pa.Schema) -> pa.Table:
    # A device writes 18.1 as 181 tenths. From there straight to float32 is by arithmetic of that width, whose last digit is another one.
    fields = [
        field.with_type(pa.float64()) if pa.types.is_decimal(field.type) and pa.types.is_float32(wanted.type) else field
        for field, wanted in zip(table.schema, expected, strict=True)
    ]
    return table.cast(pa.schema(fields))
