"""Label files that are wrong."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from benchmarks.hostile.sender import NOW, Files, Kind, Sender, parquet
from tests.site import START

TIME = pa.timestamp("us", "UTC")


def _table(by: Sender, **columns: pa.Array) -> pa.Table:
    row = {
        "device": pa.array([by.name]),
        "ts": pa.array([START], TIME),
        "label": pa.array(["good"]),
        "known_at": pa.array([START], TIME),
    }
    return pa.table({**row, **columns})


def _without(by: Sender, name: str) -> Files:
    return by.labels(_table(by).drop_columns([name]))


def _placed(by: Sender, path: str) -> Files:
    return {f"{by.config.layout.labels}/{path}": parquet(_table(by))}


KINDS = [
    Kind(
        "labels in no folder",
        "a label file of no source",
        "it is not at labels/<source>/<file>",
        lambda by: _placed(by, f"{by.name}.parquet"),
    ),
    Kind(
        "labels a folder deeper",
        "a label file in a folder of its source's",
        "it is not at labels/<source>/<file>",
        lambda by: _placed(by, f"{by.name}/deeper/x.parquet"),
    ),
    Kind(
        "labels of a source that is no id",
        "a source called -rf",
        "cannot be part of a path. Use 1 to 64",
        lambda by: _placed(by, f"-rf {by.name}/x.parquet"),
    ),
    Kind("empty labels", "a label file without a byte", "it has 0 bytes, 1 to", lambda by: by.labels(b"")),
    Kind(
        "labels over the size",
        "a byte more than a label file may have",
        "bytes, 1 to",
        lambda by: by.labels(bytes(16 * 2**20 + 1)),
    ),
    Kind(
        "labels as CSV",
        "text",
        "it is no Parquet file, or its end is missing:",
        lambda by: by.labels(b"device,ts,label,known_at\n" * 10),
    ),
    Kind(
        "torn labels",
        "a label file that broke off",
        "it is no Parquet file, or its end is missing:",
        lambda by: by.labels(parquet(_table(by))[:400]),
    ),
    Kind(
        "no labels", "a label file without a row", "it has 0 rows, 1 to", lambda by: by.labels(_table(by).slice(0, 0))
    ),
    Kind(
        "100,001 labels",
        "more than a file may have",
        "rows, 1 to",
        lambda by: by.labels(pa.concat_tables([_table(by)] * 100_001).combine_chunks()),
    ),
    Kind("labels without a device", "that column missing", "device is missing", lambda by: _without(by, "device")),
    Kind("labels without known_at", "that column missing", "known_at is missing", lambda by: _without(by, "known_at")),
    Kind(
        "labels twice",
        "two columns of labels",
        "label is one too many",
        lambda by: by.labels(_table(by).append_column("label", pa.array(["bad"]))),
    ),
    Kind(
        "labels as numbers",
        "label is 1",
        "its column label is int64, expected string",
        lambda by: by.labels(_table(by, label=pa.array([1]))),
    ),
    Kind(
        "labels in a struct",
        "label has an inside",
        "its column label has columns in it, and is no",
        lambda by: by.labels(_table(by, label=pa.array([{"a": "good"}]))),
    ),
    Kind(
        "labels at times that are text",
        "ts is a text",
        "its column ts is string, expected",
        lambda by: by.labels(_table(by, ts=pa.array(["never"]))),
    ),
    Kind("a label that is empty", "no label", "its column label has empty values", lambda by: by.label(label=None)),
    Kind(
        "a label that is no class",
        "label is evil",
        "it has labels that are no class of the loop:",
        lambda by: by.label(label="evil"),
    ),
    Kind("a label of 1 MB", "a long text", "its column label has a value of", lambda by: by.label(label="x" * 2**20)),
    Kind(
        "a label of noise",
        "no UTF-8",
        "it cannot be read: Invalid UTF8 payload",
        lambda by: by.labels(_table(by, label=pa.array([b"\xff"]))),
    ),
    Kind(
        "a label of 1970",
        "of an event from a clock that was never set",
        "its ts runs from 1970-01-01 00:00 to",
        lambda by: by.label(ts=START.replace(year=1970)),
    ),
    Kind(
        "a label of the future",
        "of an event in three days",
        "its ts runs from 2024-01-05 00:00 to",
        lambda by: by.label(ts=NOW + timedelta(days=3)),
    ),
    Kind(
        "a label known in the future",
        "known in three days",
        "its known_at runs from 2024-01-05 00:00 to",
        lambda by: by.label(known_at=NOW + timedelta(days=3)),
    ),
    Kind(
        "a label for a device of 300 letters",
        "longer than an id",
        "its column device has a value of 300 bytes,",
        lambda by: by.label(device="d" * 300),
    ),
    Kind(
        "a device of 1 MB in each label",
        "by a dictionary",
        "its column device has a value of",
        lambda by: by.labels(_table(by, device=pa.array(["d" * 2**20]).dictionary_encode()).take([0] * 5000)),
    ),
]
