"""systemd's side of a device: what is told to a real socket, and a unit that systemd itself takes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.notify import notifying
from edge_runtime.pulse import Pulse
from tests.site import make_site, readings

SOON = 30.0
EDGELOOP = (sys.executable, "-c", "from edgeloop.cli import main; main()")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(SOON)
        yield listener


def test_a_watchdog_is_kept_quiet_by_a_silent_input_and_not_by_a_loop_that_hangs(
    systemd: socket.socket,
) -> None:
    pulse = Pulse()
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())}
    with notifying(pulse, environment):
        assert [systemd.recv(64) for _ in range(5)] == [b"READY=1", *[b"WATCHDOG=1"] * 4]
        with pulse.beat():
            systemd.settimeout(1)
            with contextlib.suppress(TimeoutError):
                said = [systemd.recv(64) for _ in range(20)]
                pytest.fail(f"it goes on to say {said}")
        systemd.settimeout(SOON)
        assert systemd.recv(64) == b"WATCHDOG=1"
    while (last := systemd.recv(64)) == b"WATCHDOG=1":
        pass
    assert last == b"STOPPING=1"


def test_a_device_tells_systemd_of_its_life_and_writes_its_metrics(systemd: socket.socket, tmp_path: Path) -> None:
    home, file = make_site(tmp_path).home("dev"), tmp_path / "device.prom"
    process = subprocess.Popen(
        [*EDGELOOP, "device", "run", str(home), "--metrics-file", str(file), "--metrics", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "NOTIFY_SOCKET": systemd.getsockname()},
    )
    assert process.stdin is not None
    assert systemd.recv(64) == b"READY=1"
    process.stdin.write("".join(json.dumps(reading) + "\n" for reading in readings(3)).encode())
    process.stdin.close()
    assert systemd.recv(64) == b"STOPPING=1"
    assert process.wait(SOON) == 0
    assert "edgeloop_events_produced_total 3.0" in file.read_text()


def test_a_unit_is_what_systemd_takes_whatever_the_directory_is_called(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd on this machine; .ci/run shows how to get it with apt")
    home = make_site(tmp_path).home("dev").rename(tmp_path / 'a 100% "$HOME"')

    def install(*options: str) -> subprocess.CompletedProcess[str]:
        command = [*EDGELOOP, "device", "install", str(home), "--user", "root", "--dry-run", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    leaky = install("--mqtt", "mqtt://me:s3cret@broker/plant")
    assert (leaky.returncode, leaky.stdout, "holds credentials" in leaky.stderr) == (2, "", True)
    found = install("--mqtt", "mqtt://broker/plant/#", "--metrics", "9464")
    assert found.returncode == 0
    path = tmp_path / "edgeloop-dev.service"
    path.write_text(found.stdout)
    checked = subprocess.run([program, "verify", path], capture_output=True, text=True, check=False)
    complaints = [
        line for line in checked.stderr.splitlines() if path.name in line and "Unknown key 'Restart" not in line
    ]
    assert (checked.returncode, complaints) == (0, [])
    assert f'"{tmp_path / "store"}"' in found.stdout  # this store is a directory, which it writes to
    assert '100%% \\"$$HOME\\"" "--mqtt" "mqtt://broker/plant/#" "--metrics" "9464"' in found.stdout
