"""The attacks that The Update Framework is made against, on the real device before a real MinIO.

On the device r0001 is in force; r0002 is published, and everybody's. Who attacks can write to the whole bucket, and has the keys that
the row says. What must be refused is, the status object in the store says why, and the model in force goes on answering.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import pytest
from tuf.api.metadata import MetaFile

from assets.delivery import publish_newest
from assets.trainings import write_training
from benchmarks.store_faults.proxy import Proxy, running
from edge_runtime.device import Device
from edgeloop.clock import SimulatedClock
from edgeloop.errors import RefusedError, TrustError
from edgeloop.layout import RELEASE_METADATA
from edgeloop.rollout import ReleaseRef
from edgeloop.status import DeviceStatus, decode_status
from edgeloop.store import Store, open_store
from edgeloop.verdict import VERDICT_VERSION, Check, Verdict
from fleet.keys import Keys
from fleet.metadata import LIFETIME
from fleet.releases import list_releases, read_release
from fleet.repository import blob_path, publish, refresh
from tests.edge_runtime.releases import KINDS, release
from tests.integration.attacker import ALL, TIMESTAMP, Attacker, contents
from tests.site import Site, make_site, pass_probation, predict

DAY = timedelta(days=1)
ROOTS = ("root-1", "root-2", "root-3")
T = ("timestamp",)
ST = ("snapshot", "timestamp")
A, B, AB = ("releases", *ST), ("rollouts", *ST), ("releases", "rollouts", *ST)
NEXT_ROOT = f"{RELEASE_METADATA}/2.root.json"
NOT_AS_NAMED = "is not signed as its manifest names it"
TENFOLD = b" " * 10_000_000
UNSIGNED = ReleaseRef("r0009", 9, "e" * 64)


@dataclass(frozen=True)
class Attack:
    """What somebody with the `stolen` keys does, and what the device is to say of it.

    `seen` says that the device has taken r0002 by then, and `later` that it asks only so long after.
    """

    name: str
    stolen: tuple[str, ...]
    do: Callable[[Attacker], None]
    says: str
    state: str = "refused-metadata"
    seen: bool = False
    later: timedelta = timedelta(0)


def nothing(it: Attacker) -> None:
    pass


def renew(role: str) -> Callable[[Attacker], None]:
    return lambda it: it.renew(role)


def exchange_for_older(role: str) -> Callable[[Attacker], None]:
    return lambda it: it.exchange_for_older(role)


def swell(role: str) -> Callable[[Attacker], None]:
    return lambda it: it.put(it.path(role), TENFOLD)


def name_older(role: str) -> Callable[[Attacker], None]:
    """A snapshot that is new names an older version of a role."""
    return lambda it: it.renew("snapshot", lambda found: found.meta.update({f"{role}.json": MetaFile(1)}))


def name_older_snapshot(it: Attacker) -> None:
    it.renew("timestamp", lambda found: setattr(found, "snapshot_meta", MetaFile(2)))


def replace_model(it: Attacker) -> None:
    model = it.manifest().models[0]
    it.put(blob_path(model.target, model.sha256), b"x" * model.length)


def swell_model(it: Attacker) -> None:
    model = it.manifest().models[0]
    it.put(blob_path(model.target, model.sha256), TENFOLD)


def replace_manifest(it: Attacker) -> None:
    manifest = it.manifest()
    it.put(blob_path(manifest.target, manifest.sha256), manifest.encode().replace(b"50.0", b"99.0"))


def replace_rollout(it: Attacker) -> None:
    target = it.read("rollouts").targets["rollouts/pump.json"]
    it.put(blob_path(target.path, target.hashes["sha256"]), it.rollout().encode().replace(b"r0002", b"r0001"))


def swell_rollout(it: Attacker) -> None:
    it.renew("rollouts", it.file("rollouts/pump.json", b"{}", length=10**12))


def sign_release_with(target: str) -> Callable[[Attacker], None]:
    """Sign a release whose model is at `target`, and roll it out."""

    def do(it: Attacker) -> None:
        ref, its_release = it.release(target)
        naming = it.naming(ref)
        it.renew("releases", its_release)
        it.renew("rollouts", naming)

    return do


def sign_release_as_rollouts(it: Attacker) -> None:
    ref, its_release = it.release()
    naming = it.naming(ref)
    it.renew("rollouts", its_release)
    it.renew("rollouts", naming)


def roll_out_as_releases(it: Attacker) -> None:
    it.renew("releases", it.naming(UNSIGNED))


def seize_root(it: Attacker) -> None:
    it.rotate_root("root-2", "root-3", old=["root-1"], new=["root-2", "root-3"])


def sign_release_alone(it: Attacker) -> None:
    it.overwrite("releases", it.release()[1])


def name_unsigned_alone(it: Attacker) -> None:
    it.overwrite("rollouts", it.naming(UNSIGNED))


ATTACKS = (
    # Arbitrary software
    Attack("another model", (), replace_model, "is not what was signed", "refused-target"),
    Attack("another manifest", (), replace_manifest, "r0002.json is not what was signed", "refused-target"),
    Attack("another rollout", (), replace_rollout, "pump.json is not what was signed", "refused-target"),
    Attack("a stranger's timestamp", (), renew("timestamp"), "timestamp was signed by 0/1 keys"),
    Attack("a stranger's snapshot", T, renew("snapshot"), "snapshot was signed by 0/1 keys"),
    Attack("a stranger's targets", ST, renew("targets"), "targets was signed by 0/1 keys"),
    Attack("a stranger's releases", ST, renew("releases"), "releases was signed by 0/1 keys"),
    Attack("a stranger's rollouts", ST, renew("rollouts"), "rollouts was signed by 0/1 keys"),
    # Freeze
    Attack("nothing new", (), nothing, "timestamp.json is expired", later=4 * DAY),
    Attack("nothing new but timestamps", T, renew("timestamp"), "snapshot.json is expired", later=15 * DAY),
    Attack("nothing new but snapshots", ST, renew("snapshot"), "rollouts is expired", later=8 * DAY),
    Attack("nothing new but rollouts", B, renew("rollouts"), "releases is expired", later=61 * DAY),
    # Rollback
    Attack("an old timestamp", (), lambda it: it.put_back(TIMESTAMP), "timestamp version", seen=True),
    Attack("an old snapshot", T, name_older_snapshot, "snapshot version", seen=True),
    Attack("old targets", ST, name_older("targets"), "targets.json version", seen=True),
    Attack("old releases", ST, name_older("releases"), "releases.json version", seen=True),
    Attack("old rollouts", ST, name_older("rollouts"), "rollouts.json version", seen=True),
    # Mix and match
    Attack("a snapshot of another time", (), exchange_for_older("snapshot"), "snapshot version"),
    Attack("targets of another time", (), exchange_for_older("targets"), "Expected targets v"),
    Attack("releases of another time", (), exchange_for_older("releases"), "Expected releases v"),
    Attack("rollouts of another time", (), exchange_for_older("rollouts"), "Expected rollouts v"),
    # Endless data
    Attack("a huge root", (), lambda it: it.put(NEXT_ROOT, TENFOLD), "longer than the 512000 bytes"),
    Attack("a huge timestamp", (), swell("timestamp"), "longer than the 16384 bytes"),
    Attack("a huge snapshot", (), swell("snapshot"), "longer than the 2000000 bytes"),
    Attack("huge releases", (), swell("releases"), "longer than the 5000000 bytes"),
    Attack("a huge rollout", B, swell_rollout, "are the most it may have", "refused-target"),
    Attack("a huge model", (), swell_model, "is not what was signed", "refused-target"),
    # Extraneous dependencies
    Attack("a file nobody signed", AB, sign_release_with("models/pump/x.onnx"), NOT_AS_NAMED, "refused-target"),
    Attack("a file outside", AB, sign_release_with("../../../etc/passwd"), NOT_AS_NAMED, "refused-target"),
    Attack("a file of the other role", AB, sign_release_with("rollouts/pump.json"), NOT_AS_NAMED, "refused-target"),
    Attack("a release by B", B, sign_release_as_rollouts, "which `releases` does not sign", "refused-target"),
    Attack("a rollout by A", A, roll_out_as_releases, "runs r0002", "up-to-date", seen=True),
    # Wrong roots
    Attack("a root by the old keys alone", ROOTS, lambda it: it.rotate_root(*ROOTS), "root was signed by 0/2 keys"),
    Attack("a root by new keys alone", (), lambda it: it.rotate_root(*ROOTS, new=ROOTS), "root was signed by 0/2 keys"),
    Attack("a root by one of three", ROOTS[:1], seize_root, "root was signed by 1/2 keys"),
    Attack(
        "a root that skips one",
        ROOTS,
        lambda it: it.rotate_root(version=3),
        "Expected root version 2 instead got version 3",
    ),
    # One key, and the bucket
    Attack("key A alone", A[:1], sign_release_alone, "runs r0002", "up-to-date", seen=True),
    Attack("key B alone", B[:1], name_unsigned_alone, "which `releases` does not sign", "refused-target"),
)


def centre(site: Site) -> Attacker:
    """Who has all keys by right."""
    return Attacker(site, ALL, lifetimes=LIFETIME)


@dataclass(frozen=True)
class World:
    """The site in a directory, as it is before an attack, and its repository before r0002."""

    site: Site
    before: dict[str, bytes]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    site = make_site(tmp_path_factory.mktemp("world"))
    release(site, 8, KINDS[0])
    pass_probation(site)
    before = contents(site)
    release(site, 9, KINDS[0])
    centre(site).renew("targets")  # so that every role has an older version
    return World(site, before)


@pytest.fixture
def site(world: World, minio: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The world in a MinIO, to be attacked."""
    for name, value in minio.items():
        monkeypatch.setenv(name, value)
    shutil.copytree(world.site.directory, tmp_path, dirs_exist_ok=True)
    store = open_store(f"s3://edgeloop/{uuid4()}")
    for path, content in contents(world.site).items():
        store.create(path, content)
    parts = {"keys": Keys(tmp_path / "keys"), "store": store, "clock": SimulatedClock(world.site.clock.now)}
    return dataclasses.replace(world.site, directory=tmp_path, **parts)


def exchange(site: Site, store: Store | None = None) -> DeviceStatus:
    """Exchange, and go on predicting; what the device says in the store then."""
    with Device.open(site.directory / "devices/dev", clock=site.clock, store=store or site.store) as device:
        device.exchange()
        assert predict(device, 40) > 30
        device.report()
    return decode_status(site.store.read(site.config.layout.status("dev")))


def test_without_an_attack_the_device_takes_the_release(site: Site) -> None:
    found = exchange(site)
    assert (found.update.state, found.release_id) == ("committed", "r0002")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_is_refused(site: Site, world: World, attack: Attack) -> None:
    if attack.seen:
        assert exchange(site).release_id == "r0002"
    honest = contents(site)
    attack.do(Attacker(site, attack.stolen, world.before))
    site.clock.now += attack.later
    found = exchange(site)
    assert (found.update.state, found.release_id) == (attack.state, "r0002" if attack.seen else "r0001")
    assert attack.says in found.update.reason
    if not attack.stolen:  # who could sign nothing leaves no trace once the bucket is mended
        mend(site, honest)
        refresh(site.store, site.keys, site.clock.now)
        assert exchange(site).release_id == "r0002"


def mend(site: Site, honest: dict[str, bytes]) -> None:
    """Put the repository back as it was."""
    for path in contents(site).keys() - honest.keys():
        site.store.delete(path)
    for path, content in honest.items():
        site.store.replace(path, content)


@pytest.mark.parametrize(
    "stolen", [ST, B, (*ROOTS[:2], *AB)], ids=["snapshot and timestamp", "key B", "two roots and all"]
)
def test_versions_run_far_ahead_are_cured_by_new_keys(site: Site, stolen: tuple[str, ...]) -> None:
    honest = contents(site)
    Attacker(site, stolen).renew("rollouts" if "rollouts" in stolen else "snapshot", version=2**31)
    assert exchange(site).release_id == "r0002"  # what they signed is as it was
    mend(site, honest)
    refresh(site.store, site.keys, site.clock.now)
    found = exchange(site)
    assert (found.update.state, found.release_id) == ("refused-metadata", "r0002")
    assert "timestamp version" in found.update.reason
    centre(site).rotate(*stolen)
    assert exchange(site).update.state == "up-to-date"


def test_a_rollout_that_is_withheld_takes_no_floor_away(site: Site) -> None:
    assert exchange(site).release_id == "r0002"
    owner = centre(site)
    document = msgspec.structs.replace(owner.rollout(), floor=2)
    owner.renew("rollouts", owner.file(document.target, document.encode()))
    with Device.open(site.directory / "devices/dev", clock=site.clock, store=site.store) as device:
        device.poll()
        owner.renew("rollouts", owner.file(document.target, document.encode().replace(b"promote", b"running")))
        site.store.delete(blob_path(document.target, owner.read("rollouts").targets[document.target].hashes["sha256"]))
        device.poll()
        assert device.status().update.state == "no-store"
        with pytest.raises(RefusedError, match="under the rollout's floor of 2"):
            device.roll_back()


def test_key_b_chooses_among_what_key_a_signed(site: Site) -> None:
    assert exchange(site).release_id == "r0002"
    thief, older = Attacker(site, B), read_release(site.store, site.keys, "pump", "r0001")
    thief.renew("rollouts", thief.naming(ReleaseRef("r0001", older.manifest.counter, older.sha256)))
    found = exchange(site)
    assert (found.update.state, found.release_id) == ("rolled-back", "r0001")


def test_key_b_brings_nothing_back_that_key_a_signs_no_more(site: Site) -> None:
    assert exchange(site).release_id == "r0002"
    revoked, thief = read_release(site.store, site.keys, "pump", "r0001"), Attacker(site, B)
    centre(site).renew("releases", lambda found: found.targets.pop(revoked.manifest.target))
    thief.renew("rollouts", thief.naming(ReleaseRef("r0001", revoked.manifest.counter, revoked.sha256)))
    found = exchange(site)
    assert (found.update.state, found.release_id) == ("refused-target", "r0002")
    assert "which `releases` does not sign" in found.update.reason


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "rollouts"])
def test_a_publisher_signs_nothing_that_was_not_signed(site: Site, role: str) -> None:
    Attacker(site).overwrite(role, lambda found: None)
    document = Attacker(site).file("rollouts/pump.json", b"{}")
    before = site.store.read(TIMESTAMP)
    with pytest.raises(TrustError, match=role):
        publish(site.store, site.keys, "rollouts", document, {}, site.clock.now)
    assert site.store.read(TIMESTAMP) == before


def test_who_can_write_to_all_of_the_bucket_gets_what_they_like_published(site: Site) -> None:
    """A training waits in the bucket, and is not signed by whoever trained."""
    assert exchange(site).release_id == "r0002"
    model = Attacker(site).manifest().models[0]
    planted = msgspec.structs.replace(Attacker(site).manifest(), id="r0009", counter=9)
    verdict = Verdict(VERDICT_VERSION, planted.sha256, True, (Check("all", True, "", "", ""),), site.clock.now)
    content = site.store.read(blob_path(model.target, model.sha256))
    write_training(site.store, site.config.layout, 9, planted.encode(), content, verdict.encode())
    assert publish_newest(site.centre, site.config) is not None
    assert [found.manifest.id for found in list_releases(site.store, site.keys, "pump")][-1] == "r0009"
    assert exchange(site).release_id == "r0002"  # but it goes the way of every release: a rollout, a wave at a time


def test_both_keys_are_everything_until_they_are_replaced(site: Site) -> None:
    thief = Attacker(site, AB)
    ref, its_release = thief.release()
    naming = thief.naming(ref)
    honest = contents(site)
    thief.renew("releases", its_release)
    thief.renew("rollouts", naming)
    assert exchange(site).release_id == "r0003"
    mend(site, honest)
    centre(site).rotate(*AB)
    assert exchange(site).release_id == "r0002"
    thief.renew("rollouts", naming)
    found = exchange(site)
    assert (found.update.state, found.release_id) == ("refused-metadata", "r0002")


class HostileStore(Proxy):
    """Answers requests for what ends in `victim` without an end: as fast as it can, or a byte at a time."""

    def __init__(self, upstream: tuple[str, int], victim: str, pause: float) -> None:
        super().__init__(upstream, 0.0, 0)
        self._victim, self._pause, self.sent = victim.encode(), pause, 0

    async def _meet(self, fault: str, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        if not head.split(b" ")[1].endswith(self._victim):
            return await super()._meet(fault, head, body, writer)
        reply, _ = await self._ask(head, body)
        lines = [line for line in reply.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
        writer.write(b"\r\n".join([*lines[:-2], b"Content-Length: 1000000000000", b"", b""]))
        piece = b"x" if self._pause else b"x" * 65536
        while True:
            writer.write(piece)
            self.sent += len(piece)
            await writer.drain()
            await asyncio.sleep(self._pause)


@pytest.mark.parametrize(
    ("victim", "pause", "state", "says"),
    [
        ("timestamp.json", 0.0, "refused-metadata", "longer than the 16384 bytes"),
        ("snapshot.json", 0.0, "refused-metadata", "longer than the 2000000 bytes"),
        (".onnx", 0.0, "refused-target", "is not what was signed"),
        ("timestamp.json", 0.1, "no-store", "it took too long"),
        (".onnx", 0.1, "no-store", "it took too long"),
    ],
)
def test_a_reply_without_an_end_is_cut_off(
    site: Site, monkeypatch: pytest.MonkeyPatch, victim: str, pause: float, state: str, says: str
) -> None:
    upstream = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    hostile = HostileStore((str(upstream.hostname), int(upstream.port or 80)), victim, pause)
    with running(hostile) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        found = exchange(site, open_store(site.store.url, deadline=timedelta(seconds=1)))
    assert (found.update.state, found.release_id) == (state, "r0001")
    assert says in found.update.reason
    assert hostile.sent < 64_000_000  # what the connections' buffers take


def test_after_three_weeks_alone_a_device_goes_on_where_it_was(site: Site) -> None:
    site.clock.now += 21 * DAY
    with Device.open(site.directory / "devices/dev", clock=site.clock, store=site.store) as device:
        assert predict(device, 40) > 30
    found = exchange(site)  # the centre was away as long
    assert (found.update.state, found.release_id, found.stale) == ("refused-metadata", "r0001", False)
    assert "timestamp.json is expired" in found.update.reason
    refresh(site.store, site.keys, site.clock.now)
    found = exchange(site)
    assert (found.update.state, found.release_id, found.verified_at) == ("committed", "r0002", site.clock.now)


@contextmanager
def clock_off(site: Site, by: timedelta) -> Iterator[None]:
    """The device's clock is wrong meanwhile."""
    right, site.clock.now = site.clock.now, site.clock.now + by
    yield
    site.clock.now = right


def test_a_clock_that_runs_ahead_stops_no_answer_and_is_forgotten(site: Site) -> None:
    with clock_off(site, 400 * DAY):
        found = exchange(site)
    assert (found.update.state, found.release_id) == ("refused-metadata", "r0001")
    assert "root.json is expired" in found.update.reason
    found = exchange(site)
    assert (found.update.state, found.release_id, found.stale) == ("committed", "r0002", False)


def test_a_clock_that_fell_back_stops_no_answer_and_makes_nothing_fresh(site: Site) -> None:
    assert exchange(site).release_id == "r0002"
    Attacker(site, T, lifetimes={"timestamp": -timedelta(hours=1)}).renew("timestamp")
    with clock_off(site, -400 * DAY):
        found = exchange(site)
    assert (found.update.state, found.release_id) == ("refused-metadata", "r0002")
    assert "timestamp.json is expired" in found.update.reason
    refresh(site.store, site.keys, site.clock.now)
    with clock_off(site, -400 * DAY):
        assert exchange(site).update.state == "up-to-date"  # and what was signed since is taken


def test_a_device_that_never_verified_believes_a_clock_that_is_behind(site: Site) -> None:
    """It has no other time."""
    home = site.home("new", site.store.url)
    site.clock.now += 21 * DAY
    for off, state in ((timedelta(0), "refused-metadata"), (-400 * DAY, "probation")):
        with clock_off(site, off), Device.open(home, clock=site.clock, store=site.store) as device:
            device.poll()
            assert device.status().update.state == state


@pytest.mark.parametrize("stolen", [(), ST], ids=["no key", "snapshot and timestamp"])
def test_a_device_that_is_kept_from_news_comes_to_say_so(site: Site, stolen: tuple[str, ...]) -> None:
    exchange(site)
    if stolen:
        Attacker(site, stolen).renew("snapshot")
    for days, stale in ((50, False), (41, True)):
        site.clock.now += days * DAY
        found = exchange(site)
        assert (found.update.state, found.release_id, found.stale) == ("refused-metadata", "r0002", stale)
