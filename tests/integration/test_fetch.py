"""How releases get to a device: by what requests, with what room, over links and stores that fail; from a directory, and from an S3."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import msgspec
import pytest
from tuf.api.metadata import TargetFile, Targets

from edge_runtime import updater
from edge_runtime.device import Device
from edge_runtime.settings import read_settings
from edgeloop.layout import RELEASE_METADATA
from edgeloop.status import UpdateState
from edgeloop.store import Store, open_store
from fleet.releases import list_releases
from fleet.repository import blob_path, publish, refresh
from tests.conftest import SERVERS
from tests.integration.test_trust import CountingStore, poll, predict, release_to_everyone, released_to_all
from tests.site import Site, link_down, make_site

TIMESTAMP = f"{RELEASE_METADATA}/timestamp.json"


@pytest.fixture
def released(tmp_path: Path) -> Site:
    """Everybody runs r0001, past its probation."""
    return released_to_all(make_site(tmp_path))


class TornStore(CountingStore):
    """Models come in small pieces until `good` of them came, then the link is down."""

    good = 10**9

    def read_range(self, path: str, start: int, length: int) -> bytes:
        if path.endswith(".onnx"):
            self.good -= 1
            if self.good < 0:
                link_down()
        return super().read_range(path, start, length)

    @property
    def model_bytes(self) -> int:
        """Bytes of models that came, without the one that tells an object's version."""
        return sum(size for path, size in self.requests if path.endswith(".onnx") and size > 1)


def newest_model(site: Site) -> tuple[str, bytes]:
    """Where in the store the newest release's model is, and its bytes."""
    artefact = list_releases(site.store, site.centre.keys, "pump")[-1].manifest.models[0]
    path = blob_path(artefact.target, artefact.sha256)
    return path, site.store.read(path)


def poll_by(site: Site, store: Store, **section: float) -> UpdateState:
    """Poll by `store` a device with these settings, and go on predicting."""
    home = site.directory / "devices/dev"
    settings = msgspec.structs.replace(
        read_settings(home), section=msgspec.structs.replace(site.config.device, **section)
    )
    (home / "settings.json").write_bytes(msgspec.json.encode(settings, enc_hook=str))
    with Device.open(home, clock=site.clock, store=store) as device:
        device.poll()
        assert predict(device, 40) > 30
        return device.status().update


def test_too_large_by_policy_is_refused_before_a_byte_of_it_came(released: Site) -> None:
    digest, store = release_to_everyone(released, 9), TornStore(released.store)
    found = poll_by(released, store, model_mb=0.001)
    assert found.state == "refused-release"
    assert "this device takes 0.001 MB at the most. Train a smaller one, or raise model_mb" in found.reason
    assert store.model_bytes == 0
    store.requests.clear()
    assert poll_by(released, store, model_mb=0.001).state == "refused-release"
    assert sum(size for _, size in store.requests) == 0  # nor does asking again cost anything
    assert poll_by(released, store).state == "committed"
    assert (released.directory / "devices/dev/models" / digest / "model.onnx").exists()


def test_no_room_now_is_tried_again(released: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    release_to_everyone(released, 9)
    store = TornStore(released.store)
    with monkeypatch.context() as bent:
        bent.setattr(updater, "memory_available", lambda: 1_000_000.0)
        found = poll_by(released, store)
    assert found.state == "no-room"
    assert found.reason.startswith("r0002 needs 1.3 MB of memory, 1.0 MB are free.")
    with monkeypatch.context() as bent:
        bent.setattr(updater, "disk_usage", lambda _: SimpleNamespace(free=40_000_000))
        assert poll_by(released, store).state == "no-room"
        assert store.model_bytes == 0
        assert poll_by(released, store, spool_mb=20.0).state == "committed"


def test_a_disk_that_fills_up_in_a_download_loses_nothing(released: Site) -> None:
    digest = release_to_everyone(released, 9)
    artefact = list_releases(released.store, released.centre.keys, "pump")[-1].manifest.models[0]
    folder = released.directory / "devices/dev/models" / digest
    folder.mkdir()
    part = folder / f"{artefact.sha256}.part"
    part.symlink_to("/dev/full")  # what is written there meets a real ENOSPC
    state, reason, running = poll(released)
    assert (state, running) == ("no-room", "r0001")
    assert "the disk is full" in reason
    assert not part.is_symlink()
    assert poll(released)[2] == "r0002"


def test_a_download_goes_on_in_another_process_where_it_broke_off(
    released: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.targets.FIRST_RANGE", 1000)
    monkeypatch.setattr("edge_runtime.targets.LARGEST_RANGE", 1000)
    digest, store = release_to_everyone(released, 9), TornStore(released.store)
    _, model = newest_model(released)
    store.good = 2
    assert poll_by(released, store).state == "no-store"
    store.good = 1
    assert poll_by(released, store).state == "no-store"
    (part,) = (released.directory / "devices/dev/models" / digest).glob("*.part")
    assert part.read_bytes() == model[:3000]
    store.good = 10**9
    assert poll_by(released, store).state == "committed"
    assert store.model_bytes == len(model)  # each byte came once
    assert not list((released.directory / "devices/dev/models").glob("*/*.part"))


def test_another_release_is_no_continuation_and_leaves_no_part(released: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.targets.FIRST_RANGE", 1000)
    store = TornStore(released.store)
    release_to_everyone(released, 9)
    store.good = 1
    assert poll_by(released, store).state == "no-store"
    release_to_everyone(released, 10)
    store.good = 0
    assert poll_by(released, store).state == "no-store"
    (part,) = (released.directory / "devices/dev/models").glob("*/*.part")
    assert part.stat().st_size == 0
    store.good = 10**9
    assert poll_by(released, store).state == "committed"


def test_a_model_of_another_length_in_the_store(released: Site) -> None:
    release_to_everyone(released, 9)
    path, model = newest_model(released)
    for stored, expected, says in (
        (model[:-100], "refused-target", f"where {len(model)} were signed, from byte 0 on"),
        (b"", "no-store", "range"),
        (b"x" + model, "refused-target", "is not what was signed"),
    ):
        released.store.replace(path, stored)
        for _ in range(2):
            state, reason, running = poll(released)
            assert (state, running) == (expected, "r0001")
            assert says in reason
    released.store.replace(path, model)
    assert poll(released)[2] == "r0002"


def test_a_wrong_model_is_fetched_ever_more_rarely_until_it_changes(released: Site) -> None:
    release_to_everyone(released, 9)
    path, model = newest_model(released)
    store = TornStore(released.store)
    released.store.replace(path, b"x" + model[1:])
    fetched = []
    for _ in range(9):
        store.requests.clear()
        found = poll_by(released, store)
        assert found.state == "refused-target"
        fetched.append(sum(size for request, size in store.requests if request == path) > 1)
    assert fetched == [True, True, False, True, False, False, False, True, False]
    assert "still is what was not signed" in found.reason
    released.store.replace(path, model)
    assert poll_by(released, store).state == "committed"


def test_a_signed_length_of_a_gigabyte_is_refused_unread(released: Site) -> None:
    digest = release_to_everyone(released, 9)

    def swell(targets: Targets) -> None:
        targets.targets["models/pump/r0002.json"] = TargetFile(10**9, {"sha256": digest}, "models/pump/r0002.json")

    publish(released.store, released.centre.keys, "releases", swell, {}, released.clock.now)
    store = TornStore(released.store)
    found = poll_by(released, store)
    assert found.state == "refused-target"
    assert "is signed with 1000000000 bytes, 4194304 are the most" in found.reason
    assert not [path for path, _ in store.requests if "targets/models" in path]


def test_a_target_without_a_digest_of_ours_is_refused(released: Site) -> None:
    def weaken(targets: Targets) -> None:
        targets.targets["rollouts/pump.json"] = TargetFile.from_data("rollouts/pump.json", b"{}", ["sha512"])

    publish(released.store, released.centre.keys, "rollouts", weaken, {}, released.clock.now)
    state, reason, running = poll(released)
    assert (state, running) == ("refused-target", "r0001")
    assert "signed without a SHA-256 digest" in reason


def test_a_timestamp_that_did_not_change_expires_as_ever(released: Site) -> None:
    store = CountingStore(released.store)
    assert poll_by(released, store).state == "up-to-date"
    released.clock.now += timedelta(days=20)
    store.requests.clear()
    found = poll_by(released, store)
    assert found.state == "refused-metadata"
    assert "expired" in found.reason
    assert dict(store.requests)[TIMESTAMP] == 0  # the store has the same one
    refresh(released.store, released.centre.keys, released.clock.now)
    assert poll_by(released, store).state == "up-to-date"
    assert dict(store.requests)[TIMESTAMP] > 0


def test_what_is_damaged_here_is_asked_for_in_full(released: Site) -> None:
    store = CountingStore(released.store)
    trust = released.directory / "devices/dev/trust"
    length = len(released.store.read(TIMESTAMP))
    poll_by(released, store)
    for name, content in product(("timestamp.json", "timestamp.version"), (b"", b"{}", b"\xff" * 600)):
        (trust / name).write_bytes(content)
        for came in (length, 0):
            store.requests.clear()
            assert poll_by(released, store).state == "up-to-date"
            assert dict(store.requests)[TIMESTAMP] == came


class Line:
    """A plain TCP line to a server; counts the requests on it and the bytes each way."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self._server = (host, port), socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.up = self.down = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            for source, sink, count in ((near, far, self._went_up), (far, near, self._came_down)):
                threading.Thread(target=self._pass_on, args=(source, sink, count), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, count: Callable[[bytes], None]) -> None:
        try:
            while content := source.recv(65536):
                count(content)
                sink.sendall(content)
        except OSError:
            pass
        finally:
            sink.close()
            source.close()

    def _went_up(self, content: bytes) -> None:
        self.up += len(content)
        self.requests += [line for line in content.split(b"\r\n") if line.endswith(b" HTTP/1.1")]

    def _came_down(self, content: bytes) -> None:
        self.down += len(content)

    def clear(self) -> None:
        self.requests, self.up, self.down = [], 0, 0

    def close(self) -> None:
        self._server.close()


@contextmanager
def line_to(url: str) -> Iterator[Line]:
    parts = urlsplit(url)
    line = Line(str(parts.hostname), int(parts.port or 80))
    try:
        yield line
    finally:
        line.close()


def copied(site: Site, store: Store) -> None:
    """What the site has published, in `store` too."""
    for entry in site.store.list("releases"):
        store.replace(entry.path, site.store.read(entry.path))


@pytest.mark.parametrize("store_kind", SERVERS)
def test_what_a_poll_of_an_s3_costs(released: Site, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copied(released, centre := open_store(store_url))
    with line_to(os.environ["AWS_ENDPOINT_URL"]) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{line.address}")
        with Device.open(released.home("far"), clock=released.clock, store=open_store(store_url)) as device:
            device.poll()
            assert device.status().update.state == "probation"
            taken = device.status().downloaded_bytes
            line.clear()
            device.poll()
            assert [request.split(b"/")[-2].split()[0] for request in line.requests] == [
                b"2.root.json",
                b"timestamp.json",
            ]
            assert device.status().downloaded_bytes == taken
            assert line.up + line.down < 4000
            release_to_everyone(released, 9)
            copied(released, centre)
            device.poll()
            assert device.status().release_id == "r0002"


@pytest.mark.parametrize("store_kind", SERVERS)
def test_an_s3_that_breaks_off_is_continued(released: Site, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.targets.FIRST_RANGE", 1000)
    monkeypatch.setattr("edge_runtime.targets.LARGEST_RANGE", 1000)
    release_to_everyone(released, 9)
    copied(released, centre := open_store(store_url))
    store = TornStore(centre)
    path, model = newest_model(released)
    store.good = 2
    assert poll_by(released, store).state == "no-store"
    centre.replace(path, model[:1500])  # what is left of it ends before the part does
    store.good = 10**9
    found = poll_by(released, store)
    assert (found.state, "the store has 0 bytes" in found.reason) == ("refused-target", True)
    centre.replace(path, model)
    assert poll_by(released, store).state == "committed"
