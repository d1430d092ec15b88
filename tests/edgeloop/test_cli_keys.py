"""The ceremonies as a person types them, each machine with a directory of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.trust import refresh as client_refresh
from edgeloop.clock import system_clock
from edgeloop.store import open_store
from fleet.keys import Keys, create_keys
from fleet.repository import initialise, refresh
from tests.command import end_of

Command = Callable[..., Any]


@pytest.fixture
def edgeloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs a command under `tmp_path`; what it found, or what it said if it ends with another code than 0."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Any:
        out, err = end_of(monkeypatch, capsys, *arguments, "--json", code=code)
        return " ".join(err.split()) if code else json.loads(out)

    return run


def carry(source: str, target: str, pattern: str) -> None:
    """Copy files from one machine to another."""
    for path in Path(source).glob(pattern):
        to = Path(target) / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)


def see(edgeloop: Command, home: str) -> None:
    Path(home).mkdir(exist_ok=True)
    client_refresh(Path(home), open_store("store"), Path("root.json").read_bytes(), system_clock())


def test_offline_keys_are_never_where_the_online_ones_are(edgeloop: Command) -> None:
    for name, roles in {"ann": ["root-1"], "bob": ["root-2"], "cyd": ["root-3", "targets"]}.items():
        edgeloop("fleet", "keys", "create", name, *(f"--role={role}" for role in roles))
        assert b"ENCRYPTED" in Path(name, f"offline/{roles[0]}.pem").read_bytes()
        carry(name, "table", "offline/*.pub")
    online = ("releases", "rollouts", "snapshot", "timestamp")
    made = edgeloop("fleet", "keys", "create", "centre", *(f"--role={role}" for role in online))["made"]
    assert "already" in edgeloop("fleet", "keys", "create", "centre", "--role", "releases", code=2)
    carry("centre", "table", "online/*.pub")
    carry("table", "ann", "*/*.pub")

    begin = ("fleet", "init", "--store", "store", "--keys", "centre", "--root", "root.json", "--draft", "draft")
    found = edgeloop("fleet", "keys", "draft", "draft", "--keys", "ann")
    assert len(found["missing"]) == 2
    assert "1 more of" in edgeloop(*begin, code=2)
    assert "there already" in edgeloop("fleet", "keys", "draft", "draft", "--keys", "ann", code=2)
    assert edgeloop("fleet", "keys", "sign-root", "draft", "--keys", "cyd", "--yes")["missing"] == []
    assert not edgeloop(*begin)["made"]
    see(edgeloop, "device")
    listed = edgeloop("fleet", "keys", "list", "--store", "store", "--keys", "centre")["trusted"]
    assert {key["role"]: key["keyid"] for key in listed if key["here"]} == made

    at = ("--store", "store", "--keys", "centre")
    assert len(edgeloop("fleet", "keys", "rotate", "releases", "timestamp", *at)["missing"]) == 3
    assert "that is not published yet" in edgeloop("fleet", "keys", "rotate", "rollouts", *at, code=2)
    edgeloop("fleet", "keys", "sign-root", "centre/draft.json", "--keys", "bob", "--yes")
    assert "not signed yet" in edgeloop("fleet", "keys", "sign-root", "centre/draft.json", *at, "--yes", code=2)
    edgeloop("fleet", "keys", "sign-root", "centre/draft.json", "--keys", "cyd", "--yes")
    assert edgeloop("fleet", "keys", "sign-root", "centre/draft.json", *at, "--yes")["published"]
    assert Keys(Path("centre")).names() == ["releases-2", "rollouts", "snapshot", "timestamp-2"]
    targets = next(key["keyid"] for key in listed if key["role"] == "targets")
    assert "where no offline key is" in edgeloop("fleet", "keys", "rotate", targets, *at, code=2)
    assert not Path("centre/offline").exists()
    assert not Path("centre/draft.json").exists()
    assert (
        edgeloop("fleet", "keys", "show", "releases-2", "--keys", "centre")["public"]
        == Path("centre/online/releases-2.pub").read_text()
    )
    for home in ("device", "another"):
        see(edgeloop, home)


def test_several_people_begin_as_the_text_says(edgeloop: Command, tmp_path: Path) -> None:
    """docs/keys.md, typed into a shell."""
    text = (Path(__file__).parents[2] / "docs/keys.md").read_text()
    places = {"EDGELOOP_STORE": str(tmp_path / "store"), "EDGELOOP_OFFLINE_PASSPHRASE": "of the holders"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    subprocess.run(["bash", "-e"], input=script.encode(), env={**os.environ, **places, "PATH": path}, check=True)
    see(edgeloop, "device")
    assert not [path for path in Path("centre").rglob("*") if path.parent.name == "offline" and path.suffix != ".pub"]


def test_the_offline_roles_are_renewed_by_a_draft(edgeloop: Command, tmp_path: Path) -> None:
    store, keys = open_store("store"), create_keys(tmp_path / "keys")
    Path("root.json").write_bytes(initialise(store, keys, system_clock() - timedelta(days=200)))
    refresh(store, keys, system_clock())
    shutil.move("keys/offline", "holder/offline")
    at = ("--store", "store", "--keys", "keys")
    assert "offline" in edgeloop("fleet", "renew", *at, code=2)
    assert edgeloop("fleet", "renew", *at, "--draft", "draft")["renewed"]
    edgeloop("fleet", "keys", "sign-root", "draft", "--keys", "holder", "--yes")
    assert edgeloop("fleet", "keys", "sign-root", "draft", *at, "--yes")["published"]
    assert not edgeloop("fleet", "renew", *at, "--draft", "draft")["renewed"]
    until = {k["role"]: k["expires"] for k in edgeloop("fleet", "keys", "list", *at)["trusted"]}
    assert min(until["root"], until["targets"]) > (system_clock() + timedelta(days=360)).isoformat()
    see(edgeloop, "device")


def test_offline_keys_are_protected_unless_somebody_says_otherwise(
    edgeloop: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELOOP_OFFLINE_PASSPHRASE", "")
    assert "EDGELOOP_OFFLINE_PASSPHRASE" in edgeloop("fleet", "init", "--store", "store", "--keys", "keys", code=2)
    assert edgeloop("fleet", "init", "--store", "store", "--keys", "keys", "--unencrypted")["made"]
    edgeloop("fleet", "keys", "rotate", "root-1", "--store", "store", "--keys", "keys")
    assert b"ENCRYPTED" not in Path("keys/offline/root-4.pem").read_bytes()


def test_a_wrong_passphrase_signs_nothing(edgeloop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ("--store", "store", "--keys", "keys")
    edgeloop("fleet", "init", *at)
    monkeypatch.setenv("EDGELOOP_OFFLINE_PASSPHRASE", "wrong")
    assert "does not open key" in edgeloop("fleet", "keys", "rotate", "rollouts", *at, code=2)
    monkeypatch.delenv("EDGELOOP_OFFLINE_PASSPHRASE")
    found = edgeloop("fleet", "keys", "rotate", "rollouts", *at)
    assert found["published"]
    assert Keys(Path("keys")).names("rollouts") == ["rollouts-2"]  # the one that the failed attempt had made


def test_a_passphrase_is_asked_for_at_the_terminal_and_not_shown(tmp_path: Path) -> None:
    """On a real terminal: typed twice for new keys, once to sign; what is typed never comes back."""
    keys, draft = str(tmp_path / "keys"), str(tmp_path / "draft")
    said = at_a_terminal(["fleet", "keys", "create", keys], ["good", "god", "good", "good"])
    assert said.count("Passphrase of the offline keys") == 2
    assert "do not match" in said
    assert "good" not in said
    said = at_a_terminal(["fleet", "keys", "draft", draft, "--keys", keys], ["good"])
    assert said.count("Passphrase of the offline keys") == 1
    assert "missing" not in said
    assert "does not open" in at_a_terminal(["fleet", "keys", "sign-root", draft, "--keys", keys], ["y", "bad"], code=2)


def at_a_terminal(arguments: list[str], typed: list[str], code: int = 0) -> str:
    """What a command shows on a terminal where these lines are typed, each at the next question."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from edgeloop.cli import main; main()", *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("EDGELOOP_")},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # passphrases are asked for at the terminal itself
    )
    os.close(end)
    shown, lines, answered = b"", list(typed), 0
    while True:
        try:
            came = os.read(terminal, 4096)
        except OSError:  # the other end is gone
            break
        shown += came
        if shown[answered:].rstrip().endswith(b":") and lines:
            answered = len(shown)
            hidden = not shown.rstrip().endswith(b"[y/N]:")
            while hidden and termios.tcgetattr(terminal)[3] & termios.ECHO:  # what is typed too early is thrown away
                time.sleep(0.01)
            os.write(terminal, lines.pop(0).encode() + b"\n")
    os.close(terminal)
    assert process.wait() == code, shown
    return shown.decode()
