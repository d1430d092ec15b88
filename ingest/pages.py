"""What a Parquet file unpacks to, by the headers of its pages.

The footer says so too, and a hostile one says what it likes: by it, a file of 20 KB was read that took 2.5 GB. Arrow makes room for a
page as its own header says, so these are what is counted.

Source: the Parquet format, parquet.thrift, and Thrift's compact protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeloop.errors import DataError

PAGE = 1024
"""Bytes that a page counts for besides its own, or one could be millions of empty ones."""

MOST_WORDS = 100_000
"""Values of a dictionary: for as many as it says that it has, Arrow makes room before it reads the first."""

DATA, DICTIONARY, DATA_2 = 0, 2, 3
BY_DIFFERENCE = 6, 7
"""DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY. By the latter a text is so many bytes of the one before and the rest, and a page has no
bound but its own word. Arrow does not make dictionaries of the former."""

_COLUMNS, _META_DATA = 1, 3
_HELD, _TOTAL_PACKED, _DATA_OFFSET, _DICTIONARY_OFFSET = 5, 7, 9, 11
_TYPE, _UNPACKED, _PACKED = 1, 2, 3
_HEADER, _WORDS = {DATA: 5, DATA_2: 8}, 7
_VALUES, _ENCODING = 1, {DATA: 2, DATA_2: 4}
_BITS = {4: 16, 5: 32, 6: 64}
"""Of whole numbers, by their kind."""
BYTES, LIST, STRUCT = 8, 9, 12

_DAMAGED = "it is damaged: its footer, or the header of a page, has"


def demand_bounded(content: bytes, groups: Sequence[Any], most_rows: int, most_bytes: int) -> None:
    """Demand that no column holds more than `most_rows` values, and that all pages together unpack to `most_bytes` at the most.

    Args:
        groups: the row groups, as `footer.read_footer` gives them.

    Raises:
        DataError: they do not.
        LookupError, TypeError, RecursionError: the file is damaged.
    """
    unpacked, held = 0, Counter[int]()
    for group in groups:
        for place, column in enumerate(group[_COLUMNS]):
            for size, values in _pages(content, column[_META_DATA]):
                unpacked += size + PAGE
                held[place] += values
                if held[place] > most_rows:
                    raise DataError(f"it has pages of more than the {most_rows} rows that are taken.")
                if unpacked > most_bytes:
                    raise DataError(f"its pages unpack to more than the {most_bytes} bytes that are taken.")


def _pages(content: bytes, column: dict[int, Any]) -> Iterator[tuple[int, int]]:
    """How long each page of a column is unpacked, and how many values it holds."""
    first = column[_DATA_OFFSET]
    if 0 < column.get(_DICTIONARY_OFFSET, 0) < first:
        first = column[_DICTIONARY_OFFSET]
    end, held = first + column[_TOTAL_PACKED], 0
    if not 0 <= first < end <= len(content):
        raise DataError("it has a column outside of the file.")
    while first < end:
        header = Thrift(content, first)
        page = header.struct()
        if min(page[_UNPACKED], page[_PACKED]) < 0:
            raise DataError("it has a page of less than no size.")
        held += (values := _values(page))
        yield page[_UNPACKED], values
        first = header.at + page[_PACKED]
    # Arrow would look for the rest behind the end, for there were writers who told a wrong one.
    if held != column[_HELD]:
        raise DataError(f"it has a column with {held} values, and says that it has {column[_HELD]}.")


def _values(page: dict[int, Any]) -> int:
    """How many values a page holds; a dictionary's are those that others name."""
    kind = page[_TYPE]
    if kind == DICTIONARY:
        if not 0 <= (words := page[_WORDS][_VALUES]) <= MOST_WORDS:
            raise DataError(f"it has a dictionary of {words} values, at most {MOST_WORDS} are read.")
        return 0
    header = page[_HEADER[kind]]
    if header[_ENCODING[kind]] in BY_DIFFERENCE:
        raise DataError(
            "it has texts encoded by their difference.", remedy="Write it with dictionary or plain encoding."
        )
    if header[_VALUES] < 0:
        raise DataError("it has a page of less than no values.")
    return int(header[_VALUES])


class Thrift:
    """Reads Thrift's compact protocol, as far as Parquet needs it, from `at` on.

    Args:
        kinds: of what kind a field, or what a list in it is of, must be if it is there, by the fields that lead to it.
    """

    def __init__(self, content: bytes, at: int, kinds: Mapping[tuple[int, ...], int] | None = None) -> None:
        self._content, self.at, self._kinds = content, at, kinds or {}

    def struct(self, path: tuple[int, ...] = ()) -> dict[int, Any]:
        """The values by field number; of bytes and fractions, None."""
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            before, field = field, field + (head >> 4) if head >> 4 else self._whole(16)
            if not before < field < 1 << 15:  # of two of a number, Arrow takes the last
                raise DataError(f"{_DAMAGED} fields that do not rise.")
            found[field] = self._field(head & 15, (*path, field))
        return found

    def _field(self, kind: int, path: tuple[int, ...]) -> Any:
        if kind == LIST:
            return self._list(path)
        self._demand(kind, path)
        return kind == 1 if kind in (1, 2) else self._value(kind, path)

    def _demand(self, kind: int, path: tuple[int, ...]) -> None:
        if self._kinds.get(path, kind) != kind:
            raise DataError(f"{_DAMAGED} a field {path} of kind {kind}.")

    def _list(self, path: tuple[int, ...]) -> list[Any]:
        head = self._byte()
        length = head >> 4 if head >> 4 < 15 else self._varint()
        if length:
            self._demand(head & 15, path)
        return [self._value(head & 15, path) for _ in range(length)]

    def _value(self, kind: int, path: tuple[int, ...]) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in _BITS:
            return self._whole(_BITS[kind])
        if kind in (7, BYTES):
            length = 8 if kind == 7 else self._varint()
            self.at += length
            return None
        if kind == LIST:
            return self._list(path)
        if kind == STRUCT:
            return self.struct(path)
        raise DataError(f"{_DAMAGED} a field of kind {kind}.")

    def _whole(self, bits: int) -> int:
        coded = self._varint(bits)
        return (coded >> 1) ^ -(coded & 1)

    def _varint(self, bits: int = 32) -> int:
        found = 0
        for shift in range(0, bits, 7):
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128 and found < 1 << bits:
                return found
        raise DataError(f"{_DAMAGED} a number of over {bits} bits.")

    def _byte(self) -> int:
        byte = self._content[self.at]
        self.at += 1
        return byte
