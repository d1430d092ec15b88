"""A poll that finds nothing, and one that finds a timestamp signed anew, against the least that TUF allows, on one MinIO.

The least is python-tuf's own client: `Updater.refresh` over a connection that is kept, of a repository that anybody may read. Ours signs
its requests, looks at the rollout that it has kept as well, and writes to its disk, so that it lasts, when it verified and what came of it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from minio import Minio
from tuf.ngclient import Updater
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from edge_runtime.device import Device
from edgeloop.layout import RELEASE_METADATA
from edgeloop.store import open_store
from fleet.repository import refresh
from tests.edge_runtime.releases import release
from tests.integration.test_fetch import Line, line_to
from tests.minio import serving
from tests.site import Site, make_site, pass_probation

POLLS = 200
STORE = "s3://edgeloop"
READ_ALL = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": ["arn:aws:s3:::edgeloop/releases/*", "arn:aws:s3:::edgeloop"],
        }
    ],
}


class Floor:
    """Python-tuf's client by itself."""

    def __init__(self, site: Site) -> None:
        self._trust, self._root, self._clock = site.directory / "floor", site.root, site.clock
        self._url = f"{os.environ['AWS_ENDPOINT_URL']}/edgeloop/{RELEASE_METADATA}/"
        self._fetcher = CountingFetcher()

    def poll(self) -> None:
        updater = Updater(str(self._trust), self._url, fetcher=self._fetcher, bootstrap=self._root)
        updater._trusted_set.reference_time = self._clock()
        updater.refresh()

    def downloaded(self) -> int:
        return self._fetcher.bytes


class CountingFetcher(Urllib3Fetcher):
    """Counts the bytes of objects that come."""

    bytes = 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        for chunk in super()._fetch(url):
            self.bytes += len(chunk)
            yield chunk


class Ours:
    """A device at work."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def poll(self) -> None:
        self._device.poll()
        assert self._device.status().update.state == "up-to-date", self._device.status().update

    def downloaded(self) -> int:
        return self._device.status().downloaded_bytes


@dataclass(frozen=True)
class Cost:
    """Of one poll: requests, bytes of objects, bytes on the wire each way, and milliseconds."""

    requests: float
    objects: float
    up: float
    down: float
    ms: float


@contextmanager
def clients(site: Site) -> Iterator[dict[str, Floor | Ours]]:
    """Both, by the endpoint that the environment names now."""
    home = site.directory / "devices/dev"
    with Device.open(home, clock=site.clock, store=open_store(STORE)) as device:
        yield {"floor": Floor(site), "edgeloop": Ours(device)}


def measure(site: Site, before: Callable[[], None]) -> dict[str, Cost]:
    """What a poll costs each of them, once `before` was done."""
    direct = os.environ["AWS_ENDPOINT_URL"]
    with line_to(direct) as line:
        os.environ["AWS_ENDPOINT_URL"] = f"http://{line.address}"
        with clients(site) as polled:
            bytes_of = {name: weigh(client, line, before) for name, client in polled.items()}
    os.environ["AWS_ENDPOINT_URL"] = direct
    times: dict[str, list[float]] = {name: [] for name in bytes_of}
    with clients(site) as polled:
        for _ in range(POLLS):  # by turns: what else the machine does falls on both
            before()
            for name, client in polled.items():
                began = time.perf_counter()
                client.poll()
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: Cost(*found, median(times[name])) for name, found in bytes_of.items()}


def weigh(client: Floor | Ours, line: Line, before: Callable[[], None]) -> tuple[int, int, int, int]:
    """Requests, bytes of objects and bytes on the wire of one poll, over a connection that is there."""
    client.poll()
    before()
    line.clear()
    taken = client.downloaded()
    client.poll()
    return len(line.requests), client.downloaded() - taken, line.up, line.down


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as drive,
        tempfile.TemporaryDirectory() as name,
        serving(Path(drive)) as environment,
    ):
        os.environ |= environment
        endpoint = urlsplit(environment["AWS_ENDPOINT_URL"]).netloc
        keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        Minio(endpoint, *keys, secure=False).set_bucket_policy("edgeloop", json.dumps(READ_ALL))
        site = make_site(Path(name), store=open_store(STORE))
        release(site, 8, "onnx")
        pass_probation(site)
        site.clock.now = site.clock.now
        print_costs("nothing new", measure(site, lambda: None))
        print_costs("a new timestamp", measure(site, lambda: refresh(site.store, site.keys, site.clock.now)))


def print_costs(what: str, found: dict[str, Cost]) -> None:
    floor, ours = found["floor"], found["edgeloop"]
    print(f"{what:24}    floor   edgeloop    ratio")
    for word, of_floor, of_ours in (
        ("requests", floor.requests, ours.requests),
        ("bytes of objects", floor.objects, ours.objects),
        ("bytes up", floor.up, ours.up),
        ("bytes down", floor.down, ours.down),
        ("ms", floor.ms, ours.ms),
    ):
        print(f"  {word:22}{of_floor:9.4g}{of_ours:11.4g}{of_ours / of_floor:9.2f}")


if __name__ == "__main__":
    main()
