"""Devices that ship to a real MinIO, and pull releases from it, through a proxy that does wrong; and what came of it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import msgspec

from benchmarks.device_faults.centre import Offers, prepare
from benchmarks.store_faults.proxy import Proxy, running
from edge_runtime.device import Device
from edge_runtime.settings import DeviceSettings, create_home
from edgeloop.duration import Duration
from edgeloop.store import Credentials, open_store
from ingest.derived.completeness import completeness
from ingest.run import ingest
from tests.minio import serving
from tests.site import Site, readings

STORE = "s3://edgeloop/faults"
DEVICES, DEADLINE, SHARE = 3, Duration(seconds=2), 0.3


@dataclass
class Findings:
    """What a campaign found; all that `never` names is to be 0."""

    requests: int
    met: Counter[str]
    releases: int = 0
    events: int = 0
    ingested: int = 0
    shed: int = 0
    missing: int = 0
    doubled: int = 0
    unsigned: int = 0
    behind: int = 0
    slowest: float = 0.0

    @property
    def never(self) -> dict[str, int]:
        return {
            "numbers missing from the books": self.missing,
            "events doubled at the centre": self.doubled,
            "model files in place that were not signed": self.unsigned,
            "devices that did not reach the last release": self.behind,
        }


class Line:
    """A device on the line: one thread predicts, another exchanges, until it is `done`."""

    def __init__(self, device: Device, done: threading.Event) -> None:
        self.device, self._done, self.slowest = device, done, 0.0
        self._threads = [threading.Thread(target=work) for work in (self._predict, self._exchange)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _predict(self) -> None:
        for reading in readings(10_000) * 100:
            if self._done.wait(0.005):
                return
            began = time.perf_counter()
            self.device.predict(reading)
            self.slowest = max(self.slowest, time.perf_counter() - began)

    def _exchange(self) -> None:
        while not self._done.wait(0.05):
            self.device.exchange()


def campaign(directory: Path, seconds: float, seed: int) -> Findings:
    """Faults for `seconds`, then none until every device is in order again; what the centre has then, against what was measured."""
    with serving(directory / "minio") as environment, patch.dict(os.environ, environment):
        site = prepare(directory, open_store(STORE))
        offers = Offers(site, spoils=False)
        offers.next()
        where = urlsplit(environment["AWS_ENDPOINT_URL"])
        proxy = Proxy((str(where.hostname), where.port or 0), SHARE, seed)
        with running(proxy) as url, ExitStack() as stack:
            devices = [stack.enter_context(opened(site, number, url, environment)) for number in range(DEVICES)]
            slowest = under_faults(devices, offers, seconds)
            proxy.share = 0.0
            behind = sum(not settles(device, offers) for device in devices)
            statuses = [device.status() for device in devices]
        ingest(site.store, site.lake, site.config, site.clock())
        found = Findings(proxy.requests, proxy.met, offers.made, behind=behind, slowest=slowest)
        found.events, found.shed = sum(s.produced for s in statuses), sum(s.shed for s in statuses)
        found.unsigned = sum(unsigned(device.home, offers.signed) for device in devices)
        count(site, found)
    return found


def opened(site: Site, number: int, url: str, environment: dict[str, str]) -> AbstractContextManager[Device]:
    """A device whose store is behind the proxy."""
    name, config = f"line-{number}", site.config
    section = msgspec.structs.replace(config.device, request_deadline=DEADLINE)
    settings = DeviceSettings(1, config.name, name, STORE, config.schema(), section)
    home = site.directory / "devices" / name
    keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    create_home(home, settings, site.root, credentials=Credentials(url, "us-east-1", *keys))
    return Device.open(home, clock=site.clock)


def under_faults(devices: list[Device], offers: Offers, seconds: float) -> float:
    """Let the devices work, and offer another release every second or two; the slowest prediction, in seconds."""
    done, end = threading.Event(), time.monotonic() + seconds
    lines = [Line(device, done) for device in devices]
    while time.monotonic() < end:
        time.sleep(1.5)
        offers.next()
    done.set()
    for line in lines:
        line.join()
    return max(line.slowest for line in lines)


def settles(device: Device, offers: Offers) -> bool:
    """Whether a device has shipped everything, and runs the release that was offered last."""
    for _ in range(40):  # a model that came wrong is asked for again at every second, fourth, eighth … poll
        good = device.exchange()
        status = device.status()
        if good and status.release == offers.last and not status.spooled:
            return True
    return False


def unsigned(home: Path, signed: set[str]) -> int:
    """The model files of a device that nobody signed."""
    return sum(sha256(path.read_bytes()).hexdigest() not in signed for path in home.glob("models/*/model.*[!t]"))


def count(site: Site, found: Findings) -> None:
    """What the lake has, and the books say."""
    rows, numbers = (
        site.lake.connect(events=None)
        .execute("SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM events WHERE device LIKE 'line-%'")
        .fetchall()[0]
    )
    found.ingested, found.doubled = rows, rows - numbers
    for row in completeness(site.store, site.lake, site.config.layout).to_pylist():
        if row["device"].startswith("line-"):
            found.missing += row["missing"]
