"""The command line against what people and devices do to it: no traceback, nothing deleted, no terminal steered."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from edgeloop.cli import main
from edgeloop.cli.output import out
from edgeloop.clock import system_clock
from edgeloop.layout import Layout
from edgeloop.roster import mark_played
from edgeloop.status import STATUS_VERSION, DeviceStatus, UpdateState
from edgeloop.store import open_store
from tests.site import LOOP

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def edgeloop(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["edgeloop", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    path = tmp_path / "loop.toml"
    path.write_text(LOOP)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [
        f"d{i % 2},2024-01-{1 + i // 24:02d} {i % 24:02d}:00,{i},{-i},slow,{'good' if i % 3 else 'bad'}"
        for i in range(200)
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["device,time,a,b,mode,state", *rows]))
    return path


def test_a_directory_that_no_backtest_made_is_never_replaced(
    tmp_path: Path, loop: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    (mine / "keys").mkdir(parents=True)
    (mine / "loop.toml").write_text(LOOP)
    assert edgeloop(monkeypatch, "backtest", loop, table, "--workdir", mine) == 2
    assert "not made by a backtest" in capsys.readouterr().err
    assert (mine / "loop.toml").exists()


def test_a_mistake_leaves_what_an_earlier_backtest_found(
    tmp_path: Path, loop: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / ".edgeloop-backtest").touch()
    (work / "report").mkdir()
    loop.write_text(LOOP.replace('seed = "6d"', 'seed = "600d"'))
    assert edgeloop(monkeypatch, "backtest", loop, table, "--workdir", work) in (2, 3)
    assert "backtest.seed" in capsys.readouterr().err
    assert (work / "report").exists()


def test_hostile_statuses_are_listed_apart_and_steer_no_terminal(
    tmp_path: Path, loop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update = UpdateState("idle", "", NOW)
    good = DeviceStatus(STATUS_VERSION, "pump", "d1", NOW, 1, 10, 5, 2, 3, "", "", False, update, {}, {}, 0, 0, "onnx")
    evil = {
        "steers": {"release_id": "\x1b]0;owned\x07[bold red]x[/bold red] [/nope]"},
        "negative": {"spooled": -3},
        "endless": {"produced": 10**30},
        "untrue": {"acked": 9},
        "other": {"device": "d1"},
        "large": {"refused": {"a": "x" * 70_000}},
        "right": {"time": system_clock().isoformat()},
        "carried": {"carried": True},
        "timeless": {"time": "2024-01-01T00:00:00"},
    }
    store = open_store(tmp_path / "store")
    for device, changes in {"d1": {}, **evil}.items():
        document = {**msgspec.to_builtins(good), "device": device, **changes}
        store.create(f"loops/pump/status/{device}.json", msgspec.json.encode(document))
    store.create("loops/pump/status/torn.json", b"{")
    monkeypatch.setattr(out, "width", 200)
    assert edgeloop(monkeypatch, "fleet", "status", loop, "--store", tmp_path / "store") == 0
    shown, notes = capsys.readouterr()
    assert "\x1b" not in shown + notes
    assert "[bold" in shown
    assert "untrue" in notes
    assert edgeloop(monkeypatch, "fleet", "status", loop, "--store", tmp_path / "store", "--json") == 0
    found = msgspec.json.decode(capsys.readouterr().out)
    assert set(found["devices"]) == {"d1", "steers", "right", "carried"}
    assert set(found["clock_slow_seconds"]) == {"d1", "steers", "right"}
    assert shown.count("WRONG ") == 2
    assert "unknown" in shown
    assert set(found["unreadable"]) == {*evil, "torn"} - {"steers", "right", "carried"}


def test_what_a_backtest_left_has_no_wrong_clock_and_is_not_stale_and_what_ran_since_may_be(
    tmp_path: Path, loop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, now, day = open_store(tmp_path / "store"), system_clock(), timedelta(days=1)
    end = now - 400 * day
    mark_played(store, Layout("pump"), end)
    update = UpdateState("idle", "", NOW)
    good = DeviceStatus(STATUS_VERSION, "pump", "d1", NOW, 1, 10, 5, 2, 3, "", "", False, update, {}, {}, 0, 0, "onnx")
    for device, said in {"played": end, "alone": end, "late": now - 200 * day, "well": now}.items():
        verified_at, stale = said, device == "alone"
        status = msgspec.structs.replace(good, device=device, time=said, verified_at=verified_at, stale=stale)
        store.create(f"loops/pump/status/{device}.json", status.encode())
    monkeypatch.setattr(out, "width", 200)
    assert edgeloop(monkeypatch, "fleet", "status", loop, "--store", tmp_path / "store") == 0
    shown, notes = capsys.readouterr()
    assert (shown.count("simulated"), shown.count("WRONG 200d slow")) == (2, 1)
    assert f"on a clock of its own that ended at {end:%Y-%m-%d %H:%M} UTC" in " ".join(notes.split())
    assert edgeloop(monkeypatch, "fleet", "status", loop, "--store", tmp_path / "store", "--json") == 0
    found = msgspec.json.decode(capsys.readouterr().out)
    assert found["simulated"] == ["alone", "played"]
    assert found["stale"] == ["alone", "late"]  # the one by its own word on its own clock
    assert set(found["clock_slow_seconds"]) == {"late", "well"}


def test_what_the_system_refuses_is_said_in_a_sentence(
    tmp_path: Path, loop: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "no" / "such" / "folder" / "x"
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# für\n".encode("latin-1") + LOOP.encode())
    init = ("fleet", "init", "--store", tmp_path / "s", "--keys", tmp_path / "k", "--unencrypted", "--root", nowhere)
    for arguments, says in {
        init: str(nowhere),
        ("init", table, "--label", "state", "--device", "device", "--time", "time", "--output", nowhere): str(nowhere),
        ("ingest", latin, "--store", tmp_path / "s"): "latin.toml is not valid TOML",
        ("ingest", loop, "--store", table): "table.csv cannot be made",
        ("device", "create", tmp_path / "h", loop, "--store", "s", "--device", "d", "--root", nowhere): str(nowhere),
    }.items():
        assert edgeloop(monkeypatch, *arguments) == 2, arguments
        assert says in capsys.readouterr().err.replace("\n", ""), arguments


def test_the_key_for_hashed_features_is_demanded_copied_and_never_shown(
    tmp_path: Path, loop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loop.write_text(LOOP.replace('from_time = ["hour"]', 'from_time = ["hour"]\nhashed = ["badge"]'))
    root, key, home = tmp_path / "root.json", tmp_path / "hash.key", tmp_path / "home"
    root.write_text("{}")
    create = ("device", "create", home, loop, "--store", tmp_path / "s", "--device", "d", "--root", root)
    assert edgeloop(monkeypatch, *create) == 2
    assert "openssl rand -out hash.key 32" in " ".join(capsys.readouterr().err.split())
    assert edgeloop(monkeypatch, *create, "--hash-key", key) == 2
    assert "cannot be read" in " ".join(capsys.readouterr().err.split())
    key.write_text("a key that nobody may see")
    assert edgeloop(monkeypatch, *create, "--hash-key", key) == 0
    assert (home / "hash.key").read_bytes() == key.read_bytes()
    assert (home / "hash.key").stat().st_mode & 0o777 == 0o600
    assert not [file for file in home.iterdir() if file.name != "hash.key" and b"nobody may see" in file.read_bytes()]
    assert edgeloop(monkeypatch, "device", "status", home, "--json") == 0
    assert "nobody may see" not in "".join(capsys.readouterr())
