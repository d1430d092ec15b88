"""Readings from a real broker: none is lost, whoever is killed; what is no reading is skipped; secrets stay out of sight."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt

from edge_runtime.device import Device
from edge_runtime.mqtt import PASSWORD, USER, Address
from edgeloop.errors import ConfigError
from tests.edge_runtime.broker import Broker, person, running
from tests.site import LOOP, Site, make_site, readings

SOON = 30.0
NO_STORE = "/dev/null/none"
"""So that all events stay on the device."""
ROOT = Path(__file__).parents[2]
EDGELOOP = (sys.executable, "-c", "from edgeloop.cli import main; main()")


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + SOON
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@contextmanager
def device_process(home: Path, url: str, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [*EDGELOOP, "device", "run", str(home), "--mqtt", url, "--json", *options]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> tuple[dict[str, object], str]:
    """Ask it to end; its status, and what it said."""
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=SOON)
    return json.loads(out), said


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return make_site(tmp_path, LOOP.replace("[device]", '[device]\ndurability = "event"'))


def recorded(home: Path) -> list[float]:
    """The first value of each event that waits on the disk."""
    with Device.inspect(home) as device:
        return [event.inputs[0] for event in device._spool.oldest(1000)]


def test_every_reading_is_answered_though_the_broker_is_killed(here: Site) -> None:
    home = here.home("dev", NO_STORE)
    rows = [json.dumps(reading) for reading in readings(10)]
    expected = [float(reading["a"]) for reading in readings(10)]  # type: ignore[arg-type]
    with running(Broker(here.directory)) as broker, person(broker, name="someone") as someone:
        someone.say("in", json.dumps({"a": 9}), retain=True)  # before it first listens: old news
        with person(broker, "in", name="edgeloop-pump-dev"):
            pass  # the device was here before: the broker keeps what is for it
        for payload in (b"\xff not json", *rows[:5]):
            someone.say("in", payload)
        url = f"mqtt://127.0.0.1:{broker.port}/in"
        with device_process(home, url, "--answers", "answers") as process:
            wait_for(lambda: len(someone.heard) >= 5)
            broker.kill()
            broker.start()
            for row in rows[5:]:
                someone.say("in", row)
            wait_for(lambda: set(recorded(home)) >= set(expected))
            wait_for(lambda: len(someone.heard) >= 10)
            status, said = end(process)
    numbers = [json.loads(answer)["seq"] for answer in someone.heard]
    assert set(numbers) == set(range(1, max(numbers) + 1))
    assert list(dict.fromkeys(recorded(home))) == expected  # in order; one whose acknowledgement was lost comes twice
    assert status["produced"] == len(recorded(home))
    assert said.count("trying on") == 1
    assert said.count("no reading") == 1


KILLED = """
import sys
from datetime import timedelta
from pathlib import Path
from edge_runtime.daemon import serve
from edge_runtime.device import Device
from edge_runtime.mqtt import Address, subscribe
from tests.site import kill_self

home, url, last = sys.argv[1:]
with Device.open(Path(home)) as device, subscribe(Address.parse(url), "dev", {}, say=print, bad=print) as readings:
    serve(device, readings, timedelta(hours=1), lambda answer: kill_self() if answer.seq == int(last) else None)
"""


def test_a_device_killed_before_the_acknowledgement_gets_the_reading_again(here: Site) -> None:
    home = here.home("dev", NO_STORE)

    def run_and_kill(port: int, last: int) -> None:
        command = [sys.executable, "-c", KILLED, str(home), f"mqtt://127.0.0.1:{port}/in", str(last)]
        assert subprocess.run(command, cwd=ROOT, timeout=SOON, check=False).returncode == -signal.SIGKILL

    with running(Broker(here.directory)) as broker:
        with person(broker, "in", name="dev"):
            pass  # the device was here before: the broker keeps what is for it
        with person(broker) as someone:
            for reading in readings(3):
                someone.say("in", json.dumps(reading))
        run_and_kill(broker.port, 1)
        run_and_kill(broker.port, 4)
    first, second, third = (reading["a"] for reading in readings(3))
    assert recorded(home) == [first, first, second, third]  # the first was recorded, not acknowledged, and came again


def test_a_broker_that_wants_tls_and_a_password_gets_both_from_the_environment(here: Site) -> None:
    key, certificate, passwords = (here.directory / name for name in ("key.pem", "cert.pem", "passwords"))
    request = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    passwords.write_text("dev:s3cret\n")
    broker = Broker(
        here.directory,
        f"allow_anonymous false\npassword_file {passwords}\ncertfile {certificate}\nkeyfile {key}",
    )
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, capture_output=True)
    with running(broker):
        url = f"mqtts://localhost:{broker.port}/in"
        trust = {"EDGELOOP_MQTT_CA": str(certificate), USER: "dev"}
        for environment, said in (
            ({**trust, PASSWORD: "wrong"}, "Not authorized"),
            ({USER: "dev", PASSWORD: "s3cret"}, "certificate verify failed"),
        ):
            with device_process(here.home(f"dev{len(said)}"), url, **environment) as process:
                assert process.stderr is not None
                assert said in process.stderr.readline()
    home = here.home("dev")

    def introduce(client: mqtt.Client) -> None:
        client.tls_set(str(certificate))
        client.username_pw_set("dev", "s3cret")

    with (
        running(broker),
        device_process(home, url, "--answers", "answers", **trust, **{PASSWORD: "s3cret"}) as process,
        person(broker, introduce=introduce) as someone,
    ):
        wait_for(lambda: someone.say("in", "{}") or someone.heard)
        assert end(process)[1] == ""


def test_an_address_is_read_and_what_it_may_not_say_is_refused() -> None:
    assert Address.parse("mqtt://broker/plant/#") == Address("broker", 1883, False, "plant/#")
    assert Address.parse("mqtts://[::1]:99/a?b", "c") == Address("::1", 99, True, "a?b", "c")
    for url in (
        "broker/topic",
        "http://broker/topic",
        "mqtt://broker",
        "mqtt://broker:x/topic",
        "mqtt:///topic",
        "mqtt://a..b/t",
        "mqtt://b/#/x",
        "mqtt://b/x+",
    ):
        with pytest.raises(ConfigError, match="names no topic"):
            Address.parse(url)
    for url in ("mqtt://me:s3cret@broker/topic", "mqtt://me:s3cret@broker"):
        with pytest.raises(ConfigError, match="credentials") as refused:
            Address.parse(url)
        assert "s3cret" not in str(refused.value)
    for answers in ("plant/answers", "other/+"):
        with pytest.raises(ConfigError, match="cannot be published"):
            Address.parse("mqtt://broker/plant/#", answers)
