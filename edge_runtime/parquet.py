"""A Parquet file of one row group with one page a column, and nothing in it that can be done without.

A batch is small. What a general writer adds (statistics, indexes of pages, dictionaries, who it is) is as much as a quarter of one,
and the writer itself half of a device's memory (docs/decisions/0006).

Source: https://github.com/apache/parquet-format, `parquet.thrift` for the headers, `Encodings.md` for the values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import brotli

from edge_runtime.thrift import TRUE, Value, i32, i64, record, several, string, varint, zigzag

MAGIC = b"PAR1"
PLAIN, RLE, DELTA, SPLIT = 0, 3, 5, 9
INT64, FLOAT, BYTE_ARRAY = 2, 4, 6
BROTLI = 4
BLOCK, MINIBLOCK = 128, 32
"""Values of a block of deltas, and of each of its parts with a width of bits of its own."""

TYPES = {"int64": INT64, "time": INT64, "float32": FLOAT, "text": BYTE_ARRAY, "bytes": BYTE_ARRAY}
LOGICAL: dict[str, dict[int, Value]] = {
    "time": {10: record({8: record({1: TRUE, 2: record({2: record({})})})})},  # in UTC, in microseconds
    "text": {6: i32(0), 10: record({1: record({})})},
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: whole numbers, times (µs since 1970 UTC), float32, text or bytes; if `nullable`, None for no value."""

    name: str
    kind: Literal["int64", "time", "float32", "text", "bytes"]
    values: Sequence[Any]
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A column as it stands in the file, from `offset` on: its page with the header of that, and how long that is unpacked."""

    column: Column
    encoding: int
    offset: int
    content: bytes
    unpacked: int


def write_parquet(columns: Sequence[Column], metadata: Mapping[str, str]) -> bytes:
    """The file of `columns`, which have one value a row each and at least one row; `metadata` is its key-value metadata."""
    chunks, offset = [], len(MAGIC)
    for column in columns:
        chunks.append(_chunk(column, offset))
        offset += len(chunks[-1].content)
    footer = _footer(chunks, metadata)
    return b"".join([MAGIC, *(chunk.content for chunk in chunks), footer, struct.pack("<I", len(footer)), MAGIC])


def _chunk(column: Column, offset: int) -> _Chunk:
    """The column in the encoding that comes out smallest."""
    present = [value for value in column.values if value is not None]
    levels = _levels(column.values) if column.nullable else b""
    pages = [(encoding, levels + values) for encoding, values in _encodings(column.kind, present)]
    encoding, unpacked, packed = min(
        ((encoding, page, _compress(page)) for encoding, page in pages), key=lambda found: len(found[2])
    )
    of_data = record({1: i32(len(column.values)), 2: i32(encoding), 3: i32(RLE), 4: i32(RLE)})
    _, header = record({1: i32(0), 2: i32(len(unpacked)), 3: i32(len(packed)), 5: of_data})
    return _Chunk(column, encoding, offset, header + packed, len(header) + len(unpacked))


def _compress(page: bytes) -> bytes:
    # The best level would take 4 % off a batch, and twenty times as long: a device that is fed without a pause would then only seal, and
    # never come to ask for a release.
    packed: bytes = brotli.compress(page, quality=5)
    return packed


def _encodings(kind: str, values: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
    if kind == "float32":
        plain = struct.pack(f"<{len(values)}f", *values)
        yield PLAIN, plain
        yield SPLIT, b"".join(plain[i::4] for i in range(4))
    elif TYPES[kind] == BYTE_ARRAY:
        found = map(str.encode, values) if kind == "text" else values
        yield PLAIN, b"".join(struct.pack("<I", len(value)) + value for value in found)
    else:
        yield DELTA, deltas(values)


def deltas(values: Sequence[int]) -> bytes:
    """Whole numbers by their differences: DELTA_BINARY_PACKED. For numbers whose differences fit in 63 bits."""
    steps = [after - before for before, after in pairwise(values)]
    found = [varint(BLOCK), varint(BLOCK // MINIBLOCK), varint(len(values)), zigzag(values[0] if values else 0)]
    for start in range(0, len(steps), BLOCK):
        block = steps[start : start + BLOCK]
        least = min(block)
        parts = [[step - least for step in block[i : i + MINIBLOCK]] for i in range(0, BLOCK, MINIBLOCK)]
        widths = [max(part, default=0).bit_length() for part in parts]
        found += [
            zigzag(least),
            bytes(widths),
            *(_bits(part, width) for part, width in zip(parts, widths, strict=True)),
        ]
    return b"".join(found)


def _bits(numbers: Sequence[int], width: int) -> bytes:
    """A part of a block, the lowest bits first; what is not there is 0."""
    packed = sum(number << i * width for i, number in enumerate(numbers))
    return packed.to_bytes(MINIBLOCK * width // 8, "little") if numbers else b""


def _levels(values: Sequence[Any]) -> bytes:
    """Which values are there: one run if all are, else a bit for each."""
    if None not in values:
        runs = varint(len(values) << 1) + b"\1"
    else:
        groups = -(-len(values) // 8)
        bits = int("".join("0" if value is None else "1" for value in reversed(values)), 2)
        runs = varint(groups << 1 | 1) + bits.to_bytes(groups, "little")
    return struct.pack("<I", len(runs)) + runs


def _footer(chunks: Sequence[_Chunk], metadata: Mapping[str, str]) -> bytes:
    rows = i64(len(chunks[0].column.values))
    root = record({4: string("batch"), 5: i32(len(chunks))})
    group = record({1: several([_place(chunk) for chunk in chunks]), 2: i64(sum(c.unpacked for c in chunks)), 3: rows})
    _, footer = record(
        {
            1: i32(1),
            2: several([root, *(_element(chunk.column) for chunk in chunks)]),
            3: rows,
            4: several([group]),
            5: several([record({1: string(key), 2: string(value)}) for key, value in metadata.items()]),
        }
    )
    return footer


def _element(column: Column) -> Value:
    """The column in the schema."""
    fields = {1: i32(TYPES[column.kind]), 3: i32(column.nullable), 4: string(column.name)}
    return record({**fields, **LOGICAL.get(column.kind, {})})


def _place(chunk: _Chunk) -> Value:
    """Where the column is in the file."""
    place = {
        1: i32(TYPES[chunk.column.kind]),
        2: several([i32(chunk.encoding), i32(RLE)]),
        3: several([string(chunk.column.name)]),
        4: i32(BROTLI),
        5: i64(len(chunk.column.values)),
        6: i64(chunk.unpacked),
        7: i64(len(chunk.content)),
        9: i64(chunk.offset),
    }
    return record({2: i64(0), 3: record(place)})
