from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from edge_runtime.encoder import Encoder
from edgeloop.config import parse_loop
from edgeloop.errors import ConfigError, DataError
from edgeloop.schema import Feature
from pipelines.backtest.history import read_history, write_readings
from pipelines.backtest.scenario import plan_scenario
from pipelines.backtest.starter import starter_loop
from tests.site import LOOP, START

CONFIG = parse_loop(LOOP)


def rows(count: int = 10, **columns: Callable[[int], Any]) -> pa.Table:
    made = {
        "device": lambda i: f"d{i % 2}",
        "time": lambda i: START + timedelta(hours=i),
        "a": lambda i: i * 0.5,
        "b": lambda i: -i,
        "mode": lambda i: "slow",
        "state": lambda i: ("good", "bad")[i % 3 > 1],
        **columns,
    }
    return pa.table({name: [value(i) for i in range(count)] for name, value in made.items() if value})


def write(path: Path, table: pa.Table) -> str:
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return str(path)


@pytest.mark.parametrize(
    ("time", "unit"),
    [
        (lambda i: START + timedelta(hours=i), "times"),
        (lambda i: (START + timedelta(hours=i)).replace(tzinfo=None), "times without a zone"),
        (lambda i: (START + timedelta(hours=i)).isoformat(), "text"),
        (lambda i: int((START + timedelta(hours=i)).timestamp()), "seconds"),
        (lambda i: int((START + timedelta(hours=i)).timestamp() * 1e3), "milliseconds"),
        (lambda i: int((START + timedelta(hours=i)).timestamp() * 1e6), "microseconds"),
        (lambda i: int((START + timedelta(hours=i)).timestamp()) * 10**9, "nanoseconds"),
        (lambda i: np.int32((START + timedelta(hours=i)).timestamp()), "seconds, int32"),
        (lambda i: float((START + timedelta(hours=i)).timestamp()), "seconds, float"),
    ],
)
def test_times_in_any_form_are_the_same_moments(tmp_path: Path, time: Callable[[int], Any], unit: str) -> None:
    found = read_history([write(tmp_path / "x.parquet", rows(time=time))], CONFIG)
    assert found.span == (START, START + timedelta(hours=9)), unit


def test_csv_parquet_and_globs_read_alike(tmp_path: Path) -> None:
    whole = rows(10)
    one = read_history([write(tmp_path / "whole.parquet", whole)], CONFIG)
    write(tmp_path / "part-1.csv", whole.slice(0, 4))
    write(tmp_path / "part-2.csv", whole.slice(4))
    many = read_history([str(tmp_path / "part-*.csv")], CONFIG)
    assert one.table.equals(many.table)
    assert one.devices == ["d0", "d1"]


def test_equal_times_move_on_and_unusable_rows_are_left_out_with_a_note(tmp_path: Path) -> None:
    table = rows(6, time=lambda i: None if i == 5 else START, device=lambda i: None if i == 4 else "Pump 1/ä")
    found = read_history([write(tmp_path / "x.parquet", table)], CONFIG)
    ts = found.table["__ts"].to_pylist()
    assert [t - ts[0] for t in ts] == [timedelta(microseconds=i) for i in range(4)]
    assert any("2 rows without a device" in note for note in found.notes)
    assert any("3 rows share device and time" in note for note in found.notes)
    assert any("cannot be part of a path" in note for note in found.notes)
    (device,) = found.devices
    assert device.startswith("Pump-1")
    files = write_readings(found, tmp_path / "readings", {}, START + timedelta(days=1))
    assert pq.read_table(files[device]).column_names == ["__ts", "a", "b", "mode"]


def test_without_device_and_time_rows_are_cut_into_blocks_in_parallel(tmp_path: Path) -> None:
    config = parse_loop(LOOP.replace('device = "device"\ntime = "time"', 'devices = 4\ninterval = "10m"'))
    found = read_history([write(tmp_path / "x.parquet", rows(10, device=None, time=None))], config)
    assert found.devices == [f"device-{i}" for i in (1, 2, 3, 4)]
    assert found.span == (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 0, 20, tzinfo=UTC))
    assert found.table["a"].to_pylist() == [i * 0.5 for i in range(10)]


@pytest.mark.parametrize(
    ("classes", "cuts", "value", "expected"),
    [
        ('["0", "1"]', "", lambda i: i % 2, ["0", "1", "0"]),
        ('["0", "1"]', "", lambda i: float(i % 2), ["0", "1", "0"]),
        ('["false", "true"]', "", lambda i: i % 2 == 1, ["false", "true", "false"]),
        ('["-1", "0", "1"]', "", lambda i: i - 1, ["-1", "0", "1"]),
        ('["low", "mid", "high"]', "cuts = [1.0, 2.0]", lambda i: float(i), ["low", "mid", "high"]),
        ('["good", "bad"]', "", lambda i: None if i == 1 else "bad", ["bad", None, "bad"]),
    ],
)
def test_labels_of_any_kind_become_classes(
    tmp_path: Path, classes: str, cuts: str, value: Callable[[int], Any], expected: list[str]
) -> None:
    config = parse_loop(LOOP.replace('["good", "bad"]', f"{classes}\n{cuts}"))
    found = read_history([write(tmp_path / "x.parquet", rows(3, state=value, device=lambda i: "d"))], config)
    assert found.table["__label"].to_pylist() == expected


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"state": None}, r"label\.column names 'state'.*It has|The table has"),
        ({"a": None, "aa": lambda i: 1.0}, r"features names 'a'.*Did you mean 'aa'"),
        ({"device": None}, r"table\.device names 'device'"),
        ({"time": lambda i: [i]}, r"table\.time names 'time', which is of type .*\[\]"),
        ({"time": lambda i: "never"}, r"no row has both"),
        ({"time": lambda i: 2011}, r"no row has both"),
        ({"state": lambda i: "ugly"}, r"label\.classes does not list: 'ugly' \(10 rows\)"),
        ({"state": lambda i: None}, r"has no value in any row"),
        ({"a": lambda i: "text"}, r"features\.numbers names 'a'.*features\.categories"),
    ],
)
def test_each_thing_that_may_be_wrong_is_named(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "x.parquet", rows(10, **columns))
    with pytest.raises(DataError, match=says):
        read_history([path], CONFIG)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"torn\.parquet cannot be read"):
        read_history([str(tmp_path / "torn.parquet")], CONFIG)
    with pytest.raises(DataError, match="no such file"):
        read_history([str(tmp_path / "*.csv")], CONFIG)
    with pytest.raises(DataError, match="holds no rows"):
        read_history([write(tmp_path / "empty.parquet", rows(0))], CONFIG)


def test_a_starter_loop_works_for_hundreds_of_odd_columns(tmp_path: Path) -> None:
    odd: dict[str, Any] = {f'sensor "{n}" [°C]': (lambda i, n=n: float(i * n % 7)) for n in range(1, 301)}
    odd |= {
        "flat": lambda i: 1,
        "serial": lambda i: f"serial {i}",
        "when": lambda i: START + timedelta(days=i),
        "état": lambda i: "xy"[i % 2],
    }
    path = write(tmp_path / "x.parquet", rows(200, **odd))
    text, notes = starter_loop([path], label="state", device="device", time="time")
    config = parse_loop(text)
    assert config.label.classes == ("bad", "good")
    assert len(config.features.numbers) == 302 - 42  # every seventh never changes
    assert config.features.categories == {"état": ("x", "y")}
    for column, reason in {"flat": "never changes", "serial": "more than 64", "when": "another time"}.items():
        assert any(repr(column) in note and reason in note for note in notes)
    history = read_history([path], config)
    scenario = plan_scenario(config, *history.span, history.devices, quick=False)
    assert 1 < len(scenario.ticks) <= 70
    assert sum(tick.train for tick in scenario.ticks) >= 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label": "stat", "devices": 2}, "--label names 'stat'"),
        ({"label": "state"}, "--devices N"),
        ({"label": "a", "devices": 2}, r"more than 50 distinct.*label\.cuts"),
        ({"label": "state", "device": "device", "time": "mode"}, "no two different times"),
    ],
)
def test_a_starter_says_what_it_cannot_do(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "x.parquet", rows(200))
    with pytest.raises(DataError, match=says):
        starter_loop([path], **options)


def test_a_timeline_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backtest\.seed of 6d leaves nothing"):
        plan_scenario(CONFIG, START, START + timedelta(days=3), ["d"], quick=False)
    faulty = parse_loop(LOOP + '[backtest.faults]\nkill = ["nobody@3d"]\n')
    with pytest.raises(ConfigError, match=r"backtest\.faults\.kill names 'nobody'.*Its devices: d"):
        plan_scenario(faulty, START, START + timedelta(days=30), ["d"], quick=False)


def test_any_table_that_a_starter_takes_can_be_played(tmp_path: Path) -> None:
    """Columns called as ours are, numbers without end, classes that no TOML string holds as they are."""
    table = rows(
        400,
        ts=lambda i: float(i),
        rank=lambda i: i % 7,
        hour=lambda i: float("inf") if i % 50 == 0 else i % 24,
        weight=lambda i: i % 3,
        kind=lambda i: "a\x7f'\"\\é" if i % 2 else "b",
        **{"温度": lambda i: i % 5, "#": lambda i: i},  # type: ignore[arg-type]
        state=lambda i: 1e300 if i % 100 == 0 else float(i % 2),
    )
    path = write(tmp_path / "x.parquet", table)
    text, notes = starter_loop([path], label="state", device="device", time="time")
    config = parse_loop(text)
    assert set(config.features.numbers) == {"a", "b", "ts", "rank", "hour", "weight", "温度"}
    assert config.label.classes == ("0", "1", "1e+300")
    assert any("'#'" in note for note in notes)
    found = read_history([path], config)
    assert found.table.num_rows == 400
    plan_scenario(config, *found.span, found.devices, quick=False)
    row, _, _ = Encoder(config.schema()).encode({"hour": float("inf"), "a": 1e39, "b": -1e39}, START)
    assert row[:2] != [1e39, -1e39]
    assert all(math.isfinite(v) or math.isnan(v) for v in row)


def test_what_a_starter_leaves_commented_out_can_be_taken_in(tmp_path: Path) -> None:
    table = rows(400, temperature=lambda i: i % 50, location=lambda i: "xy"[i % 2], badge=lambda i: f"badge {i}")
    path = write(tmp_path / "x.parquet", table)
    text, notes = starter_loop([path], label="state", device="device", time="time")
    assert any("'badge'" in note and "features.hashed" in note for note in notes)
    commented = r"^# (?=sources|hashed|temperature|drop|round|retention|\[features|\[privacy)"
    config = parse_loop(re.sub(commented, "", text, flags=re.MULTILINE))
    features = {feature.name: feature for feature in config.schema().features}
    assert config.label.sources == ("inspection", "operator")
    assert config.privacy.retention == timedelta(days=365)
    assert features["temperature"] == Feature("temperature", "number", (), -40.0, 85.0, 0.5, False, 20.0, "clamp")
    assert (features["location"].dropped, features["badge"].kind) == (True, "hashed")
    assert read_history([path], config).table["badge"][3].as_py() == "badge 6"


def test_a_starter_for_few_rows_asks_for_no_more_than_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", rows(569))
    config = parse_loop(starter_loop([path], label="state", devices=2)[0])
    assert config.gate.min_rows <= 569 * (config.training.validation / timedelta(hours=285))
    with pytest.raises(DataError, match=r"10 rows for 60 devices"):
        starter_loop([write(tmp_path / "y.parquet", rows(10))], label="state", devices=60)
    path = write(tmp_path / "z.parquet", rows(600, time=lambda i: START + timedelta(milliseconds=i)))
    config = parse_loop(starter_loop([path], label="state", device="device", time="time")[0])
    plan_scenario(config, *read_history([path], config).span, ["d0", "d1"], quick=False)
