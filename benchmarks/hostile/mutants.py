"""Good files, changed a little: bytes, fields of the footer and of page headers, and what is in a page once it is unpacked.

The digest in the name is made to fit afterwards, or every other check would be hidden behind that one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import brotli

from benchmarks.hostile.footers import (
    BYTES,
    CODEC,
    LIST,
    META,
    STRUCT,
    Tree,
    bent,
    columns,
    footer,
    whole,
    with_page,
)
from edge_runtime.thrift import varint, zigzag

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    1000,
    65536,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**62,
    2**63 - 1,
    -(2**63),
)
"""What programs do not think of."""

BROTLI = 4


def mutant(good: list[bytes], draw: Random) -> bytes:
    """One of `good`, changed in one to three ways."""
    content = draw.choice(good)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        with suppress(LookupError, ValueError, TypeError, OverflowError, RecursionError, struct.error, brotli.error):
            content = draw.choice(WAYS)(
                content, draw
            )  # an earlier change can have left nothing that this one could change
    return content


def _flipped(content: bytes, draw: Random) -> bytes:
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(found))
        found[place] = draw.choice((found[place] ^ 1 << draw.randrange(8), 0, 1, 127, 128, 255, draw.randrange(256)))
    return bytes(found)


def _flipped_footer(content: bytes, draw: Random) -> bytes:
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return content[:start] + _flipped(content[start:-8], draw) + content[-8:]


def _spliced(content: bytes, draw: Random) -> bytes:
    """A part of it is where another was, cut out, or there twice."""
    start, length = draw.randrange(len(content)), draw.choice((1, 4, 16, 200))
    place, out = draw.randrange(len(content)), draw.choice((0, length, length, draw.randrange(200)))
    return content[:place] + content[start : start + length] * draw.choice((0, 1, 1, 2)) + content[place + out :]


def _cut(content: bytes, draw: Random) -> bytes:
    place = draw.randrange(len(content))
    return draw.choice((content[:place], content[place:], content[:place] + content[-8:]))


def _bent_footer(content: bytes, draw: Random) -> bytes:
    return bent(content, lambda tree: bend(tree, draw))


def _bent_column(content: bytes, draw: Random) -> bytes:
    """Where most of what is read is said."""
    return bent(content, lambda tree: bend(draw.choice(columns(tree)), draw))


def _exchanged(content: bytes, draw: Random) -> bytes:
    """A column is where another is."""

    def exchange(tree: Tree) -> None:
        one, other = draw.sample(columns(tree), 2)
        one[META], other[META] = other[META], one[META]

    return bent(content, exchange)


def _bent_header(content: bytes, draw: Random) -> bytes:
    def change(header: Tree, body: bytes) -> bytes:
        bend(header, draw)
        return body

    return _with_some_page(content, draw, change)


def _bent_page(content: bytes, draw: Random) -> bytes:
    """What is in a page, packed again, and the header that fits it."""
    chunks = columns(footer(content))
    place = draw.randrange(len(chunks))
    packed = whole(chunks[place][META][1][CODEC][1]) == BROTLI

    def change(header: Tree, body: bytes) -> bytes:
        inside = brotli.decompress(body) if packed else body
        inside = draw.choice((_flipped, _flipped, _flipped, _spliced, _cut))(inside, draw)
        body = brotli.compress(inside, quality=1) if packed else inside
        header[2], header[3] = (5, zigzag(len(inside))), (5, zigzag(len(body)))
        return body

    return with_page(content, place, change, data=draw.random() < 0.7)


def _with_some_page(content: bytes, draw: Random, change: Callable[[Tree, bytes], bytes]) -> bytes:
    return with_page(content, draw.randrange(len(columns(footer(content)))), change, data=draw.random() < 0.5)


def bend(tree: Tree, draw: Random) -> None:
    """Change one thing somewhere in a tree."""
    field = draw.choice(list(tree))
    kind, value = tree[field]
    if draw.random() < 0.04:
        del tree[field]
    elif draw.random() < 0.04:
        tree[field] = draw.choice((2, 5, 6, BYTES)), zigzag(1)
    else:
        tree[field] = kind, _bent(kind, value, draw)


def _bent(kind: int, value: Any, draw: Random) -> Any:
    if kind == STRUCT:
        bend(value, draw)
        return value
    if kind == LIST:
        return _bent_list(*value, draw)
    if kind == BYTES:
        text = draw.choice((b"", b"seq", b"f_a", b"ts", b"\xff\xfe", b"x" * 3000, bytes(value[1:])[:-1]))
        return varint(len(text)) + text
    if kind in (5, 6):
        old = whole(value)
        return zigzag(draw.choice((*NUMBERS, old + 1, old - 1, 2 * old, old // 2, draw.randrange(64))))
    return value


def _bent_list(inner: int, values: list[Any], draw: Random) -> tuple[int, list[Any]]:
    place = draw.randrange(len(values))
    match draw.randrange(8):
        case 0:
            return inner, values[:place] + values[place + 1 :]
        case 1:
            return inner, values[:place] + [values[place]] * draw.choice((2, 3, 100)) + values[place + 1 :]
        case 2:
            other = draw.randrange(len(values))
            values[place], values[other] = values[other], values[place]
            return inner, values
        case _:
            values[place] = _bent(inner, values[place], draw)
            return inner, values


WAYS = (
    _flipped,
    _flipped_footer,
    _flipped_footer,
    _spliced,
    _cut,
    _bent_footer,
    _bent_footer,
    _bent_column,
    _bent_column,
    _exchanged,
    _bent_header,
    _bent_header,
    _bent_page,
    _bent_page,
    _bent_page,
)
