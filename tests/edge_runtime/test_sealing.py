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


def test_the_columns_are_those_that_the_centre_expects() -> None:
    batch = seal_batch([Event(1, 0, None, None, None, None, [1.0, float("nan")])], SETTINGS, 7, 0, START)
    assert pq.read_schema(pa.BufferReader(batch.content)).remove_metadata() == batch_schema(SETTINGS.schema)


def test_latency_has_three_digits_and_no_input_is_rounded() -> None:
    events = [Event(1, 0, "f" * 64, "good", 0.123456789, 12345.678, [1.23456789, 2.0])]
    table = pq.read_table(pa.BufferReader(seal_batch(events, SETTINGS, 7, 0, START).content))
    exact = pa.array([0.123456789, 1.23456789], pa.float32()).to_pylist()
    assert [*table["confidence"].to_pylist(), *table["f_a"].to_pylist()] == exact
    assert table["latency_us"].to_pylist() == [12300.0]


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
