"""Readings from an MQTT broker, and predictions back to it, on the thread that predicts.

Rules:
1. A message of QoS 1 is acknowledged when the next one is asked for, by when its event is recorded: what a killed process had
   not recorded is delivered again to the next one, because the broker keeps the session of a device.
2. Only on the connection that it came by: on another its number may be that of a message which is not recorded yet. So what is
   recorded when a connection breaks can be recorded again; none is left out.
3. A retained message is what was last said before this device listened, and comes anew with each connection: it is no reading.
4. A broker that cannot be reached is tried again with full jitter, for ever.

Credentials come from the environment: every user of a machine can read its command lines.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from paho.mqtt import client as mqtt
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion

from edge_runtime.device import Prediction
from edge_runtime.readings import Reading, parse_reading
from edge_runtime.shipper import backoff
from edgeloop.errors import ConfigError, DataError

USER, PASSWORD, AUTHORITY = "EDGELOOP_MQTT_USER", "EDGELOOP_MQTT_PASSWORD", "EDGELOOP_MQTT_CA"

LONGEST_PAUSE = 60.0
"""Seconds between two tries to reach a broker, at the most."""

Message = mqtt.MQTTMessage


@dataclass(frozen=True, slots=True)
class Address:
    """Where readings come from, and where answers go if anywhere; made by `Address.parse`."""

    host: str
    port: int
    tls: bool
    topic: str
    answers: str = ""

    @classmethod
    def parse(cls, url: str, answers: str = "") -> Address:
        """From mqtt://host:port/topic, or mqtts:// for TLS; `topic` may have wildcards, `answers` may not.

        Raises:
            ConfigError: it is no such URL, holds credentials, or the answers would come back as readings.
        """
        # By hand: a topic may hold # and ?, which URLs have other uses for.
        place, _, topic = url.partition("://")[2].partition("/")
        if "@" in place:
            raise ConfigError(
                "the broker's URL holds credentials, which every user here can read.",
                remedy=f"Set {USER} and {PASSWORD} in the environment.",
            )
        try:
            found = urlsplit(f"{url.partition('://')[0]}://{place}")
            tls = {"mqtt": False, "mqtts": True}[found.scheme]
            port = found.port or (8883 if tls else 1883)
            (found.hostname or "").encode("idna")  # as a look-up of the name will
        except (KeyError, ValueError):
            found = None
        if found is None or not found.hostname or not _is_filter(topic):
            raise ConfigError(
                f"{url!r} names no topic of a broker.", remedy="Write mqtt://host:port/topic, or mqtts://…."
            )
        if answers and (set("+#") & set(answers) or topic_matches_sub(topic, answers)):
            raise ConfigError(
                f"predictions cannot be published to {answers!r}: it has wildcards, or is read from.",
                remedy=f"Name another topic, such as {topic.rstrip('/+#')}-prediction.",
            )
        return cls(found.hostname, port, tls, topic, answers)


def _is_filter(topic: str) -> bool:
    """Wildcards stand for a whole level, # for the last ones. Source: MQTT 3.1.1, 4.7.1."""
    levels = topic.split("/")
    return bool(topic) and "#" not in levels[:-1] and not any(len(s) > 1 and set("+#") & set(s) for s in levels)


class Subscription:
    """The messages of a topic, as an iterator of readings without end; made by `subscribe`."""

    def __init__(
        self, client: mqtt.Client, address: Address, say: Callable[[str], None], bad: Callable[[str], None]
    ) -> None:
        self._client, self._address, self._say, self._bad = client, address, say, bad
        self._inbox: deque[tuple[int, Message]] = deque()
        self._connections, self._failures, self._refusal = 0, 0, ""
        client.on_connect, client.on_subscribe, client.on_message = (
            self._on_connect,
            self._on_subscribe,
            self._on_message,
        )

    def __iter__(self) -> Iterator[Reading]:
        self._connect()
        while True:
            connection, message = self._next()
            if not message.retain:
                try:
                    reading = parse_reading(message.payload)
                except DataError as error:
                    self._bad(error.message)
                else:
                    yield reading
            if connection == self._connections:
                self._client.ack(message.mid, message.qos)

    def answer(self, prediction: Prediction) -> None:
        """Publish a prediction as JSON; while the broker cannot be reached it waits in memory, up to a thousand of them."""
        if self._address.answers:
            self._client.publish(self._address.answers, msgspec.json.encode(prediction), qos=1)

    def _next(self) -> tuple[int, Message]:
        while not self._inbox:
            if self._client.loop(timeout=1.0):
                self._pause(self._refusal or "the connection broke")
                self._connect()
        return self._inbox.popleft()

    def _connect(self) -> None:
        while True:
            try:
                self._client.reconnect()
                return
            except OSError as error:  # of sockets, names and TLS alike
                self._pause(str(error))

    def _pause(self, reason: str) -> None:
        if not self._failures:  # once an outage
            self._say(f"no broker at {self._address.host}:{self._address.port}: {reason}; trying on")
        self._failures += 1
        time.sleep(backoff(self._failures, limit=LONGEST_PAUSE).total_seconds())

    def _on_connect(self, client: mqtt.Client, _: Any, __: object, code: Any, ___: object) -> None:
        self._refusal = str(code) if code.is_failure else ""
        if not code.is_failure:
            self._connections += 1
            self._failures = 0
            client.subscribe(self._address.topic, qos=1)

    def _on_subscribe(self, *found: Any) -> None:
        if any(code.is_failure for code in found[3]):  # client, userdata, number, codes, properties
            self._say(f"the broker refuses the topic {self._address.topic}")

    def _on_message(self, _: mqtt.Client, __: Any, message: Message) -> None:
        self._inbox.append((self._connections, message))


@contextmanager
def subscribe(
    address: Address,
    client_id: str,
    environment: Mapping[str, str],
    *,
    say: Callable[[str], None],
    bad: Callable[[str], None],
) -> Iterator[Subscription]:
    """A subscription; it connects when its first reading is asked for, and leaves the broker at the end.

    Args:
        client_id: under which the broker keeps what comes while nobody listens.
        environment: has credentials, and the file of the authority that signed the broker's certificate if it is not public.
        say: is told when the broker goes, or refuses.
        bad: is told of each message that is no reading; the others go on.

    Raises:
        ConfigError: the authority's file cannot be used.
    """
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id, clean_session=False, reconnect_on_failure=False, manual_ack=True
    )
    client.max_queued_messages_set(1000)
    if USER in environment:
        client.username_pw_set(environment[USER], environment.get(PASSWORD))
    if address.tls:
        client.tls_set_context(_trusting(environment.get(AUTHORITY)))
    client.connect_async(address.host, address.port)
    try:
        yield Subscription(client, address, say, bad)
    finally:
        client.disconnect()


def _trusting(authority: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ConfigError(
            f"the certificate authority {authority} cannot be used: {error}.", remedy=f"Set {AUTHORITY} to a PEM file."
        ) from error
