"""Pages whose headers lie, and whose values are encoded as no writer would."""

from __future__ import annotations

import brotli
import pyarrow as pa

from benchmarks.hostile.footers import (
    HELD,
    META,
    Tree,
    bent,
    columns,
    with_page,
    written,
)
from benchmarks.hostile.sender import ROWS as SENT
from benchmarks.hostile.sender import Files, Kind, Sender, floats, rewritten
from edge_runtime.thrift import i32, i64, string, varint, zigzag

PREDICTION, F_A = 3, 7
"""Places of columns."""


def _page(
    by: Sender, size: int, body: bytes, *, values: int = 5, encoding: int = 0, codec: int = 4, place: int = F_A
) -> Files:
    """A column whose page says that it has `size` bytes and `values` values, and has `body` packed."""
    packed = brotli.compress(body) if codec else body

    def bend(header: Tree, _: bytes) -> bytes:
        header.clear()
        page = {1: i32(values), 2: i32(encoding), 3: i32(3), 4: i32(3)}
        header.update({1: i32(0), 2: i32(size), 3: i32(len(packed)), 5: (12, page)})
        return packed

    content = with_page(_plain(by), place, bend)

    def lie(tree: Tree) -> None:
        columns(tree)[place][META][1].update({4: i32(codec), HELD: i64(values)})

    return by.named(bent(content, lie))


def _levels(by: Sender, runs: bytes, length: int | None = None) -> Files:
    """A column that may be empty, whose first page says by `runs` where it is."""
    levels = (len(runs) if length is None else length).to_bytes(4, "little") + runs

    def bend(header: Tree, body: bytes) -> bytes:
        body = levels + body[-4 * SENT :]
        header.update({2: i32(len(body)), 3: i32(len(body))})
        return body

    return by.named(with_page(_plain(by, nullable=True), F_A, bend))


def _plain(by: Sender, *, nullable: bool = False) -> bytes:
    def change(table: pa.Table) -> pa.Table:
        table = floats(table)
        return table.cast(pa.schema([field.with_nullable(nullable) for field in table.schema]))

    return rewritten(by.good, change, use_dictionary=False, compression="none", store_schema=False)


def _empty_pages(by: Sender) -> Files:
    header = written({1: i32(0), 2: i32(0), 3: i32(0), 5: (12, {1: i32(0), 2: i32(0), 3: i32(3), 4: i32(3)})})

    def bend(first: Tree, body: bytes) -> bytes:
        same = written(first) + body
        first.clear()
        first.update({1: i32(0), 2: i32(0), 3: i32(0), 5: (12, {1: i32(0), 2: i32(0), 3: i32(3), 4: i32(3)})})
        return header * 500_000 + same

    return by.named(with_page(_plain(by), F_A, bend))


def _delta(by: Sender, block: int, minis: int, count: int) -> Files:
    """A sequence number by differences, in blocks of so many."""
    body = varint(block) + varint(minis) + varint(count) + zigzag(101) + zigzag(1) + bytes(8)
    return _page(by, len(body), body, encoding=5, codec=0, place=0)


def _boasting(header: Tree, body: bytes) -> bytes:
    header[7][1][1] = i32(2**31 - 1)
    return body


def _header(by: Sender, more: Tree) -> Files:
    """A page with something else in its header."""

    def bend(header: Tree, body: bytes) -> bytes:
        header.update(more)
        return body

    return by.named(with_page(_plain(by), F_A, bend))


def _version_2(by: Sender, levels: int, repetitions: int) -> Files:
    """A page of version 2 that says how long its levels are."""

    def bend(header: Tree, body: bytes) -> bytes:
        header[1] = i32(3)
        del header[5]
        header[8] = 12, {1: i32(5), 2: i32(0), 3: i32(5), 4: i32(0), 5: i32(levels), 6: i32(repetitions)}
        return body

    return by.named(with_page(_plain(by), F_A, bend))


KINDS = [
    Kind("500,000 empty pages", "a column of pages without a value", "its pages unpack to more than the", _empty_pages),
    Kind(
        "1 GB that is told",
        "a page of a few bytes that says what it unpacks to",
        "its pages unpack to more than the",
        lambda by: _page(by, 2**30, bytes(2**20)),
    ),
    Kind(
        "100 MB that is denied",
        "a page that says it unpacks to 20 bytes",
        "it cannot be read: Corrupt brotli compressed",
        lambda by: _page(by, 20, bytes(100 * 2**20)),
    ),
    Kind(
        "a page of −1 bytes",
        "a page that says it unpacks to so many",
        "it has a page of less than no size",
        lambda by: _page(by, -1, bytes(20)),
    ),
    Kind(
        "a page of 2³¹ − 1 values",
        "a page that says it has so many",
        "it has pages of more than the",
        lambda by: _page(by, 20, bytes(20), values=2**31 - 1),
    ),
    Kind(
        "a page of −1 values",
        "a page that says it has so many",
        "it has a page of less than no values",
        lambda by: _page(by, 20, bytes(20), values=-1),
    ),
    Kind(
        "a page with too few values",
        "a page that has 3 of the 5 values that it says",
        "it cannot be read: Unexpected end of stream",
        lambda by: _page(by, 12, bytes(12), codec=0),
    ),
    Kind(
        "a run of none",
        "empty values by runs that never come to 5",
        "it cannot be read: Number of decoded rep /",
        lambda by: _levels(by, b"\0\1" * 9),
    ),
    Kind(
        "levels that are not there",
        "empty values told by no byte",
        "it cannot be read: Number of decoded rep /",
        lambda by: _levels(by, b""),
    ),
    Kind(
        "levels longer than the page",
        "a page whose levels are to have 2³¹ − 1 bytes",
        "it cannot be read: Received invalid number of",
        lambda by: _levels(by, b"\x0a\1", 2**31 - 1),
    ),
    Kind(
        "a dictionary that is not there",
        "places in a dictionary, and none before",
        "it cannot be read: Dictionary page must be",
        lambda by: _page(by, 3, b"\1\x0a\0", encoding=8, codec=0),
    ),
    Kind(
        "a dictionary of 2³¹ − 1",
        "a dictionary that says it has so many texts, for which a reader makes room",
        "a dictionary of 2147483647 values",
        lambda by: by.named(with_page(rewritten(by.good), PREDICTION, _boasting)),
    ),
    Kind(
        "an unknown encoding",
        "a page in encoding 77",
        "it cannot be read: Unknown encoding type",
        lambda by: _page(by, 20, bytes(20), encoding=77),
    ),
    Kind(
        "an unknown codec",
        "a column packed by codec 77",
        "it cannot be read: Unsupported compression",
        lambda by: by.footed(lambda tree: columns(tree)[0][META][1].update({4: i32(77)})),
    ),
    Kind(
        "differences in no blocks",
        "a column by differences, in blocks of 0",
        "it cannot be read: cannot have zero value per",
        lambda by: _delta(by, 0, 0, 5),
    ),
    Kind(
        "2³² differences",
        "a column by differences that says it has so many",
        "it cannot be read: Unexpected end of stream:",
        lambda by: _delta(by, 128, 4, 2**32),
    ),
    Kind(
        "texts by their difference",
        "an encoding whose pages have no bound",
        "it has texts encoded by their difference.",
        lambda by: by.rows(lambda t: t, use_dictionary=False, column_encoding={"prediction": "DELTA_BYTE_ARRAY"}),
    ),
    Kind(
        "lengths apart from texts that lie",
        "texts whose lengths are told apart, and wrong",
        "it has texts encoded by their difference.",
        lambda by: _page(
            by,
            30,
            varint(128) + varint(4) + varint(5) + zigzag(2**30) + zigzag(0) + bytes(8),
            encoding=6,
            codec=0,
            place=PREDICTION,
        ),
    ),
    Kind(
        "a page of an unknown kind",
        "a page of kind 77",
        "it is damaged: its footer or its pages are",
        lambda by: _header(by, {1: i32(77)}),
    ),
    Kind(
        "an index for a page",
        "a page of the kind that no reader knows",
        "it is damaged: its footer or its pages are",
        lambda by: _header(by, {1: i32(1)}),
    ),
    Kind(
        "levels of −1 bytes",
        "a page of version 2 that says it has so many",
        "it cannot be read: Invalid page header",
        lambda by: _version_2(by, -1, 0),
    ),
    Kind(
        "levels of 2 GB",
        "a page of version 2 that says it has so many",
        "it cannot be read: Data page too small for",
        lambda by: _version_2(by, 2**31 - 1, 0),
    ),
    Kind(
        "repetitions of 2 GB",
        "a page of version 2 that says it has so many",
        "it cannot be read: Data page too small for",
        lambda by: _version_2(by, 0, 2**31 - 1),
    ),
]

ODD = [
    Kind(
        "differences in blocks of 2³¹",
        "a column by differences, in blocks without an end",
        "",
        lambda by: _delta(by, 2**31, 1, 5),
    ),
    Kind(
        "a run of 2³¹",
        "empty values by a run that is longer than the page",
        "",
        lambda by: _levels(by, varint(2**32 - 2) + b"\1"),
    ),
    Kind(
        "a header of 1 MB",
        "statistics in the header of a page",
        "",
        lambda by: _header(
            by, {5: (12, {1: i32(5), 2: i32(0), 3: i32(3), 4: i32(3), 5: (12, {1: string("z" * 2**20)})})}
        ),
    ),
]
