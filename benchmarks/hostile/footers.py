"""A Parquet file's footer and page headers as trees that can be bent, and the file put together again with the lengths that fit.

Source: parquet.thrift, and Thrift's compact protocol. A struct is {field: (kind, value)}, a list (kind, [values]); what has no inside
stays the bytes that it was.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from edge_runtime.thrift import Value, i64, record, several

Tree = dict[int, tuple[int, Any]]

BYTES, LIST, STRUCT = 8, 9, 12
SCHEMA, ROWS, GROUPS, WORDS = 2, 3, 4, 5
COLUMNS, META = 1, 3
ENCODINGS, CODEC, HELD, UNPACKED, PACKED, DATA_OFFSET, DICTIONARY_OFFSET, STATISTICS = 2, 4, 5, 6, 7, 9, 11, 12
TAIL = 8


class _Reader:
    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def varint(self) -> int:
        found = shift = 0
        while True:
            byte = self.byte()
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def struct(self) -> Tree:
        found: Tree = {}
        field = 0
        while head := self.byte():
            field += head >> 4
            found[field] = head & 15, self.value(head & 15)
        return found

    def value(self, kind: int) -> Any:
        if kind == STRUCT:
            return self.struct()
        if kind == LIST:
            head = self.byte()
            length = head >> 4 if head >> 4 < 15 else self.varint()
            return head & 15, [self.value(head & 15) for _ in range(length)]
        began = self.at
        if kind == BYTES:
            length = self.varint()
            self.at += length
        elif kind not in (1, 2):
            self.varint()
        return self.content[began : self.at]


def parsed(content: bytes, at: int) -> tuple[Tree, int]:
    """The struct at `at`, and where it ends."""
    reader = _Reader(content, at)
    return reader.struct(), reader.at


def written(tree: Tree) -> bytes:
    """The bytes of a struct."""
    return record({field: (kind, _value(kind, value)) for field, (kind, value) in tree.items()})[1]


def _value(kind: int, value: Any) -> bytes:
    if kind == STRUCT:
        return written(value)
    if kind == LIST:
        inner, values = value
        packed: list[Value] = [(inner, _value(inner, v)) for v in values]
        return several(packed)[1] if packed else bytes([inner])
    return bytes(value)


def footer(content: bytes) -> Tree:
    """The footer of a file."""
    return parsed(content, footer_start(content))[0]


def footer_start(content: bytes) -> int:
    """Where the footer begins."""
    return len(content) - TAIL - struct.unpack("<I", content[-TAIL:-4])[0]


def with_footer(content: bytes, new: bytes) -> bytes:
    """The file with another footer."""
    return content[: footer_start(content)] + new + struct.pack("<I", len(new)) + b"PAR1"


def bent(content: bytes, bend: Callable[[Tree], None]) -> bytes:
    """The file with its footer bent in place by `bend`."""
    tree = footer(content)
    bend(tree)
    return with_footer(content, written(tree))


def columns(tree: Tree) -> list[Tree]:
    """The chunks of the first row group."""
    chunks: list[Tree] = tree[GROUPS][1][1][0][COLUMNS][1][1]
    return chunks


def whole(value: bytes) -> int:
    """A whole number as it is written."""
    coded = _Reader(value, 0).varint()
    return (coded >> 1) ^ -(coded & 1)


def page_start(chunk: Tree) -> int:
    """Where the first page of a chunk begins."""
    meta = chunk[META][1]
    return whole(meta[DICTIONARY_OFFSET if DICTIONARY_OFFSET in meta else DATA_OFFSET][1])


def with_page(content: bytes, place: int, bend: Callable[[Tree, bytes], bytes], *, data: bool = False) -> bytes:
    """The file with the first page of its column `place` bent: `bend` changes the header, and gives what is to stand behind it.

    All that comes after moves, and the footer says so.

    Args:
        data: whether it is to be the first of data, and not the dictionary if there is one.
    """
    tree = footer(content)
    chunk = columns(tree)[place]
    start = whole(chunk[META][1][DATA_OFFSET][1]) if data else page_start(chunk)
    header, body = parsed(content, start)
    end = body + whole(header[3][1])
    new = bend(header, content[body:end])
    new = written(header) + new
    grown = len(new) - (end - start)
    content = content[:start] + new + content[end:]
    for other in columns(tree):
        meta = other[META][1]
        for field in (DATA_OFFSET, DICTIONARY_OFFSET):
            if field in meta and whole(meta[field][1]) > start:
                meta[field] = i64(whole(meta[field][1]) + grown)
    meta = chunk[META][1]
    meta[PACKED] = i64(whole(meta[PACKED][1]) + grown)
    return with_footer(content, written(tree))
