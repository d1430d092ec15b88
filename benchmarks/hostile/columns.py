"""Columns that are missing, too many, in the wrong place or of the wrong type."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pyarrow as pa

from benchmarks.hostile.footers import WORDS
from benchmarks.hostile.sender import MICROS, ROWS, Files, Kind, Sender
from edge_runtime.thrift import string

DAY = 86_400_000_000


def _renamed(by: Sender, old: str, new: str) -> Files:
    return by.rows(lambda table: table.rename_columns([new if name == old else name for name in table.column_names]))


def _typed(by: Sender, name: str, kind: pa.DataType, *values: object) -> Files:
    return by.column(name, values or (1,), kind)


class _Pickled(pa.ExtensionType):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(pa.int64(), "arrow.py_extension_type")

    def __arrow_ext_serialize__(self) -> bytes:
        return pickle.dumps(print)

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> _Pickled:
        return cls()


def _extended(by: Sender) -> Files:
    def change(table: pa.Table) -> pa.Table:
        column = pa.ExtensionArray.from_storage(_Pickled(), table["seq"].combine_chunks())
        return table.set_column(0, "seq", column)

    return by.rows(change)


def _with_arrow_schema(by: Sender, value: str) -> Files:
    return by.footed(lambda tree: tree[WORDS][1][1].append({1: string("ARROW:schema"), 2: string(value)}))


KINDS = [
    Kind(
        "a column missing",
        "a batch without weights",
        "weight is missing",
        lambda by: by.rows(lambda t: t.drop_columns(["weight"])),
    ),
    Kind(
        "a feature missing",
        "a batch without a feature",
        "f_a is missing",
        lambda by: by.rows(lambda t: t.drop_columns(["f_a"])),
    ),
    Kind(
        "a column too many",
        "a batch with a column of its own",
        "extra is one too many",
        lambda by: by.rows(lambda t: t.append_column("extra", pa.array([1] * ROWS))),
    ),
    Kind(
        "a column of the lake's",
        "a batch that says itself what device it is of",
        "device is one too many",
        lambda by: by.rows(lambda t: t.append_column("device", pa.array(["honest"] * ROWS))),
    ),
    Kind("a column renamed", "f_a is called f_z", "f_a is missing", lambda by: _renamed(by, "f_a", "f_z")),
    Kind("a column in capitals", "SEQ for seq", "seq is missing", lambda by: _renamed(by, "seq", "SEQ")),
    Kind(
        "a column without a name", "the name of a column is empty", "f_a is missing", lambda by: _renamed(by, "f_a", "")
    ),
    Kind(
        "a name with a zero byte", "a column called f_a\\0", "f_a is missing", lambda by: _renamed(by, "f_a", "f_a\0")
    ),
    Kind(
        "columns in another order",
        "the last column first",
        "its columns are in another order than seq,",
        lambda by: by.rows(lambda t: t.select(t.column_names[::-1])),
    ),
    Kind(
        "a column twice",
        "f_a is there two times",
        "f_a is one too many",
        lambda by: by.rows(lambda t: t.append_column("f_a", t["f_a"])),
    ),
    Kind(
        "text for a number",
        "a feature as text",
        "its column f_a is string, expected float",
        lambda by: _typed(by, "f_a", pa.string(), "12"),
    ),
    Kind(
        "a number for text",
        "a prediction as a number",
        "its column prediction is int64, expected",
        lambda by: _typed(by, "prediction", pa.int64()),
    ),
    Kind(
        "bytes for a number",
        "a feature as bytes",
        "its column f_a is binary, expected float",
        lambda by: _typed(by, "f_a", pa.binary(), b"12"),
    ),
    Kind(
        "truth for a number",
        "a feature as true and false",
        "its column f_a is bool, expected float",
        lambda by: _typed(by, "f_a", pa.bool_(), True),
    ),
    Kind(
        "nothing for text",
        "a prediction of the type of nothing",
        "its column prediction is null, expected string",
        lambda by: _typed(by, "prediction", pa.null(), None),
    ),
    Kind(
        "numbers in the dictionary of text",
        "a prediction as a dictionary of numbers",
        "its column prediction is int64, expected",
        lambda by: _typed(by, "prediction", pa.dictionary(pa.int32(), pa.int64()), 5),
    ),
    Kind(
        "a list for a number",
        "a feature as a list",
        "its column f_a is list<element: float>,",
        lambda by: _typed(by, "f_a", pa.list_(pa.float32()), [1.0]),
    ),
    Kind(
        "a list for text",
        "a prediction as a list",
        "its column prediction has columns in it, and",
        lambda by: _typed(by, "prediction", pa.list_(pa.string()), ["good"]),
    ),
    Kind(
        "a struct for a number",
        "a sequence number as a struct",
        "its column seq is struct<seq: int64>,",
        lambda by: _typed(by, "seq", pa.struct([("seq", pa.int64())]), {"seq": 101}),
    ),
    Kind(
        "a map for a number",
        "a feature as a map",
        "its column f_a is map<string, float",
        lambda by: _typed(by, "f_a", pa.map_(pa.string(), pa.float32()), [("a", 1.0)]),
    ),
    Kind(
        "a date for a time",
        "ts as days",
        "its column ts is date32[day], expected",
        lambda by: _typed(by, "ts", pa.date32(), 19723),
    ),
    Kind(
        "a duration for a time",
        "ts as a duration",
        "its column ts is duration[us], expected",
        lambda by: _typed(by, "ts", pa.duration("us"), MICROS),
    ),
    Kind(
        "a time of day for a time",
        "ts as microseconds since midnight",
        "its column ts is time64[us], expected",
        lambda by: _typed(by, "ts", pa.time64("us"), 5),
    ),
    Kind(
        "a time that is too fine",
        "ts in nanoseconds, and not whole microseconds",
        "it cannot be read: Casting from timestamp[ns,",
        lambda by: _typed(by, "ts", pa.timestamp("ns", "UTC"), MICROS * 1000 + 1),
    ),
    Kind(
        "a fraction for a whole number",
        "a sequence number and a half",
        "its column seq is double, expected int64",
        lambda by: _typed(by, "seq", pa.float64(), 101.5),
    ),
    Kind(
        "a whole number that is too large",
        "an unsigned sequence number of 2⁶⁴ − 1",
        "it cannot be read: Integer value",
        lambda by: _typed(by, "seq", pa.uint64(), 2**64 - 1),
    ),
    Kind(
        "no sequence number",
        "one that is empty",
        "its column seq has empty values",
        lambda by: _typed(by, "seq", pa.int64(), 101, 102, None, 104, 105),
    ),
    Kind(
        "no time",
        "one that is empty",
        "its column ts has empty values",
        lambda by: _typed(by, "ts", pa.timestamp("us", "UTC"), *[MICROS] * 4, None),
    ),
    Kind(
        "no weight",
        "one that is empty",
        "its column weight has empty values",
        lambda by: _typed(by, "weight", pa.float32(), 1, 1, 1, 1, None),
    ),
    Kind(
        "a decimal of 76 digits",
        "a feature of 10⁷⁶ − 1",
        "its column f_a has values without end, or NaN",
        lambda by: _typed(by, "f_a", pa.decimal256(76, 0), Decimal("9" * 76)),
    ),
    Kind(
        "a fraction of a sequence number",
        "a decimal with a digit behind the point",
        "its column seq is decimal128(9, 1), expected",
        lambda by: _typed(by, "seq", pa.decimal128(9, 1), Decimal("101.5")),
    ),
    Kind(
        "an Arrow schema of noise",
        "the schema that pyarrow keeps in the metadata, of bytes that are none",
        "it cannot be read: Invalid base64 input:",
        lambda by: _with_arrow_schema(by, "/////" + "QUJD" * 50),
    ),
]

ODD = [
    Kind("a pickle in the schema", "an extension type that Python would run", "", _extended),
]
