"""Batches as docs/formats.md has them, made without Arrow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_runtime.groups import Event
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import DeviceSettings
from edgeloop.config import DeviceSection
from edgeloop.events import batch_schema
from edgeloop.schema import Feature, FeatureSchema
from tests.site import START, make_site, readings

SETTINGS = DeviceSettings(
    1, "pump", "d", "memory://", FeatureSchema((Feature("a"), Feature("wind speed"))), DeviceSection()
)
ROOT = Path(__file__).parents[2]


NARROW = {"confidence": pa.decimal128(9, 4), "latency_us": pa.int32(), "weight": pa.int32(), "f_a": pa.decimal128(9, 1)}
"""What has few decimals is written as a decimal, and as a whole number if it has none."""


def test_the_columns_are_those_that_the_centre_expects() -> None:
    events = [Event(i, i, "f" * 64, "good", 1 / i, 1e7 / i, [i / 10, i / 3]) for i in range(1, 100)]
    found = pq.read_schema(pa.BufferReader(seal_batch(events, SETTINGS, 7, 0, START).content))
    expected = batch_schema(SETTINGS.schema)
    assert found.names == expected.names
    assert found.types == [NARROW.get(field.name, field.type) for field in expected]


def test_latency_has_three_digits_a_confidence_four_decimals_and_no_input_is_rounded() -> None:
    events = [
        Event(1, 0, "f" * 64, "good", 0.123456789, 12345.678, [1.23456789, 2.0]),
        Event(2, 0, "f" * 64, "good", 0.99996, 4.5678, [-0.0, 2.0]),
    ]
    table = pq.read_table(pa.BufferReader(seal_batch(events, SETTINGS, 7, 0, START).content))
    assert table["confidence"].to_pylist() == pa.array([0.1235, 1], pa.float32()).to_pylist()
    assert table["latency_us"].to_pylist() == pa.array([12300, 4.6], pa.float32()).to_pylist()
    assert list(map(str, table["f_a"].to_pylist())) == list(
        map(str, pa.array([1.23456789, -0.0], pa.float32()).to_pylist())
    )


DEVICE = """
import json, sys
from pathlib import Path
from edge_runtime.device import Device

with Device.open(Path(sys.argv[1])) as device:
    device.predict_many(json.loads(sys.argv[2]))
    device.ship()
    device.report()
print(json.dumps([device.status().acked, sorted({"pyarrow", "arro3", "pandas"} & set(sys.modules))]))
"""


def test_a_device_ships_without_arrow_in_its_memory(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    command = [sys.executable, "-c", DEVICE, str(site.home("dev")), json.dumps(readings(20))]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(ended.stdout) == [20, []]
    assert len(list(site.store.list(f"{site.config.layout.inbox}/dev"))) == 1
