"""Rows that no device could have measured."""

from __future__ import annotations

import math

import pyarrow as pa

from benchmarks.hostile.sender import FIRST, MICROS, Files, Kind, Sender

YEAR = 365 * 86_400_000_000
TIME = pa.timestamp("us", "UTC")
BINARY, TEXT, REAL, DOUBLE = pa.binary(), pa.string(), pa.float32(), pa.float64()


def _seq(by: Sender, *values: int, first: int = FIRST) -> Files:
    return by.column("seq", values, pa.int64(), first)


def _real(by: Sender, name: str, value: float, kind: pa.DataType = REAL) -> Files:
    return by.column(name, [1.0, 1.0, 1.0, 1.0, value], kind)


def _ts(by: Sender, value: int) -> Files:
    return by.column("ts", [value], TIME)


KINDS = [
    Kind(
        "numbers that fall",
        "sequence numbers from the last to the first",
        "its sequence numbers do not rise from the one",
        lambda by: _seq(by, 105, 104, 103, 102, 101, first=105),
    ),
    Kind(
        "a number twice",
        "a sequence number that comes again",
        "its sequence numbers do not rise from the one",
        lambda by: _seq(by, 101, 102, 102, 103, 104),
    ),
    Kind(
        "a number over 10¹²",
        "a sequence number that no name has room for",
        "its sequence numbers run from 101 to",
        lambda by: _seq(by, 101, 102, 103, 104, 10**12),
    ),
    Kind(
        "the highest number of all",
        "a sequence number of 2⁶³ − 1",
        "its sequence numbers run from 101 to",
        lambda by: _seq(by, 101, 102, 103, 104, 2**63 - 1),
    ),
    Kind(
        "number 0",
        "sequence numbers from 0",
        "its sequence numbers run from 0 to 4, 1 to",
        lambda by: _seq(by, 0, 1, 2, 3, 4, first=0),
    ),
    Kind(
        "a number under 0",
        "sequence numbers from −1",
        "its sequence numbers do not rise from the one",
        lambda by: _seq(by, -1, 0, 1, 2, 3, first=0),
    ),
    Kind(
        "not from its name",
        "sequence numbers from 1,000",
        "its sequence numbers do not rise from the one",
        lambda by: _seq(by, 1000, 1001, 1002, 1003, 1004),
    ),
    Kind(
        "what the lake has",
        "other content under numbers that are in the lake",
        "overlap those of batch",
        lambda by: by.named(by.sealed(1, 5, prediction="bad"), 1),
    ),
    Kind(
        "what is waiting",
        "other content under numbers of a batch that waits beside it",
        "overlap those of batch",
        lambda by: by.named(by.sealed(60, 5, prediction="bad"), 60),
    ),
    Kind("a clock that was never set", "events in 1970", "its ts runs from 1970-01-01 00:00 to", lambda by: _ts(by, 0)),
    Kind(
        "a clock of the next century",
        "events in 2100",
        "its ts runs from 2099-11-30 00:00 to",
        lambda by: _ts(by, 130 * YEAR),
    ),
    Kind(
        "a clock at the end of dates",
        "events in the year 9999",
        "its ts runs from 9999-12-31 23:59 to",
        lambda by: _ts(by, 253_402_300_799_000_000),
    ),
    Kind(
        "a clock beyond dates",
        "events in the year 290,000",
        "µs from 1970, outside 2000 to now plus a day.",
        lambda by: _ts(by, 2**63 - 1),
    ),
    Kind(
        "a clock before dates",
        "events 290,000 years before 1970",
        "µs from 1970, outside 2000 to now plus a day.",
        lambda by: _ts(by, -(2**63)),
    ),
    Kind(
        "one event of tomorrow's morrow",
        "one of five events two days ahead",
        "its ts runs from 2024-01-01 00:00 to",
        lambda by: by.column("ts", [MICROS] * 4 + [MICROS + 3 * YEAR // 365], TIME),
    ),
    Kind(
        "weight 0",
        "an event that stands for none",
        "it has weights under 1 or without end",
        lambda by: _real(by, "weight", 0.0),
    ),
    Kind(
        "weight −1",
        "an event that takes another away",
        "it has weights under 1 or without end",
        lambda by: _real(by, "weight", -1.0),
    ),
    Kind(
        "weight NaN",
        "an event that stands for no number of them",
        "it has weights under 1 or without end",
        lambda by: _real(by, "weight", math.nan),
    ),
    Kind(
        "weight without end",
        "an event that stands for all there are",
        "it has weights under 1 or without end",
        lambda by: _real(by, "weight", math.inf),
    ),
    Kind(
        "weight 10³⁰⁰",
        "more than a float32 holds",
        "it has weights under 1 or without end",
        lambda by: _real(by, "weight", 1e300, DOUBLE),
    ),
    Kind(
        "weight 10⁹",
        "more than any device sheds",
        "it has weights under 1 or without end",
        lambda by: _real(by, "weight", 1e9),
    ),
    Kind(
        "confidence −1", "less than none", "it has confidences outside 0 to 1", lambda by: _real(by, "confidence", -1.0)
    ),
    Kind("confidence 2", "more than all", "it has confidences outside 0 to 1", lambda by: _real(by, "confidence", 2.0)),
    Kind(
        "confidence NaN", "no number", "it has confidences outside 0 to 1", lambda by: _real(by, "confidence", math.nan)
    ),
    Kind(
        "latency −1",
        "an answer before its question",
        "it has latencies under 0 or without end",
        lambda by: _real(by, "latency_us", -1.0),
    ),
    Kind(
        "latency NaN",
        "no number",
        "it has latencies under 0 or without end",
        lambda by: _real(by, "latency_us", math.nan),
    ),
    Kind(
        "latency without end",
        "an answer that never came",
        "it has latencies under 0 or without end",
        lambda by: _real(by, "latency_us", math.inf),
    ),
    Kind(
        "a feature without end",
        "f_a is infinite",
        "its column f_a has values without end, or NaN",
        lambda by: _real(by, "f_a", math.inf),
    ),
    Kind(
        "a feature of 10³⁰⁰",
        "more than a float32 holds",
        "its column f_a has values without end, or NaN",
        lambda by: _real(by, "f_a", -1e300, DOUBLE),
    ),
    Kind(
        "a feature that is NaN",
        "no number, in the place of no value",
        "its column f_a has values without end, or NaN",
        lambda by: _real(by, "f_a", math.nan),
    ),
    Kind(
        "a class that is none",
        "prediction is evil",
        "it predicts what is no class of the loop: [",
        lambda by: by.column("prediction", ["evil"], TEXT),
    ),
    Kind(
        "an empty class",
        "prediction is a text without a letter",
        "it predicts what is no class of the loop: [",
        lambda by: by.column("prediction", [""], TEXT),
    ),
    Kind(
        "a class of 1 MB",
        "prediction is a long text",
        "its column prediction has a value of",
        lambda by: by.column("prediction", ["x" * 2**20], TEXT),
    ),
    Kind(
        "a class with a zero byte",
        "prediction is good\\0",
        "it predicts what is no class of the loop: [",
        lambda by: by.column("prediction", ["good\0"], TEXT),
    ),
    Kind(
        "a class of noise",
        "prediction is no UTF-8",
        "it cannot be read: Invalid UTF8 payload",
        lambda by: by.column("prediction", [b"\xff\xfe"], BINARY),
    ),
    Kind(
        "half a letter",
        "prediction is a surrogate in UTF-8",
        "it cannot be read: Invalid UTF8 payload",
        lambda by: by.column("prediction", [b"\xed\xa0\x80"], BINARY),
    ),
    Kind(
        "a release that is a path",
        "release is ../../x",
        "is not the digest of a manifest",
        lambda by: by.column("release", ["../../x"], TEXT),
    ),
    Kind(
        "a release in capitals",
        "release is a digest in upper case",
        "is not the digest of a manifest",
        lambda by: by.column("release", ["A" * 64], TEXT),
    ),
    Kind(
        "a release of noise",
        "release is no UTF-8",
        "it cannot be read: Invalid UTF8 payload",
        lambda by: by.column("release", [b"\xff" * 64], BINARY),
    ),
]
