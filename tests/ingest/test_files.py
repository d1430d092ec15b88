"""What a device seals and what a label source writes: read back, it is what was put in, whatever that was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.decimals import LARGEST
from edge_runtime.spool import Event
from edgeloop.errors import DataError
from edgeloop.events import LABELS, batch_schema
from ingest.checks.check import check_batch, check_labels, read_batch
from tests.ingest.batches import column, named, rewrite, seal
from tests.ingest.batches import events as batch_events
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)
SINCE = datetime(2000, 1, 1, tzinfo=UTC)
micros = st.integers(int(SINCE.timestamp() * 1e6), int(NOW.timestamp() * 1e6))
classes = st.sampled_from(["good", "bad"])
tenths = st.integers(-9999, 9999).map(lambda n: float(np.float32(n / 10)))
reals = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def batches(draw: st.DrawFn) -> list[Event]:
    """Events as a spool may hold them: gaps where some were shed, before and after a first release, values missing."""
    seq, found = 0, []
    kinds = draw(st.lists(st.sampled_from([reals, tenths]), min_size=4, max_size=4))
    for _ in range(draw(st.integers(1, 12))):
        seq += draw(st.integers(1, 1000))
        release = draw(st.none() | st.text("0123456789abcdef", min_size=64, max_size=64))
        label = draw(classes) if release else None
        confidence = draw(st.floats(0, 1, width=32)) if label else None
        latency = draw(st.floats(0, 1e6, width=32)) if release else None
        inputs = [draw(st.none() | kind) for kind in kinds]
        weight = float(2 ** draw(st.integers(0, 20)))
        found.append(Event(seq, draw(micros), release, label, confidence, latency, inputs, weight))
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@given(events=batches(), epoch=st.integers(1, 999_999))
def test_batches_round_trip(site: Site, events: list[Event], epoch: int) -> None:
    path, content = seal(site, events, epoch=epoch)
    batch = check_batch(path, content, site.config, NOW)
    assert (batch.device, batch.epoch, batch.rows) == ("d1", epoch, len(events))
    assert (batch.first_seq, batch.last_seq) == (events[0].seq, events[-1].seq)
    rows = read_batch(content, site.config)
    assert rows["ts"].cast(pa.int64()).to_pylist() == [e.ts for e in events]
    for name in ("seq", "release", "prediction", "weight"):
        assert rows[name].to_pylist() == [getattr(e, name) for e in events]
    assert bits(rows["confidence"].to_pylist()) == bits([at_most(e.confidence, 4) for e in events])
    latency = [None if e.latency_us is None else at_most(float(f"{e.latency_us:.3g}"), 1) for e in events]
    assert bits(rows["latency_us"].to_pylist()) == bits(latency)
    for i, name in enumerate(site.config.schema().columns):
        assert bits(rows[name].to_pylist()) == bits([e.inputs[i] for e in events])


def at_most(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)


def bits(values: Sequence[float | None]) -> list[bytes | None]:
    return [None if value is None else np.float32(value).tobytes() for value in values]


@given(st.integers(0, 6), st.lists(st.integers(-LARGEST, LARGEST), min_size=1, max_size=60))
def test_a_decimal_of_a_device_is_to_the_centre_the_float32_that_it_was(
    site: Site, scale: int, numbers: list[int]
) -> None:
    was = [float(np.float32(n / 10**scale)) for n in numbers]
    rows = batch_events(1, len(was))
    for event, value in zip(rows, was, strict=True):
        event.inputs = [value, None, 0.0, 0.0]
    _, content = seal(site, rows)
    assert bits(read_batch(content, site.config)["f_a"].to_pylist()) == bits(was)


@pytest.mark.parametrize(
    ("name", "value", "kind", "found"),
    [
        ("f_a", "0." + "0" * 37 + "1", pa.decimal128(38, 38), np.float32(1e-38)),
        ("f_a", "9" * 38, pa.decimal128(38, 0), np.float32(1e38)),
        ("f_a", "9" * 76, pa.decimal256(76, 0), "values without end"),
        ("confidence", "1.8", pa.decimal128(9, 1), "confidences outside"),
        ("weight", "0.5", pa.decimal128(9, 1), "weights under 1"),
        ("seq", "1.5", pa.decimal128(9, 1), "expected int64"),
        ("prediction", "1.5", pa.decimal128(9, 1), "expected string"),
    ],
)
def test_a_hostile_decimal_is_its_value_or_refused(
    site: Site, name: str, value: str, kind: pa.DataType, found: object
) -> None:
    _, content = seal(site, batch_events(1, 1))
    path, content = rewrite(site, content, column(name, [Decimal(value)], kind))
    if isinstance(found, str):
        with pytest.raises(DataError, match=found):
            check_batch(path, content, site.config, NOW)
    else:
        check_batch(path, content, site.config, NOW)
        assert read_batch(content, site.config)[name].to_pylist() == [found]


@pytest.mark.parametrize("digits", [-1, 0, 1, 2, 38, 77])
def test_a_decimal_that_lies_about_its_digits_is_its_value_or_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, digits: int
) -> None:
    monkeypatch.setattr("edge_runtime.parquet.DIGITS", digits)
    path, content = seal(site, [event for i in range(40) for event in batch_events(1 + i, 1, inputs=[i / 2, 0, 0, 0])])
    if 1 <= digits <= 76:
        check_batch(path, content, site.config, NOW)
        assert read_batch(content, site.config)["f_a"].to_pylist() == [i / 2 for i in range(40)]
    else:
        with pytest.raises(DataError, match="precision"):
            check_batch(path, content, site.config, NOW)


@given(events=batches())
def test_a_batch_of_version_1_is_read_as_ever(site: Site, events: list[Event]) -> None:
    rows = read_batch(seal(site, events)[1], site.config)
    path, content = rewrite(site, seal(site, events)[1], lambda _: rows, {"edgeloop.schema": "1"}, events[0].seq)
    check_batch(path, content, site.config, NOW)
    assert read_batch(content, site.config).equals(rows)


def test_duckdb_reads_of_a_batch_what_arrow_reads(site: Site, tmp_path: Path) -> None:
    _, content = seal(
        site, [*batch_events(1, 200), *batch_events(300, 200, release="a" * 64, inputs=[None, 0.1, 2.0, 3.0])]
    )
    (tmp_path / "batch.parquet").write_bytes(content)
    reals = ", ".join(
        f"{f.name}::DOUBLE::FLOAT AS {f.name}" for f in batch_schema(site.config.schema()) if f.type == "float"
    )
    found = duckdb.sql(f"SELECT * REPLACE ({reals}) FROM '{tmp_path}/batch.parquet'").to_arrow_table()
    assert found.cast(batch_schema(site.config.schema())).equals(read_batch(content, site.config))


@given(rows=st.lists(st.tuples(st.text(max_size=60), micros, classes, micros), min_size=1, max_size=12))
def test_label_files_round_trip(site: Site, rows: list[tuple[str, int, str, int]]) -> None:
    columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), LABELS.types, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=LABELS), sink)
    found = check_labels(sink.getvalue().to_pybytes(), site.config, NOW)
    assert found.to_pydict() == pa.table(columns, schema=LABELS).to_pydict()


@given(content=st.binary(max_size=300))
def test_no_bytes_crash_a_check(site: Site, content: bytes) -> None:
    path, _ = named(site, content)
    for bytes_ in (content, b"PAR1" + content + b"PAR1"):
        with pytest.raises(DataError):
            check_labels(bytes_, site.config, NOW)
    with pytest.raises(DataError):
        check_batch(path, content, site.config, NOW)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_a_batch_with_any_bytes_changed_is_taken_whole_or_refused(
    site: Site, changes: list[tuple[int, int]], labels: bool
) -> None:
    _, good = seal(site, batch_events(1, 40))
    content = bytearray(good)
    for place, value in changes:
        content[place % len(content)] = value
    path, bent = named(site, bytes(content))
    try:
        if labels:
            check_labels(bent, site.config, NOW)
        elif check_batch(path, bent, site.config, NOW):
            assert read_batch(bent, site.config).num_rows == 40
    except DataError:
        pass


def test_no_count_in_a_footer_makes_a_batch_shorter(site: Site) -> None:
    _, good = seal(site, batch_events(1, 40))
    for place in range(len(good) - 8 - int.from_bytes(good[-8:-4], "little"), len(good) - 8):
        path, bent = named(site, good[:place] + b"\2" + good[place + 1 :])  # one, as Thrift writes it
        with suppress(DataError):
            check_batch(path, bent, site.config, NOW)
            assert read_batch(bent, site.config).num_rows == 40
