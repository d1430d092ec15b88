from __future__ import annotations

import random
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import edge_runtime.settings
from edge_runtime.aggregates import Aggregate, aggregate, sketch
from edge_runtime.device import Device
from edge_runtime.groups import Event
from edge_runtime.settings import Shipped, read_settings
from edgeloop.errors import ConfigError
from edgeloop.schema import Feature, FeatureSchema
from edgeloop.sketches import HOUR
from ingest.derived.sketches import samples
from tests.ingest.batches import events, seal_aggregated
from tests.site import LOOP, START, Site, make_site, readings

AGGREGATED = LOOP + '[privacy]\nship = "aggregates"\n'
SCHEMA = FeatureSchema((Feature("a"), Feature("b")))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, AGGREGATED)


def event(seq: int, minute: float, a: float, *, label: str = "good", weight: float = 1.0) -> Event:
    return Event(seq, int(minute * 60e6), "r", label, 0.5, 3.0, [a, a * 10], weight)


def by_measure(found: list[Aggregate]) -> dict[tuple[str, str | None, bool], tuple[int, int]]:
    return {(row.measure, row.value, row.sketch is not None): (row.events, row.weight) for row in found}


def test_a_window_is_counted_by_class_and_by_what_has_a_value() -> None:
    rows = [event(i, i, float("nan") if i == 1 else i, label="bad" if i > 8 else "good") for i in range(1, 11)]
    rows[4].weight = 4.0
    found = list(aggregate(rows, SCHEMA, 10))
    assert {row[:3] for row in found} == {(0, HOUR, "r")}
    assert by_measure(found) == {
        ("event", None, False): (10, 13),
        ("prediction", "good", False): (8, 11),
        ("prediction", "bad", False): (2, 2),
        ("confidence", None, True): (10, 13),
        ("latency_us", None, True): (10, 13),
        ("f_a", None, True): (9, 12),
        ("f_a", None, False): (1, 1),
        ("f_b", None, True): (9, 12),
        ("f_b", None, False): (1, 1),
    }


def test_what_stands_for_others_is_in_the_sketch_as_often() -> None:
    values, weights = np.arange(40, dtype=np.float32), np.array([1, 3, 2**20, 2] * 10)
    kept, heavy = samples(sketch(values, weights))
    assert heavy.sum() == weights.sum()
    exact = np.average(values, weights=weights)
    assert np.average(kept, weights=heavy) == pytest.approx(exact, abs=0.0133 * 40)


def test_a_sketch_does_not_say_in_which_order_events_were() -> None:
    """Or the n-th value of one feature would be known to belong to the n-th of another, and both to a time."""
    rows = [event(i, i / 4, random.random()) for i in range(1, 180)]
    mixed = [Event(r.seq, r.ts, *msgspec.structs.astuple(o)[2:]) for r, o in zip(rows, random.sample(rows, 179))]  # noqa: B905
    assert list(aggregate(rows, SCHEMA, 10)) == list(aggregate(mixed, SCHEMA, 10))


def seen(site: Site, content: bytes) -> bytes:
    """Everything that a batch holds, unpacked."""
    table = pq.read_table(pa.BufferReader(content))
    return (
        content
        + b"".join(repr(row).encode() for row in table.drop_columns(["sketch"]).to_pylist())
        + b"".join(table["sketch"].drop_null().to_pylist())
    )


def test_of_too_few_events_no_value_leaves_and_of_many_a_sample(site: Site) -> None:
    few, many = events(1, 9, release="a" * 64), events(10, 3000, release=None)
    draw = np.random.default_rng(3)
    for row in (*few, *many):
        row.inputs = draw.normal(size=4).astype(np.float32).tolist()
    _, content = seal_aggregated(site, few + many)
    everything = seen(site, content)
    found = [[struct.pack("<f", value) in everything for row in rows for value in row.inputs] for rows in (few, many)]
    assert not any(found[0])
    assert 0 < sum(found[1]) < 0.2 * len(found[1])
    assert b"'a" + b"a" * 63 in everything  # that they were nine, of this release, is said


def test_a_device_ships_an_hour_when_it_is_over_and_its_books_balance(site: Site) -> None:
    with site.open("d1") as device:
        for i, reading in enumerate(readings(30)):
            site.clock.now = START + timedelta(minutes=4 * i)  # 15 in each of two hours
            device.predict(reading)
        assert device.exchange()
        assert (device.status().acked, device.status().spooled) == (15, 15)
        site.clock.now = START + timedelta(hours=2)
        assert device.exchange()
        assert (device.status().acked, device.status().spooled) == (30, 0)
    words = [
        pq.read_metadata(pa.BufferReader(site.store.read(entry.path))).metadata
        for entry in sorted(site.store.list(site.config.layout.inbox), key=lambda e: e.path)
    ]
    assert [(w[b"kind"], w[b"events"], w[b"last_seq"]) for w in words] == [
        (b"aggregates", b"15", b"15"),
        (b"aggregates", b"15", b"30"),
    ]


def test_settings_from_before_ship_events(site: Site) -> None:
    home = site.home("d1")
    settings = read_settings(home)
    assert settings.privacy == Shipped(ship="aggregates")
    found = msgspec.json.decode((home / "settings.json").read_bytes())
    assert found["privacy"] == {"ship": "aggregates", "min_events": 10}
    found["privacy"] |= {"drop": ["mode"], "round": {"a": 0.5}}  # once it was said here too; the schema is what counts
    (home / "settings.json").write_bytes(msgspec.json.encode(found))
    assert read_settings(home) == settings
    del found["privacy"]
    (home / "settings.json").write_bytes(msgspec.json.encode(found))
    assert read_settings(home).privacy == Shipped(ship="events")


def test_without_the_library_a_device_says_so_at_its_start(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    home = site.home("d1")
    monkeypatch.setattr(edge_runtime.settings, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"edgeloop\[edge,sketches\]"), Device.open(home):
        pass


def test_a_few_events_from_before_the_clock_was_set_hold_up_no_others(site: Site) -> None:
    with site.open("d1") as device:
        for i, reading in enumerate(readings(23)):
            device.predict(reading, ts=(datetime(1970, 1, 1, tzinfo=UTC) if i < 3 else START) + timedelta(minutes=i))
        site.clock.now = START + timedelta(hours=1)
        assert device.exchange()
        assert (device.status().acked, device.status().spooled) == (23, 0)
    batches = sorted(site.store.list(site.config.layout.inbox), key=lambda e: e.path)
    tables = [pq.read_table(pa.BufferReader(site.store.read(entry.path))) for entry in batches]
    assert [sum(table["events"].to_pylist()) == 3 for table in tables] == [True, False]  # of the three, that they were
