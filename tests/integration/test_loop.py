"""The whole loop, by the command line, on slices of real data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from benchmarks.store_kills import STORE, campaign

EXAMPLES = Path(__file__).parents[2] / "examples"


def edgeloop(*arguments: str, directory: Path, code: int = 0) -> str:
    """Run the command; its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", "from edgeloop.cli import main; main()", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def backtest(loop: Path, data: Path, directory: Path, store: str = "") -> dict:  # type: ignore[type-arg]
    out = edgeloop(
        "backtest",
        str(loop),
        str(data),
        "--store",
        store or str(directory / "store"),
        "--workdir",
        str(directory / "work"),
        "--json",
        directory=directory,
    )
    summary: dict = json.loads(out)  # type: ignore[type-arg]
    assert json.loads((directory / "work/report/summary.json").read_text()) == summary
    events = summary["events"]
    assert events["produced"] == events["ingested"] + events["shed"] + events["missing"]
    return summary


def test_the_loop_closes_with_a_kill_an_outage_and_a_damaged_batch(tmp_path: Path) -> None:
    data = tmp_path / "air.parquet"
    duckdb.sql(
        f"""COPY (SELECT * FROM '{EXAMPLES}/air_quality/air_quality.parquet'
        WHERE station IN ('Dongsi', 'Gucheng', 'Tiantan', 'Wanliu') AND time < TIMESTAMPTZ '2013-06-20') TO '{data}'"""
    )
    text = (EXAMPLES / "air_quality/loop.toml").read_text().partition("[backtest]")[0]
    text = text.replace('every = "91d"', 'every = "28d"').replace("trees = 40", "trees = 12")
    loop = tmp_path / "loop.toml"
    loop.write_text(
        text
        + """
[backtest]
seed = "42d"
tick = "7d"
period = "28d"
joins = { Wanliu = "56d" }
[backtest.faults]
kill = ["Dongsi@60d", "Gucheng@60d", "Tiantan@75d"]
offline = ["Gucheng@63d+21d"]
corrupt = ["Tiantan@50d"]
"""
    )
    summary = backtest(loop, data, tmp_path)
    # Every reading played is in the books: all rows of three stations, and of the fourth since it joined.
    rows = duckdb.sql(
        f"""SELECT count(*) FROM '{data}' WHERE station <> 'Wanliu'
        OR time >= (SELECT min(time) FROM '{data}') + INTERVAL 56 DAY"""
    ).fetchall()
    assert summary["events"]["produced"] == rows[0][0]
    assert summary["events"]["missing"] == 7 * 24  # the damaged batch, and nothing else
    assert len(summary["releases"]) >= 1
    assert summary["rollouts"][0]["verdict"] == "promote"
    assert 0.3 < summary["accuracy"]["loop"] <= 1
    assert [p["rows"] > 0 for p in summary["by_period"]] == [True] * len(summary["by_period"])
    assert "So it came about: 3 killed, 1 damaged." in (tmp_path / "work/report/index.html").read_text()
    # What Gucheng saw without a link came all the same, and none of it before the link was back.
    first, earliest, rows_then = duckdb.sql(
        f"""WITH s AS (SELECT min(ts) AS first FROM '{tmp_path}/store/loops/beijing-air/lake/events/**/*.parquet')
        SELECT any_value(first), min(ingested_at), count(*)
        FROM '{tmp_path}/store/loops/beijing-air/lake/events/**/*.parquet', s
        WHERE device = 'Gucheng' AND ts >= first + INTERVAL 63 DAY AND ts < first + INTERVAL 84 DAY"""
    ).fetchall()[0]
    assert rows_then == 21 * 24
    assert earliest - first >= timedelta(days=84)
    once = duckdb.sql(
        f"SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM '{tmp_path}/store/loops/beijing-air/lake/events/**/*.parquet'"
    )
    assert once.fetchall() == [(summary["events"]["ingested"],) * 2]

    # What it left behind is a deployment like any other.
    site = ("--store", str(tmp_path / "store"))
    keys = ("--keys", str(tmp_path / "work/keys"))
    releases = json.loads(edgeloop("release", "list", str(loop), *site, *keys, "--json", directory=tmp_path))[
        "releases"
    ]
    assert {r["sha256"] for r in releases} == {r["sha256"] for r in summary["releases"]}
    fleet = json.loads(edgeloop("fleet", "status", str(loop), *site, "--json", directory=tmp_path))
    assert set(fleet["devices"]) == set(fleet["simulated"])
    assert (len(fleet["simulated"]), fleet["clock_slow_seconds"], fleet["stale"]) == (4, {}, [])
    rollout = json.loads(edgeloop("rollout", "status", str(loop), *site, *keys, "--json", directory=tmp_path))
    assert json.loads(edgeloop("rollout", "pause", str(loop), *site, *keys, "--json", directory=tmp_path))["paused"]
    device = tmp_path / "work/devices/Dongsi"
    line = json.dumps({"pm10": 80.0, "temp": 20.0, "wd": "N"}) + "\n"
    ran = subprocess.run(
        [sys.executable, "-c", "from edgeloop.cli import main; main()", "device", "run", str(device), "--json"],
        input=line + "junk\n" + line,
        capture_output=True,
        text=True,
        check=True,
    )
    status = json.loads(ran.stdout)
    assert status["release"] in {rollout["stable"]["sha256"], (rollout["candidate"] or rollout["stable"])["sha256"]}
    assert status["spooled"] == 0
    fleet = json.loads(edgeloop("fleet", "status", str(loop), *site, "--json", directory=tmp_path))
    assert set(fleet["clock_slow_seconds"]) == {"Dongsi"} == {*fleet["devices"]} - {*fleet["simulated"]}
    assert "no reading, skipped" in ran.stderr
    assert json.loads(edgeloop("ingest", str(loop), *site, "--json", directory=tmp_path))["rows"] == 2
    assert (
        json.loads(edgeloop("device", "status", str(device), "--json", directory=tmp_path))["acked"] == status["acked"]
    )
    shown = edgeloop("release", "show", str(loop), releases[0]["id"], *site, *keys, directory=tmp_path)
    assert "events version" in shown


def a_half_year(directory: Path) -> tuple[Path, Path]:
    """Loop and data."""
    data, loop = directory / "gas.parquet", directory / "loop.toml"
    duckdb.sql(
        f"COPY (FROM '{EXAMPLES}/gas_turbine/gas_turbine.parquet' WHERE time < TIMESTAMPTZ '2011-06-01') TO '{data}'"
    )
    text = (EXAMPLES / "gas_turbine/loop.toml").read_text()
    loop.write_text(text.replace("365d", "60d").replace("61d", "20d"))
    return loop, data


@pytest.mark.parametrize("store_kind", ["versitygw"])
def test_the_loop_closes_on_a_second_s3(tmp_path: Path, store_url: str) -> None:
    summary = backtest(*a_half_year(tmp_path), tmp_path, f"{store_url}/a/prefix")
    assert summary["events"]["ingested"] == summary["events"]["produced"] > 3000
    assert len(summary["releases"]) >= 1


def test_on_a_minio_that_is_killed_all_the_time_the_loop_finds_what_it_finds_in_a_directory(tmp_path: Path) -> None:
    if shutil.which("minio") is None:
        pytest.skip("no MinIO on this machine; `make minio-server` makes it")
    loop, data = a_half_year(tmp_path)
    found = campaign(tmp_path, loop, data, seed=1, pause=5.0)
    assert found.kills >= 3
    assert not any(found.never.values()), found
    assert found.killed["events"]["ingested"] == found.killed["events"]["produced"] > 3000
    assert found.killed == found.undisturbed
    assert found.killed["verdicts"][0][0] == "promote"

    # The same MinIO, started again as `make minio` does: with TLS, by an authority of its own.
    assert (tmp_path / "minio/environment").stat().st_mode & 0o777 == 0o600
    status = ("fleet", "status", str(loop), "--store", STORE, "--json")
    command = (sys.executable, "-c", "from edgeloop.cli import main; main()", *status)
    on_minio = [sys.executable, "-m", "examples.minio", str(tmp_path / "minio"), *command]
    done = subprocess.run(on_minio, cwd=EXAMPLES.parent, capture_output=True, text=True, check=True)
    devices = json.loads(done.stdout)["devices"].values()
    assert devices
    assert all(d["release_id"] for d in devices)


def test_the_gas_turbine_challenger_for_2014_is_not_promoted(tmp_path: Path) -> None:
    """NOx over the median of the training year; four devices, each a quarter of every year. Retraining on all that came
    before makes 2014 worse, and the loop must notice before it is everywhere."""
    example = EXAMPLES / "gas_turbine"
    summary = backtest(example / "loop.toml", example / "gas_turbine.parquet", tmp_path)
    assert summary["events"] == {"produced": 36733, "ingested": 36733, "shed": 0, "missing": 0}
    (for_2014,) = (r["id"] for r in summary["releases"] if r["created"].startswith("2014-01"))
    (rollout,) = (r for r in summary["rollouts"] if r["release"] == for_2014)
    assert rollout["verdict"] == "reject"
    assert "worse than the champion" in rollout["reason"]
    in_2014 = next(p for p in summary["by_period"] if p["start"].startswith(("2013-12-31", "2014-01")))
    assert in_2014["accuracy"]["loop"] >= in_2014["accuracy"]["ceiling"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("backtest", "none.toml", "x.csv"), 2, "edgeloop init"),
        (("init", "none.csv", "--label", "y"), 3, "no such file"),
        (("release", "list", "none.toml", "--store", "s", "--keys", "k"), 2, "none.toml cannot be read"),
        (("ui", "nowhere"), 2, "make demo"),
        (("device", "status", "nowhere"), 2, "device create"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_errors_name_the_remedy_and_have_their_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in edgeloop(*arguments, directory=tmp_path, code=code)
