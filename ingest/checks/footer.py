"""The footer of a Parquet file, read before Arrow reads it, and held to a size.

All that Arrow makes of a footer is larger than what it makes it from: of 2 MiB with 700,000 columns, a gigabyte. And of a damaged one, to
ask it for a column can end the process. So columns, their depth and their width are counted here, a row group has a column for each of
the schema's, and whatever Arrow could take for something else than is read here is refused.

Source: the Parquet format, parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeloop.errors import DataError
from ingest.checks.thrift import BYTES, STRUCT, kinds_of, read_struct
from ingest.checks.usual import row_group

MOST_BYTES = 2 * 1024 * 1024
"""Bytes that a footer may have: a column takes about 150 of them."""

MOST_COLUMNS, MOST_DEPTH, MOST_WIDTH = 10_000, 16, 256
"""Columns and the groups that they are in, such groups in each other, and bytes of a value of fixed length."""

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
_TAIL = 8
_SCHEMA, _ROWS, _ROW_GROUPS, _WORDS = 2, 3, 4, 5
_KEY, _VALUE = 1, 2
_WIDTH, _CHILDREN = 2, 5
_COLUMNS, _UNPACKED, _GROUP_ROWS = 1, 2, 3
_ELSEWHERE, _META_DATA = 1, 3

_KINDS = kinds_of(
    {
        **dict.fromkeys([(2,), (4,), (5,), (7,), (4, 1), (4, 4), (4, 1, 3, 8), (4, 1, 3, 13)], STRUCT),
        **dict.fromkeys([(4, 1, 3, 3), (4, 1, 8, 2, 1), (5, _KEY), (5, _VALUE)], BYTES),
        **dict.fromkeys([(2, _WIDTH), (2, _CHILDREN), (4, 1, 3, 2), (4, 1, 3, 17, 2)], 5),
        **dict.fromkeys([(4, 1, 3, 11), (4, 1, 3, 16, 2), (4, 1, 3, 16, 3)], 6),
    }
)
"""What every list in a footer is of, by the fields that lead to it: Arrow reads that, whatever the list says that it is of. And of
what kind the fields are that are used here and may be missing: of another kind, they are missing to Arrow."""


@dataclass(frozen=True)
class Footer:
    """How many rows a file says that it has, what it says that they unpack to (bytes), its row groups by field number, and its metadata."""

    rows: int
    unpacked: int
    groups: list[Any]
    words: dict[str, str]


def read_footer(content: bytes, columns: Sequence[str] = ()) -> Footer:
    """What the footer of a file says, if Arrow can be given it.

    Args:
        columns: those that it usually has: such a footer is read faster.

    Raises:
        DataError: it cannot.
        LookupError, TypeError, AttributeError, RecursionError: it is damaged.
    """
    found, leaves = _read(content, _start(content), columns)
    groups = found[_ROW_GROUPS]
    for group in groups:
        _check_group(group[_COLUMNS], leaves)
    unpacked = sum(group[_UNPACKED] for group in groups)
    rows = [group[_GROUP_ROWS] for group in groups]  # for as many Arrow makes room, whatever the file says that it has
    if min(rows, default=0) < 0 or sum(rows) != found[_ROWS]:
        raise DataError(f"it says that it has {found[_ROWS]} rows, and its row groups have {sum(rows)}.")
    pairs = ((pair[_KEY], pair.get(_VALUE, b"")) for pair in found.get(_WORDS, ()))
    words = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in pairs}
    return Footer(found[_ROWS], unpacked, groups, words)


def _read(content: bytes, start: int, columns: Sequence[str]) -> tuple[dict[int, Any], int]:
    """The footer that begins at `start` by field number, and how many columns hold values."""
    if (usual := row_group(content, start, columns)) is None:
        found, _ = read_struct(content, start, _KINDS)
        return found, _count_leaves(found[_SCHEMA])
    rows, group, end = usual
    rest, _ = read_struct(content, end, _KINDS, _ROW_GROUPS)
    return {_ROWS: rows, _ROW_GROUPS: [group], **rest}, len(columns)


def _start(content: bytes) -> int:
    """Where the footer begins."""
    if content[-4:] == ENCRYPTED:
        raise DataError(
            "its footer is encrypted.", remedy="Send batches as a device seals them; encrypt the link and the store."
        )
    if content[-4:] != MAGIC:
        raise DataError("it is no Parquet file, or its end is missing: that would be PAR1.")
    length = int.from_bytes(content[-_TAIL:-4], "little")
    if length > MOST_BYTES:
        raise DataError(f"its footer has {length} bytes, at most {MOST_BYTES} are read.")
    if (start := len(content) - _TAIL - length) < len(MAGIC):
        raise DataError(f"its footer is to have {length} bytes, and the whole file has {len(content)}.")
    return start


def _count_leaves(schema: Sequence[dict[int, Any]]) -> int:
    """How many columns hold values."""
    if len(schema) > MOST_COLUMNS:
        raise DataError(f"it has {len(schema)} columns, at most {MOST_COLUMNS} are read.")
    open_groups, leaves = list[int](), 0
    for element in schema:
        if element.get(_WIDTH, 0) > MOST_WIDTH:
            raise DataError(f"it has values of {element[_WIDTH]} bytes, at most {MOST_WIDTH} are read.")
        children = element.get(_CHILDREN, 0)
        leaves += not children
        open_groups.append(children)
        while open_groups and not open_groups[-1]:
            open_groups.pop()
            if open_groups:
                open_groups[-1] -= 1
        if len(open_groups) > MOST_DEPTH:
            raise DataError(f"it has columns in over {MOST_DEPTH} groups in each other.")
    return leaves


def _check_group(columns: Sequence[dict[int, Any]], leaves: int) -> None:
    if len(columns) != leaves:
        raise DataError(f"it has a row group of {len(columns)} columns, and {leaves} in its schema.")
    for column in columns:
        if _ELSEWHERE in column:
            raise DataError("it has a column that is in another file.")
        if _META_DATA not in column:
            raise DataError("it has a column that is encrypted, or nowhere.")
