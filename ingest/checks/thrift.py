"""Thrift's compact protocol, as far as Parquet needs it, read strictly: what another reader could take for something else is refused.

Of every batch a thousand numbers pass through here, so that most are read without a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeloop.errors import DataError

BYTES, LIST, STRUCT = 8, 9, 12
_TRUE, _FALSE, _BYTE, _DOUBLE = 1, 2, 3, 7
_BITS = {4: 16, 5: 32, 6: 64}
"""Of whole numbers, by their kind."""

_DAMAGED = "it is damaged: its footer, or the header of a page, has"

Kinds = Mapping[int, tuple[int, "Kinds"]]
"""Of what kind a field, or what a list in it is of, must be if it is there (0: of any), and the same of the fields in it."""

_ANY: tuple[int, Kinds] = (0, {})


def kinds_of(paths: Mapping[tuple[int, ...], int]) -> Kinds:
    """The same, said by the fields that lead to each."""
    firsts = {path[0] for path in paths}
    return {
        first: (paths.get((first,), 0), kinds_of({p[1:]: kind for p, kind in paths.items() if p[0] == first and p[1:]}))
        for first in firsts
    }


def read_struct(content: bytes, at: int, kinds: Kinds = _ANY[1], field: int = 0) -> tuple[dict[int, Any], int]:
    """The struct at `at`, its values by field number (of fractions, None), and where it ends; or what is left of it after `field`.

    Raises:
        DataError: it is not what Thrift says that it must be.
        IndexError, RecursionError: it does not end.
    """
    found: dict[int, Any] = {}
    while head := content[at]:
        before, at, kind = field, at + 1, head & 15
        if head > 15:
            field += head >> 4
        else:
            field, at = _whole(content, at, 16)
        if not before < field < 1 << 15:  # of two of a number, Arrow takes the last
            raise DataError(f"{_DAMAGED} fields that do not rise.")
        wanted, inner = kinds.get(field, _ANY)
        if kind == LIST:
            found[field], at = _list(content, at, wanted, inner)
            continue
        if wanted and kind != wanted:
            raise DataError(f"{_DAMAGED} a field {field} of kind {kind}.")
        if kind in _BITS:
            coded = content[at]
            if coded < 128:  # most are
                at += 1
            else:
                coded, at = _varint(content, at, _BITS[kind])
            found[field] = (coded >> 1) ^ -(coded & 1)
        elif kind <= _FALSE:
            found[field] = kind == _TRUE
        else:
            found[field], at = _value(content, at, kind, inner)
    return found, at + 1


def _list(content: bytes, at: int, wanted: int, inner: Kinds) -> tuple[list[Any], int]:
    head = content[at]
    length, kind, at = head >> 4, head & 15, at + 1
    if length == 15:
        length, at = _varint(content, at, 32)
    if length and wanted and kind != wanted:
        raise DataError(f"{_DAMAGED} a list of kind {kind}.")
    found = []
    for _ in range(length):
        value, at = _value(content, at, kind, inner)
        found.append(value)
    return found, at


def _value(content: bytes, at: int, kind: int, inner: Kinds) -> tuple[Any, int]:
    if kind == STRUCT:
        return read_struct(content, at, inner)
    if kind in _BITS:
        return _whole(content, at, _BITS[kind])
    if kind == BYTES:
        length, at = _varint(content, at, 32)
        return content[at : at + length], at + length
    if kind in (_TRUE, _FALSE, _BYTE):
        return content[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8
    if kind == LIST:
        return _list(content, at, 0, inner)
    raise DataError(f"{_DAMAGED} a field of kind {kind}.")


def _whole(content: bytes, at: int, bits: int) -> tuple[int, int]:
    coded, at = _varint(content, at, bits)
    return (coded >> 1) ^ -(coded & 1), at


def _varint(content: bytes, at: int, bits: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, bits, 7):
        byte = content[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128 and found < 1 << bits:
            return found, at
    raise DataError(f"{_DAMAGED} a number of over {bits} bits.")
