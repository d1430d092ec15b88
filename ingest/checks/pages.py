"""What a Parquet file unpacks to, by the headers of its pages.

The footer says so too, and a hostile one says what it likes: by it, a file of 20 KB was read that took 2.5 GB. Arrow makes room for a
page as its own header says, so these are what is counted.

Source: the Parquet format, parquet.thrift, and Thrift's compact protocol.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from edgeloop.errors import DataError
from ingest.checks.thrift import read_struct
from ingest.checks.usual import page_header

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


def demand_bounded(content: bytes, groups: Sequence[Any], most_rows: int, most_bytes: int) -> int:
    """Demand that no column holds more than `most_rows` values, and that all pages together unpack to `most_bytes` at the most;
    to how many they do.

    Args:
        groups: the row groups, as `footer.read_footer` gives them.

    Raises:
        DataError: they do not.
        LookupError, TypeError, RecursionError: the file is damaged.
    """
    unpacked, held = 0, defaultdict[int, int](int)
    for group in groups:
        for place, column in enumerate(group[_COLUMNS]):
            for size, values in _pages(content, column[_META_DATA]):
                unpacked += size + PAGE
                held[place] += values
                if held[place] > most_rows:
                    raise DataError(f"it has pages of more than the {most_rows} rows that are taken.")
                if unpacked > most_bytes:
                    raise DataError(f"its pages unpack to more than the {most_bytes} bytes that are taken.")
    return unpacked


def _pages(content: bytes, column: dict[int, Any]) -> Iterator[tuple[int, int]]:
    """How long each page of a column is unpacked, and how many values it holds."""
    first = column[_DATA_OFFSET]
    if 0 < column.get(_DICTIONARY_OFFSET, 0) < first:
        first = column[_DICTIONARY_OFFSET]
    end, held = first + column[_TOTAL_PACKED], 0
    if not 0 <= first < end <= len(content):
        raise DataError("it has a column outside of the file.")
    while first < end:
        page, start = page_header(content, first) or read_struct(content, first)
        if min(page[_UNPACKED], page[_PACKED]) < 0:
            raise DataError("it has a page of less than no size.")
        held += (values := _values(page))
        yield page[_UNPACKED], values
        first = start + page[_PACKED]
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
