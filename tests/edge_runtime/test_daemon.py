"""The device as a process: predictions go on whatever the store does, exchanges whatever the input does, and it ends when asked to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edge_runtime.daemon import _Exchange, serve
from edge_runtime.device import Device, Prediction
from edge_runtime.readings import Reading
from edgeloop.clock import system_clock
from tests.site import LOOP, BentStore, Site, hear_ctrl_c, link_down, make_site, readings

EDGELOOP = (sys.executable, "-c", "from edgeloop.cli import main; main()")
End = Callable[[subprocess.Popen[str]], None]
SOON = 20.0
OFTEN = timedelta(milliseconds=20)


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + SOON
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_predictions_go_on_while_the_store_hangs(here: Site) -> None:
    hanging, free = threading.Event(), threading.Event()

    def hang(verb: str, path: str) -> None:
        if verb == "create":
            hanging.set()
            free.wait()

    answers: list[Prediction] = []
    slowest = 0.0

    def feed() -> Iterator[Reading]:
        nonlocal slowest
        yield None, readings(1)[0]
        wait_for(lambda: hanging.is_set())
        for reading in readings(2000):
            began = time.perf_counter()
            yield None, reading
            slowest = max(slowest, time.perf_counter() - began)

    home, store = here.home("dev"), BentStore(here.store, before=hang)
    with Device.open(home, clock=here.clock, store=store) as device:
        began = time.monotonic()
        assert serve(device, feed(), OFTEN, answers.append, patience=0.5) == 2001
        assert time.monotonic() - began < SOON
        assert slowest < 1
        assert device.status().acked == 0
    free.set()  # whoever waited for the store finds a closed device, and says nothing
    assert [answer.seq for answer in answers] == list(range(1, 2002))
    with here.open("dev") as device:
        assert device.exchange()
        assert device.status().acked == 2001


def test_a_silent_input_is_exchanged_and_its_events_are_written(here: Site) -> None:
    with here.open("dev") as device:

        def feed() -> Iterator[Reading]:
            yield None, readings(1)[0]
            wait_for(lambda: device.status().produced == 1)  # though no second reading came that would have it written
            wait_for(lambda: device.status().acked == 1)
            yield None, readings(1)[0]

        serve(device, feed(), OFTEN, lambda _: None)
        assert device.status().acked == 2


def test_a_store_that_is_down_is_tried_again_and_the_input_ends_it(here: Site) -> None:
    store = BentStore(here.store, before=link_down)
    tries: list[bool] = []
    with Device.open(here.home("dev"), clock=here.clock, store=store) as device:
        real = device.exchange
        device.exchange = lambda: tries.append(real()) or tries[-1]  # type: ignore[method-assign,func-returns-value]

        def feed() -> Iterator[Reading]:
            yield None, readings(1)[0]
            wait_for(lambda: len(tries) > 1)

        serve(device, feed(), OFTEN, lambda _: None)
    assert not any(tries)


def test_a_fleet_that_starts_together_does_not_exchange_together(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with here.open("dev") as device:
        every = timedelta(hours=1)
        assert _Exchange(device, every, lambda: None).first_pause == 0  # it has no release: that comes first
        released = msgspec.structs.replace(device.status(), release="f" * 64)
        monkeypatch.setattr(device, "status", lambda: released)
        first = [_Exchange(device, every, lambda: None) for _ in range(100)]
        assert {int(exchange.first_pause // 900) for exchange in first} == {0, 1, 2, 3}
        next_ = [exchange.step() for exchange in first[:20]]
        assert all(0.8 * 3600 <= pause <= 1.2 * 3600 for pause in next_)
        assert max(next_) - min(next_) > 60


def test_what_comes_up_in_an_exchange_ends_neither_it_nor_predictions(
    here: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with here.open("dev") as device:
        monkeypatch.setattr(device, "exchange", lambda: 1 // 0)
        assert serve(device, [(None, readings(1)[0])], OFTEN, lambda _: None) == 1
    assert "failed, and goes on" in caplog.text


def gone_reader(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.close()
    process.stdin.write("{}\n")
    process.stdin.flush()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda process: process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda process: process.send_signal(signal.SIGINT), 128 + signal.SIGINT),
        (lambda process: process.stdin.close(), 0),
        (gone_reader, 128 + signal.SIGPIPE),
    ],
)
def test_a_process_ends_when_it_is_asked_to_and_loses_nothing(here: Site, end: End, code: int) -> None:
    home = here.home("dev")
    process = subprocess.Popen(
        [*EDGELOOP, "device", "run", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for reading in readings(3):
        process.stdin.write(json.dumps(reading) + "\n")
    process.stdin.flush()
    for _ in range(3):
        assert process.stdout.readline()
    end(process)
    assert process.wait(SOON) == code
    process.stdin.close()
    process.stdout.close()
    with Device.inspect(home, clock=system_clock) as device:
        assert device.status().produced == 3 + (end is gone_reader)


def test_what_a_person_gets_wrong_is_said_and_has_its_exit_code(here: Site) -> None:
    def edgeloop(*arguments: object) -> tuple[int, str]:
        done = subprocess.run(
            [*EDGELOOP, "device", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, " ".join(done.stderr.split())

    home, loop, bad = here.home("dev"), here.directory / "loop.toml", here.directory / "bad.csv"
    loop.write_text(LOOP)
    bad.write_text("ts,a\n31/12/2024,1\n")
    options = ("--store", here.store.url, "--device", "new")
    code, said = edgeloop("create", here.directory / "new", loop, *options, "--root", here.directory / "missing.json")
    assert (code, "cannot be read: No such file" in said) == (2, True)
    assert not (here.directory / "new").exists()
    code, said = edgeloop("create", bad / "new", loop, *options, "--root", home / "root.json")
    assert (code, "cannot be made: Not a directory" in said) == (2, True)
    code, said = edgeloop("run", home, "--replay", bad)
    assert (code, "which is no time" in said) == (3, True)
    with here.open("dev"):
        code, said = edgeloop("run", home)
    assert (code, "another process runs the device" in said) == (2, True)
