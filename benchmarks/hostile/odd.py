"""What is odd and good: it looks as if it meant harm, and is to be in the lake, value for value."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from benchmarks.hostile.footers import footer_start
from benchmarks.hostile.sender import MICROS, Files, Kind, Sender, floats, rewritten

SECONDS = range(101, 106)


def _times(by: Sender, kind: pa.DataType, a_second: int) -> Files:
    return by.column("ts", [(MICROS // 1_000_000 + s) * a_second for s in SECONDS], kind)


def _twice(by: Sender) -> Files:
    end = by.good[footer_start(by.good) :]
    return by.named(by.good + end)


KINDS = [
    Kind("as a device seals it", "a batch as ever, to compare with", "", lambda by: by.named(by.good)),
    Kind("as pyarrow writes it", "other codec, statistics, an Arrow schema", "", lambda by: by.rows(lambda t: t)),
    Kind(
        "as version 1",
        "plain floats, and a prefix to each word",
        "",
        lambda by: by.named(rewritten(by.good, floats, {"schema": "1"})),
    ),
    Kind("two footers", "a file that was written on, as the format allows", "", _twice),
    Kind("many row groups and pages", "a row a group", "", lambda by: by.rows(lambda t: t, row_group_size=1)),
    Kind("pages of version 2", "", "", lambda by: by.rows(lambda t: t, data_page_version="2.0")),
    Kind(
        "text with room for more", "large_string", "", lambda by: by.column("prediction", ["good"], pa.large_string())
    ),
    Kind("text as a view", "string_view", "", lambda by: by.column("prediction", ["good"], pa.string_view())),
    Kind(
        "text as bytes",
        "UTF-8 that does not say that it is text",
        "",
        lambda by: by.column("prediction", [b"good"], pa.binary()),
    ),
    Kind("times in milliseconds", "", "", lambda by: _times(by, pa.timestamp("ms", "UTC"), 1000)),
    Kind("times in nanoseconds", "", "", lambda by: _times(by, pa.timestamp("ns", "UTC"), 10**9)),
    Kind(
        "times of Berlin",
        "the same instants in another zone",
        "",
        lambda by: _times(by, pa.timestamp("us", "Europe/Berlin"), 10**6),
    ),
    Kind("times of no zone", "taken as UTC", "", lambda by: _times(by, pa.timestamp("us"), 10**6)),
    Kind(
        "times of 96 bits",
        "as older writers had them",
        "",
        lambda by: by.rows(lambda t: t, use_deprecated_int96_timestamps=True),
    ),
    Kind("numbers of 64 bits", "f_b as a float64", "", lambda by: by.column("f_b", [-1.5], pa.float64())),
    Kind("numbers of 16 bits", "f_b as a float16", "", lambda by: by.column("f_b", [-1.5], pa.float16())),
    Kind("whole numbers of 8 bits", "f_mode as an int8", "", lambda by: by.column("f_mode", [0], pa.int8())),
    Kind("a decimal of 38 digits", "f_b", "", lambda by: by.column("f_b", [Decimal("-1.5")], pa.decimal128(38, 30))),
    Kind("more words", "metadata that nobody knows", "", lambda by: by.wording(colour="blue")),
]
