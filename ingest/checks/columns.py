"""The columns of a file, which are as they should be or a reason to refuse it.

A column of numbers may be of any type of numbers, if that has a bound, and is cast; time is a timestamp, text is text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.errors import DataError
from ingest.derived.sketches import LONGEST

LONGEST_TEXT = 256
MOST_TEXT = 64 * 1024 * 1024
"""Bytes of a value, and of all values of a column."""


def decode_columns(content: bytes, expected: pa.Schema, text: Sequence[str], *, others: bool = False) -> pa.Table:
    """The rows of a file whose footer and pages have a bound, with exactly the columns of `expected` but in types of its own.

    Args:
        text: which of them are text or bytes.
        others: whether the file may have more columns, and in another order.

    Raises:
        DataError: its columns are not these.
        ArrowException: it cannot be read.
    """
    file = _open(content, expected.names, text)
    schema = file.schema_arrow
    _check_names(schema.names, expected.names, others)
    leaves = file.schema
    for field in expected:
        _check_type(leaves, schema.get_field_index(field.name), schema.field(field.name).type, field)
    table = file.read(expected.names if others else None, use_threads=False)
    if table.num_rows != file.metadata.num_rows:
        raise DataError(f"it has {table.num_rows} rows and says that it has {file.metadata.num_rows}.")
    _demand_short_text(table, text)
    return table.select(expected.names) if others else table


def cast_columns(tables: Sequence[pa.Table], expected: pa.Schema) -> pa.Table:
    """The rows of all `tables` one after the other, with the types of `expected`; a step takes longer to call than to do.

    Raises:
        DataError: there are empty values where none may be.
        ArrowException: there are values that the types of `expected` do not have.
    """
    parts = (part.columns for table in tables for part in table.to_batches())
    columns = [_cast(column, field.type) for column, field in zip(zip(*parts, strict=True), expected, strict=True)]
    for column, field in zip(columns, expected, strict=True):
        if not field.nullable and column.null_count:
            raise DataError(f"its column {field.name} has empty values.")
    found = pa.Table.from_arrays(columns, schema=expected)
    found.validate(full=True)  # text is UTF-8
    return found


def _cast(parts: Sequence[pa.Array], wanted: pa.DataType) -> pa.Array:
    """The values of all parts, which can be of several types: a device writes each batch in the types that make it smallest."""
    alike: dict[Any, list[int]] = {}
    for place, part in enumerate(parts):
        kind = part.type
        alike.setdefault(kind.id if kind.id in _SIMPLE else str(kind), []).append(place)
    found = list(parts)
    for places in alike.values():
        whole = _cast_alike(pa.concat_arrays([parts[place] for place in places]), wanted)
        if len(alike) == 1:
            return whole
        start = 0
        for place in places:
            found[place] = whole.slice(start, len(parts[place]))
            start += len(parts[place])
    return pa.concat_arrays(found)


_SIMPLE = frozenset(kind.id for kind in (pa.float32(), pa.int32(), pa.int64()))
"""Types that have nothing but their name to tell them apart."""


def _cast_alike(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    # A device writes 18.1 as 181 tenths. From there straight to float32 is by arithmetic of that width, whose last digit is another one.
    if pa.types.is_decimal(values.type) and pa.types.is_float32(wanted):
        values = values.cast(pa.float64())
    return values.cast(wanted)


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
    if list(found) == list(expected):
        return
    missing, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    if others:
        more = Counter({name: times for name, times in more.items() if name in expected})
    if wrong := [f"{name} is missing" for name in _say(missing)] + [f"{name} is one too many" for name in _say(more)]:
        raise DataError(f"its columns are not those that it should have: {', '.join(wrong)}.")
    if not others:
        raise DataError(f"its columns are in another order than {', '.join(expected)[:400]}.")


def _say(names: Counter[str]) -> list[str]:
    return [name[:80] if name.isidentifier() else repr(name[:80]) for name in sorted(names)[:8]]


def _check_type(leaves: pq.ParquetSchema, place: int, found: pa.DataType, wanted: pa.Field) -> None:
    if found.id not in _FITTING[wanted.type.id]:
        raise DataError(f"its column {wanted.name} is {str(found)[:80]}, expected {wanted.type}.")
    # Bytes of any length are once in a dictionary, and Arrow makes a number of them for each row.
    if found.id in _DECIMALS and _stored(leaves, place, wanted.name) == "BYTE_ARRAY":
        raise DataError(f"its column {wanted.name} has numbers of any length.", remedy="Write them in a fixed one.")


def _stored(leaves: pq.ParquetSchema, place: int, name: str) -> str:
    if (leaf := leaves.column(place)).path != name:  # there are columns in others before it
        leaf = next(leaf for leaf in map(leaves.column, range(len(leaves))) if leaf.path == name)
    return str(leaf.physical_type)


def _ids(*kinds: pa.DataType) -> frozenset[int]:
    return frozenset(kind.id for kind in kinds)


_INTEGERS = _ids(*(pa.int8(), pa.int16(), pa.int32(), pa.int64()), *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()))
_DECIMALS = _ids(pa.decimal32(1), pa.decimal64(1), pa.decimal128(1), pa.decimal256(1))
_TEXT = _ids(pa.dictionary(pa.int32(), pa.string()))
_FITTING = {
    pa.timestamp("us").id: _ids(pa.timestamp("us")),
    pa.int64().id: _INTEGERS,
    pa.float32().id: _INTEGERS | _DECIMALS | _ids(pa.float16(), pa.float32(), pa.float64()),
    pa.string().id: _TEXT,
    pa.binary().id: _TEXT,
}
"""What a column of a file may be to stand for one of ours. As a dictionary text is opened, and numbers are not."""


def _demand_short_text(table: pa.Table, names: Sequence[str]) -> None:
    # One long value in a dictionary is small in the file and in memory, and huge once every row has a copy of its own.
    for name in names:
        limit, unpacked = LONGEST if name == "sketch" else LONGEST_TEXT, 0
        for chunk in table[name].chunks:
            words = chunk.dictionary
            if words.nbytes <= limit and words.nbytes * table.num_rows <= MOST_TEXT:
                continue
            lengths = pc.binary_length(words)
            if (longest := pc.max(lengths).as_py() or 0) > limit:
                raise DataError(f"its column {name} has a value of {longest} bytes, at most {limit} are taken.")
            unpacked += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
        if unpacked > MOST_TEXT:
            raise DataError(f"its column {name} unpacks to {unpacked} bytes, at most {MOST_TEXT} are taken.")
