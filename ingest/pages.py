"""What a Parquet file unpacks to, by the headers of its pages.

The footer says so too, and a hostile one says what it likes: by it, a file of 20 KB was read that took 2.5 GB. Arrow makes room for a
page as its own header says, so these are what is counted. The footer is read here as well: of a damaged one, to ask Arrow for a column
can end the process.

Source: the Parquet format, parquet.thrift, and Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeloop.errors import DataError

PAGE = 1024
"""Bytes that a page counts for besides its own, or one could be millions of empty ones."""

FOOTER = 2 * 1024 * 1024
"""Bytes that a footer may have: a column takes about 150 of them."""

DATA, DICTIONARY, DATA_2 = 0, 2, 3
DELTA_BYTE_ARRAY = 7
"""Each text is so many bytes of the one before and the rest: a page of this encoding has no bound but its own word."""

_TAIL = 8
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_TOTAL_PACKED, _DATA_OFFSET, _DICTIONARY_OFFSET = 7, 9, 11
_TYPE, _UNPACKED, _PACKED = 1, 2, 3
_HEADER = {DATA: 5, DATA_2: 8}
_VALUES, _ENCODING = 1, {DATA: 2, DATA_2: 4}


def demand_bounded(content: bytes, most_rows: int, most_bytes: int) -> None:
    """Demand that no column holds more than `most_rows` values, and that all pages together unpack to `most_bytes` at the most.

    Raises:
        DataError: they do not.
        LookupError, RecursionError: the file is damaged.
    """
    length = int.from_bytes(content[-_TAIL:][:4], "little")
    if length > FOOTER:
        raise DataError(f"its footer has {length} bytes, at most {FOOTER} are read.")
    unpacked, footer = 0, Thrift(content, len(content) - _TAIL - length).struct()
    for column in (column for group in footer[_ROW_GROUPS] for column in group[_COLUMNS]):
        values = 0
        for page in _pages(content, column[_META_DATA]):
            unpacked += page[_UNPACKED] + PAGE
            values += _values(page)
            if unpacked > most_bytes or values > most_rows:
                raise DataError(f"its pages unpack to more than {most_rows} rows or {most_bytes} bytes.")


def _pages(content: bytes, column: dict[int, Any]) -> Iterator[dict[int, Any]]:
    first = column[_DATA_OFFSET]
    if 0 < column.get(_DICTIONARY_OFFSET, 0) < first:
        first = column[_DICTIONARY_OFFSET]
    end = first + column[_TOTAL_PACKED]
    if not 0 <= first < end <= len(content):
        raise DataError("it has a column outside of the file.")
    while first < end:
        header = Thrift(content, first)
        page = header.struct()
        if min(page[_UNPACKED], page[_PACKED]) < 0:
            raise DataError("it has a page of less than no size.")
        yield page
        first = header.at + page[_PACKED]


def _values(page: dict[int, Any]) -> int:
    """How many values a page holds; a dictionary's are those that others name."""
    kind = page[_TYPE]
    if kind == DICTIONARY:
        return 0
    header = page[_HEADER[kind]]
    if header[_ENCODING[kind]] == DELTA_BYTE_ARRAY:
        raise DataError(
            "it has texts encoded by their difference.", remedy="Write it with dictionary or plain encoding."
        )
    if header[_VALUES] < 0:
        raise DataError("it has a page of less than no values.")
    return int(header[_VALUES])


class Thrift:
    """Reads Thrift's compact protocol, as far as Parquet needs it, from `at` on."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content, self.at = content, at

    def struct(self) -> dict[int, Any]:
        """The values by field number; of bytes and fractions, None."""
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._whole()
            if field in found:  # of two, Arrow may take the other
                raise DataError("it says something twice.")
            kind = head & 15
            found[field] = kind == 1 if kind in (1, 2) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._whole()
        if kind in (7, 8):
            length = 8 if kind == 7 else self._varint()
            self.at += length
            return None
        if kind == 9:
            return self._list()
        if kind == 12:
            return self.struct()
        raise DataError(f"it has a field of kind {kind}.")

    def _list(self) -> list[Any]:
        head = self._byte()
        length = head >> 4 if head >> 4 < 15 else self._varint()
        return [self._value(head & 15) for _ in range(length)]

    def _whole(self) -> int:
        coded = self._varint()
        return (coded >> 1) ^ -(coded & 1)

    def _varint(self) -> int:
        found = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
        raise DataError("it has a number without an end.")

    def _byte(self) -> int:
        byte = self._content[self.at]
        self.at += 1
        return byte
