"""Bytes an event against gzipped JSON lines of the same."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.air_quality import batches, plain, read_example
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import Event
from edgeloop.schema import FeatureSchema
from tests.site import START

SIZES = {300: 60, 3_000: 10, 100_000: 1}
"""Rows of a batch, and how many such batches."""


def json_lines(events: Sequence[Event], content: bytes, schema: FeatureSchema) -> bytes:
    """What the batch `content` says, in the words that one would use: an object a line."""
    words = {k.decode(): v.decode() for k, v in pq.read_metadata(pa.BufferReader(content)).metadata.items()}
    lines = [words]
    for e in events:
        latency = None if e.latency_us is None else round(float(f"{e.latency_us:.3g}"), 1)
        line = {"seq": e.seq, "ts": e.ts, "release": e.release, "prediction": e.prediction}
        confidence = None if e.confidence is None else round(e.confidence, 4)
        line |= {"confidence": confidence, "latency_us": latency, "weight": e.weight}
        lines.append(line | dict(zip(schema.names, map(plain, e.inputs), strict=True)))
    return "\n".join(map(json.dumps, lines)).encode()


def main() -> None:
    config, events = read_example()
    settings = DeviceSettings(1, config.name, "Dongsi", "memory://", config.schema(), config.device)
    print("bytes an event       batch   gzipped JSON lines   ratio   sealing, ms of CPU an event")
    for rows, most in SIZES.items():
        sealed = text = total = 0
        seconds = 0.0
        for chosen in batches(events, rows, most):
            began = time.process_time()
            batch = seal_batch(chosen, settings, 1, 0, START)
            seconds += time.process_time() - began
            sealed, total = sealed + len(batch.content), total + rows
            text += len(gzip.compress(json_lines(chosen, batch.content, config.schema())))
        print(
            f"{rows:7,} rows {sealed / total:13.1f} {text / total:20.1f} {sealed / text:7.2f} {seconds / total * 1000:19.2f}"
        )
    where(events[:300], settings)


def where(events: Sequence[Event], settings: DeviceSettings) -> None:
    """Where the bytes of one batch are."""
    content = seal_batch(events, settings, 1, 0, START).content
    group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    columns = {c.path_in_schema: c.total_compressed_size for c in map(group.column, range(group.num_columns))}
    found = ", ".join(f"{name} {size}" for name, size in columns.items())
    print(f"of {len(content)} bytes of {len(events)} rows: {found}, the rest {len(content) - sum(columns.values())}")


if __name__ == "__main__":
    main()
