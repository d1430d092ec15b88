"""A Parquet file of one row group with one page of values a column, and nothing in it that can be done without.

A batch is small. What a general writer adds (statistics, indexes of pages, who it is) is as much as a quarter of one, and the writer
itself half of a device's memory (docs/decisions/0006). A column is tried in every form there is for it, and the smallest is kept.

Source: https://github.com/apache/parquet-format, `parquet.thrift` for the headers, `Encodings.md` for the values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, Literal, NamedTuple

import brotli
import numpy as np
from numpy.typing import NDArray

from edge_runtime.decimals import decimals
from edge_runtime.thrift import TRUE, Value, i32, i64, record, several, string, varint, zigzag

MAGIC = b"PAR1"
PLAIN, RLE, DELTA, DICTIONARY, SPLIT = 0, 3, 5, 8, 9
INT32, INT64, FLOAT, BYTE_ARRAY = 1, 2, 4, 6
PLAINLY, BROTLI = 0, 4
TEXT = {6: i32(0)}
TIME = {10: record({8: record({1: TRUE, 2: record({2: record({})})})})}
"""In UTC, in microseconds."""
DECIMAL, DIGITS = 5, 9
"""As many digits as 32 bits have room for."""
BLOCK = 1024
"""Differences of one width."""
HEADER = 18
"""About as many bytes as that of a page has."""
WORDS = 256
"""Different ones that a byte can tell apart."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: whole numbers, times (µs since 1970 UTC), float32, text or bytes; None for no value."""

    name: str
    kind: Literal["int64", "time", "float32", "text", "bytes"]
    values: Sequence[Any]


class _Form(NamedTuple):
    """Values as they could be written: their type, what is said of it in the schema, the encoding, and what is in their page.

    If that is only places in a dictionary, there is a page of the `words` of it before.
    """

    type: int
    meaning: dict[int, Value]
    encoding: int
    page: bytes
    words: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A column as it stands in the file, packed by `codec`: its pages with their headers, and how long they are unpacked."""

    column: Column
    form: _Form
    codec: int
    pages: Sequence[bytes]
    unpacked: int

    def __len__(self) -> int:
        return sum(map(len, self.pages))


def write_parquet(columns: Sequence[Column], metadata: Mapping[str, str]) -> bytes:
    """The file of `columns`, which have one value a row each and at least one row; `metadata` is its key-value metadata."""
    chunks = [_chunk(column) for column in columns]
    footer = _footer(chunks, metadata)
    pages = (page for chunk in chunks for page in chunk.pages)
    return b"".join([MAGIC, *pages, footer, struct.pack("<I", len(footer)), MAGIC])


def _chunk(column: Column) -> _Chunk:
    """The column in the form that comes out smallest."""
    levels = _levels(column.values)
    found = list[tuple[int, list[bytes], list[bytes], _Form]]()
    for form in _forms(column.kind, [value for value in column.values if value is not None]):
        pages = [_plain(form.words), levels + form.page] if form.words else [levels + form.page]
        found += [(PLAINLY, pages, pages, form), (BROTLI, list(map(_compress, pages)), pages, form)]
    codec, packed, pages, form = min(found, key=lambda one: sum(len(page) + HEADER for page in one[1]))
    headers = list(_headers(form, len(column.values), pages, packed))
    whole = [header + page for header, page in zip(headers, packed, strict=True)]
    return _Chunk(column, form, codec, whole, sum(map(len, headers)) + sum(map(len, pages)))


def _headers(form: _Form, rows: int, pages: Sequence[bytes], packed: Sequence[bytes]) -> Iterator[bytes]:
    words = i32(2), {7: record({1: i32(len(form.words)), 2: i32(PLAIN)})}
    values = i32(0), {5: record({1: i32(rows), 2: i32(form.encoding), 3: i32(RLE), 4: i32(RLE)})}
    for (kind, more), page, short in zip([words, values] if form.words else [values], pages, packed, strict=True):
        yield record({1: kind, 2: i32(len(page)), 3: i32(len(short)), **more})[1]


def _compress(page: bytes) -> bytes:
    # The best level would take 1 to 5 % off a batch, and up to eighty times as long: a device that is fed without a pause would
    # then only seal, and never come to ask for a release.
    window = 16 if len(page) <= 1 << 16 else 22  # the smaller is said in fewer bits
    packed: bytes = brotli.compress(page, quality=5, lgwin=window)
    return packed


def _forms(kind: str, values: Sequence[Any]) -> Iterator[_Form]:
    if kind == "float32":
        yield from _reals(np.array(values, np.float32))
    elif kind == "text":
        yield from _texts(values)
    elif kind == "bytes":
        yield _Form(BYTE_ARRAY, {}, PLAIN, _plain(values))
    else:
        yield _Form(INT64, TIME if kind == "time" else {}, DELTA, deltas(np.array(values, np.int64)))


def _texts(values: Sequence[str]) -> Iterator[_Form]:
    words = {value: value.encode() for value in dict.fromkeys(values)}
    yield _Form(BYTE_ARRAY, TEXT, PLAIN, _plain(words[value] for value in values))
    if 0 < len(words) <= WORDS:
        places = {value: place for place, value in enumerate(words)}
        groups = -(-len(values) // 8)
        found = bytes(places[value] for value in values).ljust(8 * groups, b"\0")
        yield _Form(BYTE_ARRAY, TEXT, DICTIONARY, b"\10" + varint(groups << 1 | 1) + found, list(words.values()))


def _plain(values: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def _reals(values: NDArray[np.float32]) -> Iterator[_Form]:
    plain = values.astype("<f4")
    yield _Form(FLOAT, {}, PLAIN, plain.tobytes())
    yield _Form(FLOAT, {}, SPLIT, _split(plain))
    if found := decimals(values):
        scale, numbers = found
        meaning = {6: i32(DECIMAL), 7: i32(scale), 8: i32(DIGITS)} if scale else {}
        yield _Form(INT32, meaning, SPLIT, _split(numbers.astype("<i4")))
        yield _Form(INT32, meaning, DELTA, deltas(numbers))


def _split(values: NDArray[Any]) -> bytes:
    """The first byte of every value, then the second, and so on: BYTE_STREAM_SPLIT."""
    return values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes()


def deltas(values: NDArray[np.int64]) -> bytes:
    """Whole numbers by their differences: DELTA_BINARY_PACKED.

    In whole bytes, not in as few bits as would do: that is longer here, and shorter once Brotli has packed it.
    """
    steps = np.diff(values)
    found = [varint(BLOCK), varint(1), varint(len(values)), zigzag(int(values[0]) if len(values) else 0)]
    for start in range(0, len(steps), BLOCK):
        own = steps[start : start + BLOCK]
        rest = (own - own.min()).astype("<i8")  # a difference of over 63 bits wraps, and back when it is added
        width = -(-int(rest.view("<u8").max()).bit_length() // 8)
        content = rest.view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
        found += [zigzag(int(own.min())), bytes([8 * width]), content.ljust(BLOCK * width, b"\0")]
    return b"".join(found)


def _levels(values: Sequence[Any]) -> bytes:
    """Which values are there, in runs; nothing if all are."""
    if None not in values:
        return b""
    found = groupby(value is not None for value in values)
    runs = b"".join(varint(len(list(run)) << 1) + bytes([there]) for there, run in found)
    return struct.pack("<I", len(runs)) + runs


def _footer(chunks: Sequence[_Chunk], metadata: Mapping[str, str]) -> bytes:
    rows = i64(len(chunks[0].column.values))
    root = record({4: string("batch"), 5: i32(len(chunks))})
    starts = accumulate(map(len, chunks), initial=len(MAGIC))
    places = several([_place(chunk, start) for chunk, start in zip(chunks, starts, strict=False)])
    group = record({1: places, 2: i64(sum(chunk.unpacked for chunk in chunks)), 3: rows})
    _, footer = record(
        {
            1: i32(1),
            2: several([root, *(_element(chunk) for chunk in chunks)]),
            3: rows,
            4: several([group]),
            5: several([record({1: string(key), 2: string(value)}) for key, value in metadata.items()]),
        }
    )
    return footer


def _element(chunk: _Chunk) -> Value:
    """The column in the schema."""
    return record(
        {
            1: i32(chunk.form.type),
            3: i32(None in chunk.column.values),
            4: string(chunk.column.name),
            **chunk.form.meaning,
        }
    )


def _place(chunk: _Chunk, start: int) -> Value:
    """Where the column is in the file."""
    encodings = [PLAIN, DICTIONARY] if chunk.form.words else [chunk.form.encoding]
    place = {
        1: i32(chunk.form.type),
        2: several([i32(encoding) for encoding in encodings]),
        3: several([string(chunk.column.name)]),
        4: i32(chunk.codec),
        5: i64(len(chunk.column.values)),
        6: i64(chunk.unpacked),
        7: i64(len(chunk)),
        9: i64(start + len(chunk) - len(chunk.pages[-1])),
    }
    if chunk.form.words:
        place[11] = i64(start)
    return record({2: i64(0), 3: record(place)})
