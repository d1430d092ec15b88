"""A real mosquitto that a test can kill and start again, and somebody who talks to it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt


class Broker:
    """On loopback, in `directory`, with what it keeps on disk after each change; `lines` of configuration are added."""

    def __init__(self, directory: Path, lines: str = "allow_anonymous true") -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            pytest.skip("no mosquitto on this machine; .ci/run shows how to get it with apt")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = directory / "mosquitto.conf"
        kept = f"persistence true\npersistence_location {directory}/\nautosave_on_changes true\nautosave_interval 1\n"
        user = "user root\n"  # or it would leave root, and its directory with it
        config.write_text(f"listener {self.port} 127.0.0.1\n{kept}{user}{lines}\n")
        self._command = [program, "-c", str(config)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        pytest.fail("mosquitto does not answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Person:
    """Publishes readings, and hears what is said on the other topic."""

    def __init__(self, port: int, hears: str, introduce: Callable[[mqtt.Client], object], name: str) -> None:
        self.heard: list[bytes] = []
        self._taken: set[int] = set()
        listening = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, clean_session=not name)
        self._client.on_connect = lambda client, *_: client.subscribe(hears, qos=1)
        self._client.on_subscribe = lambda *_: listening.set()
        self._client.on_message = lambda _, __, message: self.heard.append(message.payload)
        self._client.on_publish = lambda _, __, number, *___: self._taken.add(number)
        self._client.reconnect_delay_set(1, 1)
        introduce(self._client)
        self._client.connect("localhost", port)
        self._client.loop_start()
        assert listening.wait(20)

    def say(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Until the broker has it."""
        number = self._client.publish(topic, payload, qos=1, retain=retain).mid
        for _ in range(2000):
            if number in self._taken:
                return
            time.sleep(0.01)
        pytest.fail("the broker did not take it")

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@contextmanager
def person(
    broker: Broker, hears: str = "answers", introduce: Callable[[mqtt.Client], object] = lambda _: None, name: str = ""
) -> Iterator[Person]:
    """Who is heard once `introduce` has given the client what the broker wants; with a `name` the broker keeps a session."""
    found = Person(broker.port, hears, introduce, name)
    try:
        yield found
    finally:
        found.leave()
