"""Batches of aggregates whose windows, counts or sketches are wrong."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
from datasketches import kll_floats_sketch

from benchmarks.hostile.sender import MICROS, Files, Kind, Sender, changed
from edgeloop.sketches import HOUR

TIME = pa.timestamp("us", "UTC")


def _sketch(count: int, k: int = 200, value: float = 0.5) -> bytes:
    sketch = kll_floats_sketch(k)
    sketch.update(np.full(count, value, np.float32))
    return bytes(sketch.serialize())


def _bent(place: int, new: bytes) -> bytes:
    found = _sketch(30)
    return found[:place] + new + found[place + len(new) :]


def _hours(by: Sender, hour: int, until: int) -> Files:
    return by.windows(lambda table: changed("until", [until], TIME)(changed("hour", [hour], TIME)(table)))


def _first(by: Sender, name: str, value: object) -> Files:
    return by.cell("event", name, value)


def _held(by: Sender, content: bytes) -> Files:
    return by.cell("f_a", "sketch", content)


def _in_each_of_100_000(table: pa.Table) -> pa.Table:
    rows = table.take([0] * 100_000)
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array([bytes(8192)], pa.binary()))
    return rows.set_column(table.schema.get_field_index("sketch"), "sketch", one)


KINDS = [
    Kind(
        "aggregates of −1 events",
        "a batch that says it is of so many",
        "not a whole number",
        lambda by: by.summing(events="-1"),
    ),
    Kind(
        "aggregates of no events",
        "a batch that says it is of none",
        "it says that it is of 0 events from 101 to 130",
        lambda by: by.summing(events="0"),
    ),
    Kind(
        "aggregates of 10⁶ events",
        "more than a batch may be of",
        "it says that it is of",
        lambda by: by.summing(events="1000000", last_seq="2000000"),
    ),
    Kind(
        "aggregates of other events",
        "a batch that says it is of 29, and counts 30",
        "it says that it is of 29 events, and counts 30",
        lambda by: by.summing(events="29"),
    ),
    Kind(
        "aggregates that end before they begin",
        "the last sequence number is 1",
        "it says that it is of 30 events from 101 to 1",
        lambda by: by.summing(last_seq="1"),
    ),
    Kind(
        "aggregates beyond all numbers",
        "the last sequence number is 10¹²",
        "it says that it is of 30 events from 101 to",
        lambda by: by.summing(last_seq=str(10**12)),
    ),
    Kind(
        "aggregates that say no number",
        "no last sequence number",
        "it does not say its last_seq. Send batches as",
        lambda by: by.summing(last_seq=None),
    ),
    Kind(
        "aggregates of events",
        "aggregates that say they are events",
        "confidence is missing",
        lambda by: by.summing(kind="events"),
    ),
    Kind(
        "aggregates of what the lake has",
        "numbers that are in the lake as events",
        "overlap those of batch",
        lambda by: by.named(next(iter(by.summing().values())), 1),
    ),
    Kind(
        "a window of half hours",
        "from half past",
        "it has windows that are no whole hours",
        lambda by: _hours(by, MICROS + HOUR // 2, MICROS + HOUR),
    ),
    Kind(
        "a window that ends first",
        "until before hour",
        "it has windows that are no whole hours",
        lambda by: _hours(by, MICROS + HOUR, MICROS),
    ),
    Kind(
        "a window without time",
        "until is hour",
        "it has windows that are no whole hours",
        lambda by: _hours(by, MICROS, MICROS),
    ),
    Kind(
        "a window of 1970",
        "from a clock that was never set",
        "its hour runs from 1970-01-01 00:00 to",
        lambda by: _hours(by, 0, HOUR),
    ),
    Kind(
        "a window into the future",
        "until the year 2100",
        "its until runs from 2103-11-09 16:00 to",
        lambda by: _hours(by, MICROS, MICROS + 700_000 * HOUR),
    ),
    Kind(
        "a window without end",
        "until the last hour of 64 bits",
        "µs from 1970, outside 2000 to now plus a day.",
        lambda by: _hours(by, MICROS, (2**63 - 1) // HOUR * HOUR),
    ),
    Kind(
        "a measure that is none",
        "a measure of what the loop has not",
        "which this loop does not",
        lambda by: _first(by, "measure", "f_z"),
    ),
    Kind(
        "a measure of 1 MB",
        "a long name",
        "its column measure has a value of",
        lambda by: _first(by, "measure", "f" * 2**20),
    ),
    Kind(
        "a measure missing",
        "a window without latency",
        "it has a window without some of the loop's",
        lambda by: by.windows(lambda t: t.filter(pa.compute.not_equal(t["measure"], "latency_us"))),
    ),
    Kind(
        "a class of aggregates that is none",
        "value is evil",
        "it predicts what is no class of the loop",
        lambda by: by.cell("prediction", "value", "evil"),
    ),
    Kind(
        "a class of a feature",
        "a value where none can be",
        "it predicts what is no class of the loop",
        lambda by: by.cell("f_a", "value", "good"),
    ),
    Kind(
        "a count of −1",
        "a window of so many events",
        "it counts -1 events of weight 30",
        lambda by: _first(by, "events", -1),
    ),
    Kind(
        "a count of 0", "a window of no events", "it counts 0 events of weight 30", lambda by: _first(by, "events", 0)
    ),
    Kind(
        "a count of 2⁶³ − 1",
        "a window of so many events",
        "events of weight 30",
        lambda by: _first(by, "events", 2**63 - 1),
    ),
    Kind(
        "a weight under its count",
        "30 events of weight 1",
        "it counts 30 events of weight 1",
        lambda by: _first(by, "weight", 1),
    ),
    Kind(
        "a weight of 2⁶³ − 1",
        "30 events of so much weight",
        "it counts 30 events of weight",
        lambda by: _first(by, "weight", 2**63 - 1),
    ),
    Kind(
        "counts that do not add up",
        "31 events that become 30",
        "it counts 31 events of weight 30",
        lambda by: _first(by, "events", 31),
    ),
    Kind(
        "a sketch of events",
        "a sketch where none can be",
        "it has a sketch of",
        lambda by: _first(by, "sketch", _sketch(30)),
    ),
    Kind(
        "a sketch of noise",
        "bytes that are none",
        "a sketch is not a KLL sketch of k = 200",
        lambda by: _held(by, bytes(range(200))),
    ),
    Kind("an empty sketch", "no bytes", "a sketch has 0 bytes, 9 to 8192 are taken", lambda by: _held(by, b"")),
    Kind(
        "a sketch of nothing",
        "a sketch without a value",
        "a sketch has 8 bytes, 9 to 8192 are taken",
        lambda by: _held(by, _sketch(0)),
    ),
    Kind(
        "a sketch cut off",
        "a sketch without its second half",
        "a sketch has levels that it cannot have",
        lambda by: _held(by, _sketch(30)[:70]),
    ),
    Kind(
        "a sketch of 1 MB",
        "more bytes than one may have",
        "its column sketch has a value of",
        lambda by: _held(by, bytes(2**20)),
    ),
    Kind(
        "a sketch of 10 MB in each row",
        "by a dictionary",
        "its column sketch has a value of",
        lambda by: by.windows(lambda t: changed("sketch", [bytes(10 * 2**20)], pa.binary())(t)),
    ),
    Kind(
        "a sketch of 8 KB in 100,000 rows",
        "of which there is one in the file, by a dictionary, and as many in what is read",
        "its column sketch unpacks to 819200000 bytes",
        lambda by: by.windows(_in_each_of_100_000),
    ),
    Kind(
        "a sketch of another size",
        "k = 400",
        "a sketch is not a KLL sketch of k = 200",
        lambda by: _held(by, _sketch(30, 400)),
    ),
    Kind(
        "a sketch of 29",
        "a sketch that holds a value less than its row says",
        "a sketch holds 29 values, its row says 30",
        lambda by: _held(by, _sketch(29)),
    ),
    Kind(
        "a sketch that says 10¹⁸",
        "a sketch that says it holds so many",
        "a sketch is of other weight than its items",
        lambda by: _held(by, _bent(8, struct.pack("<Q", 10**18))),
    ),
    Kind(
        "a sketch of 255 levels",
        "more than there are",
        "a sketch has levels that it cannot have",
        lambda by: _held(by, _bent(18, b"\xff")),
    ),
    Kind(
        "a sketch that begins elsewhere",
        "items out of the sketch's bounds",
        "a sketch has other items than its levels say",
        lambda by: _held(by, _bent(20, struct.pack("<I", 2**31))),
    ),
    Kind(
        "a sketch of NaN",
        "an item that is no number",
        "a sketch has values that are no numbers, or",
        lambda by: _held(by, _bent(40, struct.pack("<f", float("nan")))),
    ),
    Kind(
        "a sketch without end",
        "a lowest value that is none",
        "a sketch has values that are no numbers, or",
        lambda by: _held(by, _bent(24, struct.pack("<f", float("-inf")))),
    ),
    Kind(
        "a sketch of confidence 2",
        "more than all",
        "it has confidences outside 0 to 1",
        lambda by: by.cell("confidence", "sketch", _sketch(30, value=2.0)),
    ),
]
