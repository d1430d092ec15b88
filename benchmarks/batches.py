"""Bytes an event against gzipped JSON lines, and ingest against bare decoding of the same files."""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge_runtime.spool import Event
from ingest.run import ingest
from tests.ingest.batches import seal
from tests.site import START, Site, make_site

BATCHES, ROWS = 300, 300


def rows(first: int, draw: np.random.Generator) -> list[Event]:
    """Readings as a sensor gives them: slow, with few decimals."""
    start = int(START.timestamp()) * 1_000_000
    walk = np.cumsum(draw.normal(scale=0.1, size=(ROWS, 4)), axis=0).round(2)
    confidence = draw.random(ROWS)
    return [
        Event(
            first + i,
            start + (first + i) * 1_000_000,
            "f" * 64,
            "good",
            float(confidence[i]),
            8.5,
            [float(v) for v in walk[i]],
        )
        for i in range(ROWS)
    ]


def decode(site: Site) -> float:
    """Seconds to read and decode every waiting batch, and nothing else."""
    began = time.perf_counter()
    tables = [
        pq.read_table(pa.BufferReader(site.store.read(e.path))) for e in site.store.list(site.config.layout.inbox)
    ]
    assert sum(t.num_rows for t in tables) == BATCHES * ROWS
    return time.perf_counter() - began


def main() -> None:
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        site = make_site(Path(name))
        sealed = text = 0
        for i in range(BATCHES):
            events = rows(1 + i * ROWS, draw)
            path, content = seal(site, events)
            site.store.create(path, content)
            sealed += len(content)
            lines = "\n".join(
                json.dumps([e.seq, e.ts, e.release, e.prediction, e.confidence, e.latency_us, e.inputs]) for e in events
            )
            text += len(gzip.compress(lines.encode()))
        floor = decode(site)
        began = time.perf_counter()
        report = ingest(site.store, site.lake, site.config, START + timedelta(days=9))
        ours = time.perf_counter() - began
        assert report.rows == BATCHES * ROWS
    events_total = BATCHES * ROWS
    print(
        f"bytes an event: batch {sealed / events_total:.1f}, gzipped JSON lines {text / events_total:.1f}, ratio {sealed / text:.2f}"
    )
    print(f"{BATCHES} batches of {ROWS}: decode {floor:.2f} s, ingest {ours:.2f} s, ratio {ours / floor:.2f}")


if __name__ == "__main__":
    main()
