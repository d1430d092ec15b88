"""Releases from a real repository on a real device: what must be refused is, with a status that says why, and the old model goes on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from sqlite3 import Connection

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile, Targets

from assets.delivery import publish_newest, step_rollout
from assets.learning import train_next
from edge_runtime.device import Device
from edge_runtime.state import StateFile
from edgeloop.errors import GateRefused, PreconditionFailed
from edgeloop.layout import RELEASE_METADATA
from edgeloop.rollout import ReleaseRef
from edgeloop.store import Store, open_store
from fleet.gate import Decision
from fleet.releases import list_releases, publish_release
from fleet.repository import blob_path, publish, refresh
from fleet.rollouts import conclude, publish_rollout, read_current
from tests.conftest import SERVERS
from tests.site import Site, fill_lake, make_site, pass_probation, predict, readings

DAY = timedelta(days=1)


@pytest.fixture(params=["directory", *SERVERS])
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Site:
    """Everybody runs r0001, past its probation."""
    return released_to_all(make_site(tmp_path, store=open_store(store_url)))


def released_to_all(site: Site) -> Site:
    fill_lake(site, 24 * 8)
    release(site, 8)
    pass_probation(site)
    return site


def release(site: Site, day: float) -> None:
    """Train, publish, begin to roll out."""
    site.clock.now = site.clock.now.replace(year=2024, month=1, day=1) + day * DAY
    refresh(site.store, site.centre.keys, site.clock.now)
    assert train_next(site.centre, site.config).verdict.passed
    assert publish_newest(site.centre, site.config) is not None
    step_rollout(site.centre, site.config)


def release_to_everyone(site: Site, day: float) -> str:
    """A second release that this one device is to get; its digest."""
    release(site, day)
    document = read_current(site.store, site.centre.keys, "pump")
    assert document is not None
    assert document.candidate is not None
    everyone = conclude(document, Decision("promote", "test"), site.clock.now)
    publish_rollout(site.store, site.centre.keys, everyone, site.clock.now, based_on=document)
    return document.candidate.sha256


def poll(site: Site) -> tuple[str, str, str]:
    """Poll on the device, which must go on predicting; state, reason, the release it runs."""
    with site.open("dev") as device:
        device.poll()
        assert predict(device, 40) > 30
        status = device.status()
        return status.update.state, status.update.reason, status.release_id


def test_a_good_release_is_taken_and_committed(site: Site) -> None:
    release_to_everyone(site, 9)
    with site.open("dev") as device:
        device.poll()
        assert device.status().update.state == "probation"
        predict(device, 10)
        assert device.status().update.state == "committed"
        assert device.status().release_id == "r0002"


def test_one_byte_changed_in_the_model(site: Site) -> None:
    release_to_everyone(site, 9)
    artefact = list_releases(site.store, site.centre.keys, "pump")[-1].manifest.models[0]
    path = blob_path(artefact.target, artefact.sha256)
    content = bytearray(site.store.read(path))
    content[len(content) // 2] ^= 1
    site.store.replace(path, bytes(content))
    state, reason, running = poll(site)
    assert (state, running) == ("refused-target", "r0001")
    assert "r0002.onnx is not what was signed" in reason
    content[len(content) // 2] ^= 1
    site.store.replace(path, bytes(content))
    assert poll(site)[2] == "r0002"  # mended in the store, it is taken after all


def test_a_release_signed_by_the_wrong_key(site: Site) -> None:
    release_to_everyone(site, 9)
    newest = max(site.store.list(RELEASE_METADATA), key=lambda e: (e.path.endswith(".releases.json"), e.path)).path
    metadata = Metadata[Targets].from_bytes(site.store.read(newest))
    metadata.sign(CryptoSigner.generate_ed25519(), append=False)
    site.store.replace(newest, metadata.to_bytes())
    state, reason, running = poll(site)
    assert running == "r0001"
    assert state in ("refused-metadata", "refused-target")
    assert "refused" in reason
    assert "signed by 0/1 keys" in reason


def test_an_old_timestamp_put_back(site: Site) -> None:
    timestamp = f"{RELEASE_METADATA}/timestamp.json"
    old = site.store.read(timestamp)
    release_to_everyone(site, 9)
    assert poll(site)[2] == "r0002"
    site.store.replace(timestamp, old)
    state, reason, running = poll(site)
    assert (state, running) == ("refused-metadata", "r0002")
    assert "version" in reason


def test_an_expired_timestamp_stops_updates_and_not_inference(site: Site) -> None:
    release_to_everyone(site, 9)
    site.clock.now += 20 * DAY
    state, reason, running = poll(site)
    assert (state, running) == ("refused-metadata", "r0001")
    assert "expired" in reason
    site.clock.now = site.clock.now.replace(year=1971)  # nor does a clock that fell back make it fresh again …
    assert poll(site)[2] == "r0002"  # … but signatures made after the last good check are still within their time


def test_the_rollout_key_alone_installs_nothing(site: Site) -> None:
    document = read_current(site.store, site.centre.keys, "pump")
    assert document is not None
    forged = msgspec.structs.replace(document, stable=ReleaseRef("r0001", 9, "e" * 64))
    publish_rollout(site.store, site.centre.keys, forged, site.clock.now, based_on=document)
    state, reason, running = poll(site)
    assert (state, running) == ("refused-target", "r0001")
    assert "`releases` does not sign" in reason


@pytest.mark.parametrize("digest", ["../../../elsewhere", "E" * 64, "e" * 63, ""])
def test_a_digest_that_is_none_never_becomes_a_path(site: Site, digest: str) -> None:
    document = read_current(site.store, site.centre.keys, "pump")
    assert document is not None
    forged = msgspec.structs.replace(document, stable=ReleaseRef("r0001", 9, digest))
    publish_rollout(site.store, site.centre.keys, forged, site.clock.now, based_on=document)
    before = sorted(site.directory.rglob("*"))
    state, reason, running = poll(site)
    assert (state, running) == ("refused-target", "r0001")
    assert "is no SHA-256 digest" in reason
    assert {path.name for path in set(site.directory.rglob("*")) - set(before)} <= {"1.root.json", "rollout.json"}


class CountingStore(Store):
    """Counts what is read: path and bytes of each request."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner._backend, inner.url, inner.directory)
        self.requests: list[tuple[str, int]] = []

    def read_range(self, path: str, start: int, length: int) -> bytes:
        self.requests.append((path, 0))
        content = super().read_range(path, start, length)
        self.requests[-1] = (path, len(content))
        return content

    def read_unless(self, path: str, version: str, length: int) -> tuple[bytes, str] | None:
        self.requests.append((path, 0))
        found = super().read_unless(path, version, length)
        self.requests[-1] = (path, len(found[0]) if found else 0)
        return found


def test_a_poll_that_finds_nothing_is_two_requests_without_an_answer(site: Site) -> None:
    store = CountingStore(site.store)
    with Device.open(site.home("other"), clock=site.clock, store=store) as device:
        device.poll()
        store.requests.clear()
        device.poll()
        assert device.status().update.state == "probation"
        assert [path.rpartition("/")[2] for path, _ in store.requests] == ["2.root.json", "timestamp.json"]
        assert sum(size for _, size in store.requests) == 0
        (device.home / "rollout.json").write_bytes(b"{}")  # what is kept is verified each time
        device.poll()
        assert device.status().update.state == "probation"


def test_a_poll_that_finds_nothing_writes_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with site.open("dev") as device:
        device.poll()
        transaction = StateFile.transaction

        def counted(state: StateFile) -> AbstractContextManager[Connection]:
            written.append(1)
            return transaction(state)

        written: list[int] = []
        monkeypatch.setattr(StateFile, "transaction", counted)
        site.clock.now += timedelta(minutes=5)
        device.poll()
        assert len(written) == 1
    with Device.inspect(site.directory / "devices/dev", clock=site.clock) as device:
        assert device.status().verified_at == site.clock.now


def test_an_endless_object_is_read_no_further_than_it_may_be_long(site: Site) -> None:
    store = CountingStore(site.store)
    site.store.replace(f"{RELEASE_METADATA}/timestamp.json", b" " * 10_000_000)
    with Device.open(site.directory / "devices/dev", clock=site.clock, store=store) as device:
        device.poll()
        assert device.status().update.state == "refused-metadata"
        assert "longer than the 16384 bytes allowed" in device.status().update.reason
        assert predict(device, 20) > 10
    assert sum(size for _, size in store.requests) < 20_000


def test_a_model_damaged_on_the_device_is_never_run(site: Site) -> None:
    (model,) = (site.directory / "devices/dev/models").glob("*/model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with site.open("dev") as device:
        assert device.predict(readings(1)[0]).label is None
        assert device.status().update.state == "refused-release"
        device.poll()  # and is fetched again
        assert device.predict(readings(1)[0]).label is not None


def test_publish_refuses_what_has_no_pass_for_its_very_digest(site: Site) -> None:
    candidate = train_next(site.centre, site.config)
    artefacts = {a.target: candidate.model for a in candidate.manifest.models}
    manifest, verdict = candidate.manifest.encode(), candidate.verdict.encode()
    attempts = [
        (
            manifest.replace(b'"latency_budget_ms":50.0', b'"latency_budget_ms":51.0'),
            artefacts,
            verdict,
            "a verdict holds for one digest",
        ),
        (manifest, {t: m + b" " for t, m in artefacts.items()}, verdict, "the manifest of r0002 names"),
        (manifest, artefacts, verdict.replace(b'"passed":true', b'"passed":false'), "did not pass its gates"),
    ]
    before = site.store.read(f"{RELEASE_METADATA}/timestamp.json")
    for attempt in attempts:
        with pytest.raises(GateRefused, match=attempt[3]):
            publish_release(site.store, site.centre.keys, *attempt[:3], frozenset(), site.clock.now)
    assert site.store.read(f"{RELEASE_METADATA}/timestamp.json") == before


def test_of_two_publishers_one_wins_and_a_repeat_succeeds(site: Site) -> None:
    keys, now = site.centre.keys, site.clock.now

    def change(targets: Targets) -> None:
        if not inner:
            inner.append(1)
            publish(site.store, keys, "rollouts", change, {}, now)  # the other one, in the middle of ours
        targets.targets["rollouts/x.json"] = TargetFile.from_data("rollouts/x.json", b"x", ["sha256"])

    inner: list[int] = []
    with pytest.raises(PreconditionFailed):
        publish(site.store, keys, "rollouts", change, {}, now)
    publish(site.store, keys, "rollouts", change, {}, now)
    assert poll(site)[0] == "up-to-date"
