"""What a Parquet file unpacks to, by the headers of its pages.

The footer says so too, and a hostile one says what it likes: by it, a file of 20 KB was read that took 2.5 GB. Arrow makes room for a
page as its own header says, so these are what is counted. The footer is read here as well: of a damaged one, to ask Arrow for a column
can end the process. So whatever Arrow could take for something else than is read here is refused.

Source: the Parquet format, parquet.thrift, and Thrift's compact protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
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
_HELD, _TOTAL_PACKED, _DATA_OFFSET, _DICTIONARY_OFFSET = 5, 7, 9, 11
_TYPE, _UNPACKED, _PACKED = 1, 2, 3
_HEADER = {DATA: 5, DATA_2: 8}
_VALUES, _ENCODING = 1, {DATA: 2, DATA_2: 4}
_BITS = {4: 16, 5: 32, 6: 64}
"""Of whole numbers, by their kind."""
_BYTES, _LIST, _STRUCT = 8, 9, 12

_KINDS = {
    **dict.fromkeys([(2,), (4,), (5,), (7,), (4, 1), (4, 4), (4, 1, 3, 8), (4, 1, 3, 13)], _STRUCT),
    **dict.fromkeys([(4, 1, 3, 3), (4, 1, 8, 2, 1)], _BYTES),
    **dict.fromkeys([(4, 1, 3, 2), (4, 1, 3, 17, 2)], 5),
    **dict.fromkeys([(4, 1, 3, _DICTIONARY_OFFSET), (4, 1, 3, 16, 2), (4, 1, 3, 16, 3)], 6),
}
"""What every list in a footer is of, by the fields that lead to it: Arrow reads that, whatever the list says that it is of. And of
what kind the one field is that is used here and may be missing: of another kind, it is missing to Arrow."""


def demand_bounded(content: bytes, most_rows: int, most_bytes: int) -> None:
    """Demand that no column holds more than `most_rows` values, and that all pages together unpack to `most_bytes` at the most.

    Raises:
        DataError: they do not.
        LookupError, TypeError, RecursionError: the file is damaged.
    """
    length = int.from_bytes(content[-_TAIL:][:4], "little")
    if length > FOOTER:
        raise DataError(f"its footer has {length} bytes, at most {FOOTER} are read.")
    unpacked, held = 0, Counter[int]()
    for group in Thrift(content, len(content) - _TAIL - length, _KINDS).struct()[_ROW_GROUPS]:
        for place, column in enumerate(group[_COLUMNS]):
            for size, values in _pages(content, column[_META_DATA]):
                unpacked += size + PAGE
                held[place] += values
                if unpacked > most_bytes or held[place] > most_rows:
                    raise DataError(f"its pages unpack to more than {most_rows} rows or {most_bytes} bytes.")


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
                raise DataError("its fields do not rise.")
            found[field] = self._field(head & 15, (*path, field))
        return found

    def _field(self, kind: int, path: tuple[int, ...]) -> Any:
        if kind == _LIST:
            return self._list(path)
        self._demand(kind, path)
        return kind == 1 if kind in (1, 2) else self._value(kind, path)

    def _demand(self, kind: int, path: tuple[int, ...]) -> None:
        if self._kinds.get(path, kind) != kind:
            raise DataError(f"its field {path} is of kind {kind}.")

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
        if kind in (7, _BYTES):
            length = 8 if kind == 7 else self._varint()
            self.at += length
            return None
        if kind == _LIST:
            return self._list(path)
        if kind == _STRUCT:
            return self.struct(path)
        raise DataError(f"it has a field of kind {kind}.")

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
        raise DataError(f"it has a number of over {bits} bits.")

    def _byte(self) -> int:
        byte = self._content[self.at]
        self.at += 1
        return byte
