"""docs/runbooks.md on a real MinIO: what has happened happens here, then the commands are typed as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from os.path import expandvars
from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp

from assets.delivery import publish_newest, step_rollout
from assets.learning import train_next
from edge_runtime.device import Device
from edgeloop.clock import SimulatedClock, system_clock
from edgeloop.config import parse_loop
from edgeloop.errors import ConfigError, NotFound
from edgeloop.events import lake_schema
from edgeloop.layout import RELEASE_METADATA
from edgeloop.store import open_store
from fleet.access import open_access
from fleet.ceremony import draft_first, sign_draft
from fleet.gate import Decision
from fleet.keys import ONLINE, Keys, create_keys
from fleet.metadata import TIMESTAMP, sign
from fleet.releases import list_releases
from fleet.repository import initialise, latest_root_version, publish, refresh
from fleet.rollouts import conclude, publish_rollout, read_current, record_decision
from tests.command import end_of
from tests.site import LOOP, Site, fill_lake, pass_probation, predict

TEXT = (Path(__file__).parents[2] / "docs/runbooks.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.S | re.M))
Follow = Callable[[str], str]


@pytest.fixture
def store_kind() -> str:
    return "minio"


@pytest.fixture
def site(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The online keys and the public halves of all at the centre, the offline ones at their holders; nothing is released."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGELOOP_STORE", store_url)
    monkeypatch.setenv("EDGELOOP_KEYS", "centre")
    monkeypatch.setenv("EDGELOOP_OFFLINE_PASSPHRASE", "of the holders")
    (tmp_path / "loop.toml").write_text(LOOP)
    keys = create_keys(tmp_path / "centre", ONLINE)
    holders = {"root-1": ["root-1"], "root-2": ["root-2"], "root-3": ["root-3", "targets"]}
    (tmp_path / "centre/offline").mkdir()
    for holder, names in holders.items():
        create_keys(tmp_path / holder, names, protected=["offline"])
        for name in names:
            (tmp_path / f"centre/offline/{name}.pub").write_bytes(
                (tmp_path / f"{holder}/offline/{name}.pub").read_bytes()
            )
    now, store = system_clock(), open_store(store_url)
    draft = draft_first(keys, now)
    for holder in holders:
        draft = sign_draft(draft, Keys(tmp_path / holder))
    root = initialise(store, keys, now, draft)
    (tmp_path / "root.json").write_bytes(root)
    return Site(tmp_path, parse_loop(LOOP), store, keys, SimulatedClock(now), root)


@pytest.fixture
def follow(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Follow:
    """Types the commands of a section; what they print and say."""

    def run(section: str) -> str:
        said = []
        for line in "".join(re.findall(r"```sh\n(.*?)```", SECTIONS[section], re.S)).splitlines():
            words = shlex.split(expandvars(line))
            if words[0] == "edgeloop":
                said += end_of(monkeypatch, capsys, *words[1:])
            else:
                subprocess.run(words, check=True)
        site.clock.now = system_clock()
        site.keys._signers.clear()
        return " ".join("".join(said).split())

    return run


def release(site: Site) -> None:
    """Train, publish, begin to roll out."""
    assert train_next(site.centre, site.config).verdict.passed
    assert publish_newest(site.centre, site.config) is not None
    step_rollout(site.centre, site.config)


@pytest.fixture
def released(site: Site) -> Site:
    """Everybody runs r0001."""
    fill_lake(site, 24 * 10, since=site.clock.now - timedelta(days=11))
    release(site)
    pass_probation(site)
    return site


def promote(site: Site) -> None:
    """Everybody gets the candidate, after all."""
    document = read_current(site.store, site.keys, "pump")
    assert document
    decision = Decision("promote", "test")
    while document.candidate:
        following = conclude(document, decision, site.clock.now)
        record_decision(site.lake, document, decision, None, site.clock.now)
        publish_rollout(site.store, site.keys, following, site.clock.now, based_on=document)
        document = following


def poll(site: Site, device: str = "dev") -> tuple[str, str]:
    """Poll, on a device that must go on predicting if it has a release; what came of it and which runs."""
    with site.open(device) as opened:
        opened.poll()
        if opened.status().release_id:
            predict(opened, 20)
        return opened.status().update.state, opened.status().release_id


def test_a_bad_release_is_going_out(released: Site, follow: Follow) -> None:
    release(released)
    poll(released)
    follow("A bad release is going out")
    document = read_current(released.store, released.keys, "pump")
    assert document
    assert (document.stable.id, document.candidate, [r.id for r in document.revoked]) == ("r0001", None, ["r0002"])
    assert [found.manifest.id for found in list_releases(released.store, released.keys, "pump")] == ["r0001"]
    assert poll(released)[1] == "r0001"


def test_a_bad_release_is_everywhere(released: Site, follow: Follow) -> None:
    release(released)
    promote(released)
    assert poll(released)[1] == "r0002"
    follow("A bad release is everywhere")
    assert poll(released) == ("rolled-back", "r0001")
    assert publish_newest(released.centre, released.config) is None


@pytest.mark.parametrize("role", ["releases", "rollouts"])
def test_an_online_key_was_stolen(released: Site, follow: Follow, role: str) -> None:
    if role == "rollouts":
        release(released)
    names = {role, "snapshot", "timestamp"}
    (released.directory / "thief/online").mkdir(parents=True)
    for name in names:
        (released.directory / f"thief/online/{name}.pem").write_bytes(
            (released.directory / f"centre/online/{name}.pem").read_bytes()
        )
    thief = Keys(released.directory / "thief")
    path = {"releases": "models/pump/r0666.json", "rollouts": "rollouts/other.json"}[role]
    bad = msgspec.structs.replace(list_releases(released.store, thief, "pump")[0].manifest, id="r0666", counter=666)

    def change(targets: Targets) -> None:
        targets.targets[path] = TargetFile.from_data(path, bad.encode(), ["sha256"])

    publish(released.store, thief, role, change, {path: bad.encode()}, released.clock.now)  # it still can
    follow(f"The {role} key was stolen")
    with pytest.raises(ConfigError, match="is not the one that the repository trusts"):
        publish(released.store, thief, role, change, {}, released.clock.now)
    for device in ("dev", "new"):
        assert poll(released, device)[1] == "r0001"
    assert not names & set(released.keys.names())
    assert "r0666" not in [found.manifest.id for found in list_releases(released.store, released.keys, "pump")]


def test_somebody_wound_the_versions_forward(released: Site, follow: Follow) -> None:
    timestamp = Metadata[Timestamp].from_bytes(released.store.read(TIMESTAMP)).signed
    good = released.store.read(TIMESTAMP)
    path = f"{RELEASE_METADATA}/{timestamp.snapshot_meta.version}.snapshot.json"
    snapshot = Metadata[Snapshot].from_bytes(released.store.read(path)).signed
    timestamp.version = snapshot.version = timestamp.snapshot_meta.version = 10**9
    forged = sign(snapshot, [released.keys.signer("snapshot")]).to_bytes()
    released.store.create(f"{RELEASE_METADATA}/{10**9}.snapshot.json", forged)
    released.store.replace(TIMESTAMP, sign(timestamp, [released.keys.signer("timestamp")]).to_bytes())
    assert poll(released) == ("up-to-date", "r0001")  # it has seen them
    released.store.replace(TIMESTAMP, good)
    refresh(released.store, released.keys, released.clock.now)
    assert poll(released) == ("refused-metadata", "r0001")
    follow("Somebody wound the versions forward")
    assert poll(released) == ("up-to-date", "r0001")


def test_a_root_key_was_lost_or_stolen(released: Site, follow: Follow) -> None:
    lost = Keys(released.directory / "root-1").public("root-1").keyid
    said = follow("A root key was lost or stolen")
    assert latest_root_version(released.store) == 2
    assert "published yes" in said
    assert f"replaced {lost[:12]}" in said
    for device in ("dev", "new"):
        assert poll(released, device)[1] == "r0001"


def test_the_online_keys_were_lost(released: Site, follow: Follow) -> None:
    release(released)
    (released.directory / "centre").rename(released.directory / "burnt")
    follow("The online keys were lost")
    promote(released)
    assert poll(released)[1] == poll(released, "new")[1] == "r0002"


def test_the_timestamp_has_expired(released: Site, follow: Follow) -> None:
    refresh(released.store, released.keys, released.clock.now - timedelta(days=4))
    assert poll(released) == ("refused-metadata", "r0001")
    follow("The timestamp has expired")
    assert poll(released) == ("up-to-date", "r0001")


@pytest.fixture
def home(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Path]:
    """A device with credentials of its own; afterwards its name is free again on the server, which all tests share."""
    device = "pump-1"
    enroll = ("device", "enroll", "loop.toml", device, "--root", "root.json", "--out", "bundles")
    end_of(monkeypatch, capsys, *enroll)
    end_of(monkeypatch, capsys, "device", "join", "home", f"bundles/{device}.bundle")
    yield site.directory / "home"
    with suppress(NotFound):  # revoked
        open_access(site.store.url).revoke(device)


def ships(home: Path) -> bool:
    with Device.open(home) as device:
        device.predict({"a": 1.0, "b": 1.0, "mode": "slow"})
        return device.exchange() and not device.status().spooled


def test_a_device_was_stolen(home: Path, follow: Follow) -> None:
    assert ships(home)
    follow("A device was stolen")
    assert not ships(home)


def test_the_credentials_of_a_device_were_copied(home: Path, follow: Follow) -> None:
    copied = home.with_name("copy")
    subprocess.run(["cp", "-r", home, copied], check=True)
    assert ships(copied)
    follow("The credentials of a device were copied")
    assert not ships(copied)
    assert ships(home)


def test_somebody_asks_to_be_forgotten(
    site: Site, home: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the batch that was trained on, of one that waits, of a release; and it can be enrolled again."""
    assert ships(home)
    end_of(monkeypatch, capsys, "ingest", "loop.toml")
    fill_lake(site, 24 * 10, since=site.clock.now - timedelta(days=11))
    taken = site.lake.connect(events=None).sql("SELECT * REPLACE ('pump-1' AS device) FROM events WHERE device = 'd0'")
    site.lake.append("events", taken.to_arrow_table().cast(lake_schema(site.config.schema())))
    release(site)
    assert ships(home)
    said = follow("Somebody asks to be forgotten")
    assert "r0001 cannot be trained again" in said
    assert "Nothing of them is in" in said
    others = site.lake.connect(events=None).execute("SELECT DISTINCT device FROM events ORDER BY device").fetchall()
    assert others == [("d0",), ("d1",), ("d2",)]
    shown, _ = end_of(monkeypatch, capsys, "release", "show", "loop.toml", "r0001")
    assert "cannot be trained again" in shown
    assert not ships(home)
    end_of(monkeypatch, capsys, "device", "enroll", "loop.toml", "pump-1", "--root", "root.json", "--out", "again")
    end_of(monkeypatch, capsys, "device", "join", "new-home", "again/pump-1.bundle")
    assert ships(site.directory / "new-home")
    end_of(monkeypatch, capsys, "ingest", "loop.toml")
    again = site.lake.connect(events=None).execute("SELECT count(*) FROM events WHERE device = 'pump-1'")
    assert again.fetchone() == (1,)


def test_every_runbook_is_tried() -> None:
    source = Path(__file__).read_text()
    tried = set(re.findall(r'follow\("(.+?)"\)', source)) | {
        f"The {role} key was stolen" for role in ("releases", "rollouts")
    }
    assert tried == set(SECTIONS)
