"""Footers and page headers as devices write them, read by patterns: of each batch they are a thousand numbers.

A pattern is a struct field by field, as Thrift's compact protocol has it, so that what matches one could not be read in another way. What
matches none is read by the rules (`ingest/checks/thrift.py`), which give the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_VARINT = rb"[\x80-\xff]{0,3}[\x00-\x7f]"
_INT, _INT_2, _LONG, _LONG_2 = (kind + _VARINT for kind in (rb"\x15", rb"\x25", rb"\x16", rb"\x26"))
"""A whole number of 32 or of 64 bits, in the field after the one before or in that after it. To tell one, it is put in brackets."""


def _told(field: bytes) -> bytes:
    return field[:4] + b"(" + field[4:] + b")"


_TIME = rb"\x6c\x8c\x11\x1c\x2c\x00\x00\x00\x00"
_MEANING = rb"(?:(?:" + _INT_2 + rb"(?:" + _INT * 2 + rb")?)|" + _TIME + rb")?"
"""Of a column: none, that it is text, that it is a decimal; or that it is a time."""
_ENCODINGS = rb"\x19(?:\x15" + _VARINT + rb"|\x25" + _VARINT * 2 + rb")"
_PAGE = re.compile(
    _told(_INT) * 3 + rb"(?:\x2c" + _told(_INT) * 2 + _INT * 2 + rb"|\x4c" + _told(_INT) + _INT + rb")\x00\x00",
    re.DOTALL,
)
_COLUMN = 4
"""Numbers that are told of a column."""


def page_header(content: bytes, at: int) -> tuple[dict[int, Any], int] | None:
    """The page header at `at`, as `thrift.read_struct` gives it but for what nobody uses; None if it is not as usual."""
    if (found := _PAGE.match(content, at)) is None:
        return None
    kind, unpacked, packed, values, encoding, words = found.groups()
    page: dict[int, Any] = {1: _number(kind), 2: _number(unpacked), 3: _number(packed)}
    if values is not None:
        page[5] = {1: _number(values), 2: _number(encoding)}
    else:
        page[7] = {1: _number(words)}
    return page, found.end()


def row_group(content: bytes, at: int, names: Sequence[str]) -> tuple[int, dict[int, Any], int] | None:
    """Of a footer that begins at `at`, with these columns in one row group: rows, the row group as `thrift.read_struct` gives it, of each
    column without what nobody uses, and where it ends; None if it is not as usual."""
    if (found := _footer(tuple(names)).match(content, at)) is None:
        return None
    rows, *places, unpacked, own = found.groups()
    columns = [
        {3: dict(zip((5, 7, 9, 11), map(_number, filter(None, places[i : i + _COLUMN])), strict=False))}
        for i in range(0, len(places), _COLUMN)
    ]
    return _number(rows), {1: columns, 2: _number(unpacked), 3: _number(own)}, found.end()


@lru_cache(maxsize=8)
def _footer(names: tuple[str, ...]) -> re.Pattern[bytes]:
    encoded = [_text(name) for name in names]
    root = rb"\x48\x05batch\x15" + re.escape(_varint(2 * len(names))) + rb"\x00"
    elements = (_INT + _INT_2 + rb"\x18" + name + _MEANING + rb"\x00" for name in encoded)
    schema = rb"\x19" + _structs(len(names) + 1) + root + b"".join(elements)
    group = rb"\x19" + _structs(len(names)) + b"".join(map(_place, encoded)) + _told(_LONG) * 2 + rb"\x00"
    return re.compile(_INT + schema + _told(_LONG) + rb"\x19\x1c" + group, re.DOTALL)


def _place(name: bytes) -> bytes:
    """A column in a row group: where it begins, which nobody uses, and its metadata."""
    kind = _INT + _ENCODINGS + rb"\x19\x18" + name + _INT
    sizes = _told(_LONG) + _LONG + _told(_LONG) + _told(_LONG_2) + rb"(?:" + _told(_LONG_2) + rb")?"
    return rb"\x26" + _VARINT + rb"\x1c" + kind + sizes + rb"\x00\x00"


def _structs(count: int) -> bytes:
    return re.escape(bytes([count << 4 | 12]) if count < 15 else b"\xfc" + _varint(count))


def _text(name: str) -> bytes:
    return re.escape(_varint(len(name.encode())) + name.encode())


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)


@lru_cache(maxsize=1 << 15)
def _number(coded: bytes) -> int:
    found = sum((byte & 127) << 7 * place for place, byte in enumerate(coded))
    return (found >> 1) ^ -(found & 1)
