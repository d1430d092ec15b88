"""Files of no size, or too much of it, and what is no Parquet file or no whole one."""

from __future__ import annotations

import gzip
import json
import random

import pyarrow as pa

from benchmarks.hostile.footers import (
    COLUMNS,
    DATA_OFFSET,
    DICTIONARY_OFFSET,
    GROUPS,
    META,
    PACKED,
    SCHEMA,
    columns,
    footer_start,
    with_footer,
)
from benchmarks.hostile.sender import Files, Kind, Sender
from edge_runtime.thrift import i64, string
from ingest.checks.check import MAX_BYTES


def _cut(by: Sender, first: int, last: int | None) -> Files:
    return by.named(by.good[first:last])


def _length(by: Sender, length: int) -> Files:
    return by.named(by.good[:-8] + length.to_bytes(4, "little") + b"PAR1")


def _arrow(by: Sender) -> Files:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema([("seq", pa.int64())])):
        pass
    return by.named(sink.getvalue().to_pybytes())


def _noise(by: Sender) -> Files:
    return by.named(b"PAR1" + random.Random(0).randbytes(5000) + b"\x00\x01\x00\x00PAR1")


def _pages(by: Sender, content: bytes) -> Files:
    return by.named(b"PAR1" + content + by.good[footer_start(by.good) :])


def _elsewhere(by: Sender, field: int, value: int) -> Files:
    return by.footed(lambda tree: columns(tree)[0][META][1].update({field: i64(value)}))


KINDS = [
    Kind("empty", "a file without a byte", "it has 0 bytes, 1 to", lambda by: by.named(b"")),
    Kind("one byte", "a file of one byte", "it is no Parquet file, or its end is missing:", lambda by: by.named(b"P")),
    Kind(
        "over the size", "one byte more than a batch may have", "bytes, 1 to", lambda by: by.named(bytes(MAX_BYTES + 1))
    ),
    Kind(
        "zeros",
        "as many zeros as a batch may have bytes",
        "it is no Parquet file, or its end is missing:",
        lambda by: by.named(bytes(MAX_BYTES)),
    ),
    Kind(
        "JSON",
        "readings as lines of JSON",
        "it is no Parquet file, or its end is missing:",
        lambda by: by.named(json.dumps({"seq": 101, "f_a": 1}).encode() * 100),
    ),
    Kind(
        "zipped",
        "a batch in gzip",
        "it is no Parquet file, or its end is missing:",
        lambda by: by.named(gzip.compress(by.good, mtime=0)),
    ),
    Kind("Arrow", "an Arrow file", "it is no Parquet file, or its end is missing:", _arrow),
    Kind("noise", "random bytes between two magic words", "it is damaged: its footer, or the header of a", _noise),
    Kind("only magic", "two magic words with nothing between", "bytes, at most", lambda by: by.named(b"PAR1PAR1")),
    Kind(
        "encrypted footer",
        "a batch whose footer is encrypted",
        "its footer is encrypted. Send batches as a",
        lambda by: by.named(by.good[:-4] + b"PARE"),
    ),
    Kind(
        "encrypted column",
        "a column that says it is encrypted",
        "it cannot be read: Column is noted as",
        lambda by: by.footed(lambda tree: columns(tree)[0].update({8: (12, {1: (12, {})})})),
    ),
    Kind(
        "without its end",
        "the last byte missing",
        "it is no Parquet file, or its end is missing:",
        lambda by: _cut(by, 0, -1),
    ),
    Kind(
        "without its second half",
        "an upload that broke off",
        "it is no Parquet file, or its end is missing:",
        lambda by: _cut(by, 0, len(by.good) // 2),
    ),
    Kind(
        "without its beginning",
        "the first 100 bytes missing",
        "it is damaged: its footer or its pages are",
        lambda by: _cut(by, 100, None),
    ),
    Kind(
        "without a middle",
        "100 bytes of the pages missing",
        "it is damaged: its footer or its pages are",
        lambda by: by.named(by.good[:100] + by.good[200:]),
    ),
    Kind(
        "footer of no length",
        "a footer that says it has 0 bytes",
        "it is damaged: its footer or its pages are",
        lambda by: _length(by, 0),
    ),
    Kind(
        "footer longer than the file",
        "a footer that says it begins before the file does",
        "bytes, and the whole file has",
        lambda by: _length(by, len(by.good)),
    ),
    Kind(
        "footer of 4 GB", "a footer that says it has 2³² − 1 bytes", "bytes, at most", lambda by: _length(by, 2**32 - 1)
    ),
    Kind(
        "footer cut short",
        "a footer that says it has 100 bytes less than it has",
        "it is damaged: its footer, or the header of a",
        lambda by: _length(by, len(by.good) - 8 - footer_start(by.good) - 100),
    ),
    Kind(
        "footer into the pages",
        "a footer that says it has 100 bytes more than it has",
        "it is damaged: its footer, or the header of a",
        lambda by: _length(by, len(by.good) - 8 - footer_start(by.good) + 100),
    ),
    Kind(
        "footer of zeros",
        "a footer with a zero in the place of each byte",
        "it is damaged: its footer or its pages are",
        lambda by: by.named(with_footer(by.good, bytes(1000))),
    ),
    Kind(
        "pages of zeros",
        "pages with a zero in the place of each byte",
        "it is damaged: its footer or its pages are",
        lambda by: _pages(by, bytes(footer_start(by.good) - 4)),
    ),
    Kind("no pages", "a footer alone", "it is damaged: its footer or its pages are", lambda by: _pages(by, b"")),
    Kind(
        "a column before the file",
        "a column at an offset under 0",
        "it has a column outside of the file",
        lambda by: _elsewhere(by, DATA_OFFSET, -4),
    ),
    Kind(
        "a column behind the file",
        "a column at an offset of 2⁴⁰",
        "it has a column outside of the file",
        lambda by: _elsewhere(by, DATA_OFFSET, 2**40),
    ),
    Kind(
        "a column of no length",
        "a column that says it has −1 bytes",
        "it has a column outside of the file",
        lambda by: _elsewhere(by, PACKED, -1),
    ),
    Kind(
        "a column in another file",
        "a column that says it is in /etc/passwd",
        "it has a column that is in another file",
        lambda by: by.footed(lambda tree: _first_with_path(tree)),
    ),
    Kind(
        "no row group",
        "a footer with rows, and no group of them",
        "5 rows, and its row groups have 0",
        lambda by: by.footed(lambda tree: tree.update({GROUPS: (9, (12, []))})),
    ),
    Kind(
        "no schema",
        "a footer without columns",
        "it has a row group of 11 columns, and 0 in",
        lambda by: by.footed(lambda tree: tree.update({SCHEMA: (9, (12, []))})),
    ),
    Kind(
        "a group without columns",
        "a row group of which each column is missing",
        "it has a row group of 0 columns, and 11 in",
        lambda by: by.footed(lambda tree: tree[GROUPS][1][1][0].update({COLUMNS: (9, (12, []))})),
    ),
]

ODD = [
    Kind(
        "a dictionary at the end of numbers",
        "a dictionary at the offset 2⁶³ − 1",
        "",
        lambda by: _elsewhere(by, DICTIONARY_OFFSET, 2**63 - 1),
    ),
]


def _first_with_path(tree: dict[int, tuple[int, object]]) -> None:
    chunk = columns(tree)[0]
    inside = dict(chunk)
    chunk.clear()
    chunk.update({1: string("/etc/passwd"), **inside})
