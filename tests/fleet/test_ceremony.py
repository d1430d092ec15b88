"""Roots and targets drawn up, signed apart, published: who lacks a key or a signature changes nothing, and no device is left behind."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root, TargetFile, Targets, Timestamp

from edge_runtime.trust import refresh as client_refresh
from edgeloop.errors import ConfigError, TrustError
from edgeloop.layout import RELEASE_METADATA
from edgeloop.store import Store, open_store
from fleet.ceremony import decode_draft, draft_first, publish_draft, sign_draft
from fleet.keys import OFFLINE, ONLINE, Keys, create_keys
from fleet.metadata import TIMESTAMP, sign
from fleet.repository import initialise, latest_root_version, publish, read_role, refresh
from fleet.rotation import draft_rotation, forget_replaced, trusted_keys
from tests.site import START

DAY = timedelta(days=1)


class Fleet:
    """A repository, all its keys, and a device that has seen its first state."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store: Store = open_store(directory / "store")
        self.keys = create_keys(directory / "keys")
        self.root = initialise(self.store, self.keys, START)
        self.device("old")

    def device(self, name: str, day: float = 0) -> int:
        """What a device sees: how many rollouts are there. One that was there before goes on from what it knows."""
        home = self.directory / name
        home.mkdir(exist_ok=True)
        trusted = client_refresh(home, self.store, self.root, START + day * DAY)
        return sum(trusted.find(f"rollouts/{n}.json") is not None for n in range(9))

    def publish(self, number: int, keys: Keys | None = None) -> None:
        path = f"rollouts/{number}.json"

        def change(targets: Targets) -> None:
            targets.targets[path] = TargetFile.from_data(path, b"new", ["sha256"])

        publish(self.store, keys or self.keys, "rollouts", change, {path: b"new"}, START)

    def rotate(self, *asked: str) -> None:
        draft = sign_draft(draft_rotation(self.store, self.keys, asked, START), self.keys)
        publish_draft(self.store, self.keys, draft, START)
        forget_replaced(self.keys, draft)

    def part(self, name: str, *names: str) -> Keys:
        """A directory with the private keys called so, and nothing else."""
        for key in names:
            half = "offline" if key in OFFLINE else "online"
            (self.directory / name / half).mkdir(parents=True, exist_ok=True)
            shutil.copy(self.directory / f"keys/{half}/{key}.pem", self.directory / name / half)
        return Keys(self.directory / name)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_repository_is_begun_by_people_who_never_meet(tmp_path: Path) -> None:
    """Three holders make a root key each, a fourth machine the online ones; only public halves and the draft travel."""
    machines = {
        name: create_keys(tmp_path / name, names)
        for name, names in {
            "ann": ["root-1"],
            "bob": ["root-2"],
            "cyd": ["root-3", "targets"],
            "centre": ONLINE,
        }.items()
    }
    for public in tmp_path.glob("*/*/*.pub"):
        (tmp_path / "table" / public.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(public, tmp_path / "table" / public.parent.name)
    draft = draft_first(Keys(tmp_path / "table"), START)
    store = open_store(tmp_path / "store")
    for holder, missing in (("ann", 2), ("cyd", 0)):
        with pytest.raises(ConfigError, match="not signed yet"):
            initialise(store, machines["centre"], START, draft)
        draft = decode_draft(sign_draft(decode_draft(draft.encode()), machines[holder]).encode())
        assert len(draft.missing()) == missing
    root = initialise(store, machines["centre"], START, draft)
    assert machines["centre"].pinned_root == root
    client_refresh(tmp_path, store, root, START)
    assert not list((tmp_path / "centre").glob("offline/*"))


@pytest.mark.parametrize(
    "asked",
    [("rollouts",), ("releases", "snapshot"), ("timestamp",), ("targets",), ("root-2",), ("rollouts", "snapshot", "timestamp"),
     ("root-1", "root-3", "targets", "releases", "rollouts", "snapshot", "timestamp")],
    ids="+".join,
)  # fmt: skip
def test_a_key_that_was_replaced_signs_nothing_any_more(fleet: Fleet, asked: tuple[str, ...]) -> None:
    fleet.publish(1)
    before = fleet.part("before", *OFFLINE, *ONLINE)
    old = {before.public(name).keyid for name in asked}
    fleet.rotate(*asked)
    assert not old & {key.keyid for key in trusted_keys(fleet.store, fleet.keys)}
    assert not old & {fleet.keys.public(name).keyid for name in fleet.keys.names()}
    assert [fleet.device("old"), fleet.device("new")] == [1, 1]
    fleet.publish(2)
    assert [fleet.device("old"), fleet.device("new")] == [2, 2]
    if {"rollouts", "snapshot", "timestamp"} & set(asked):
        with pytest.raises(ConfigError, match="is not the one that the repository trusts"):
            fleet.publish(3, before)


def test_what_a_thief_signs_with_a_replaced_key_is_refused(fleet: Fleet) -> None:
    thief = fleet.part("thief", "timestamp")
    fleet.rotate("timestamp")
    timestamp = Metadata[Timestamp].from_bytes(fleet.store.read(TIMESTAMP)).signed
    timestamp.version += 1
    fleet.store.replace(TIMESTAMP, sign(timestamp, [thief.signer("timestamp")]).to_bytes())
    for name in ("old", "new"):
        with pytest.raises(TrustError, match="signed by 0/1 keys"):
            fleet.device(name)
    with pytest.raises(TrustError, match="not signed by our 'timestamp' key"):
        fleet.publish(1)


@pytest.mark.parametrize("lost", ["root-1", "rollouts", "snapshot", "timestamp", "targets"])
def test_a_key_that_is_lost_is_replaced_without_it(fleet: Fleet, lost: str) -> None:
    fleet.publish(1)
    (fleet.directory / f"keys/{'offline' if lost in OFFLINE else 'online'}/{lost}.pem").unlink()
    fleet.rotate(lost)
    fleet.publish(2)
    assert [fleet.device("old"), fleet.device("new")] == [2, 2]


def test_two_root_keys_lost_are_the_end_of_the_repository(fleet: Fleet) -> None:
    for name in ("root-1", "root-2"):
        (fleet.directory / f"keys/offline/{name}.pem").unlink()
    draft = sign_draft(draft_rotation(fleet.store, fleet.keys, ("root-1",), START), fleet.keys)
    with pytest.raises(ConfigError, match="root, by the keys in force: 1 more of"):
        publish_draft(fleet.store, fleet.keys, draft, START)


def test_a_root_key_is_replaced_by_two_of_the_old_and_two_of_the_new(fleet: Fleet) -> None:
    """The stolen one is no part of it; who holds only new keys, or only one of the old, cannot publish."""
    draft = draft_rotation(fleet.store, fleet.keys, ("root-1",), START)
    for holder, wanted in (("root-1", 2), ("root-2", 1), ("root-3", 0)):
        draft = sign_draft(draft, fleet.part(holder, holder))
        assert (holder, len(draft.missing())) == (holder, wanted)
    publish_draft(
        fleet.store, Keys(fleet.directory / "nothing"), draft, START
    )  # nothing online changes: no key is needed
    assert latest_root_version(fleet.store) == 2
    stolen = {fleet.part("root-1").public("root-1").keyid}
    root = Metadata[Root].from_bytes(fleet.store.read(f"{RELEASE_METADATA}/2.root.json")).signed
    assert not stolen & set(root.roles["root"].keyids)
    assert fleet.device("old") == fleet.device("new") == 0


def test_a_device_that_was_away_over_three_roots_and_a_year_is_back_at_the_next_poll(fleet: Fleet) -> None:
    for asked in (("root-1",), ("timestamp", "snapshot", "root-2"), ("root-3", "targets", "rollouts")):
        fleet.rotate(*asked)
    fleet.publish(1)
    refresh(fleet.store, fleet.keys, START + 300 * DAY)
    assert fleet.device("old", day=300) == 1


def test_a_draft_that_another_overtook_is_refused(fleet: Fleet) -> None:
    slow = sign_draft(draft_rotation(fleet.store, fleet.keys, ("root-1",), START), fleet.keys)
    fleet.rotate("timestamp")
    with pytest.raises(ConfigError, match="another was published meanwhile"):
        publish_draft(fleet.store, fleet.keys, slow, START)


def test_a_key_that_comes_back_from_a_backup_is_not_taken_back(fleet: Fleet) -> None:
    fleet.part("backup", "rollouts", "timestamp")
    fleet.rotate("rollouts", "timestamp")
    for name in ("rollouts", "timestamp"):
        shutil.copy(fleet.directory / f"backup/online/{name}.pem", fleet.directory / f"keys/online/{name}.pem")
    old = {fleet.keys.public(name).keyid for name in ("rollouts", "timestamp")}
    fleet.rotate("rollouts", "timestamp")
    assert not old & {key.keyid for key in trusted_keys(fleet.store, fleet.keys)}
    fleet.publish(1)
    assert fleet.device("old") == 1


def test_a_root_of_somebody_else_misleads_no_publisher(fleet: Fleet) -> None:
    """Whoever can write to the bucket can put a root there: as the next one, or as the first."""
    stranger = create_keys(fleet.directory / "stranger")
    initialise(open_store(fleet.directory / "elsewhere"), stranger, START)
    theirs = (fleet.directory / f"elsewhere/{RELEASE_METADATA}/1.root.json").read_bytes()
    fleet.store.replace(f"{RELEASE_METADATA}/1.root.json", theirs)
    assert read_role(fleet.store, fleet.keys, "rollouts").version == 1  # it was pinned
    root = Metadata[Root].from_bytes(theirs).signed
    root.version = 2
    forged = sign(root, [stranger.signer(name) for name in OFFLINE[:3]] + [fleet.keys.signer("root-1")])
    fleet.store.create(f"{RELEASE_METADATA}/2.root.json", forged.to_bytes())
    with pytest.raises(TrustError, match="not signed by our 'root' key"):
        fleet.publish(1)


def test_what_names_no_key_or_several_is_said(fleet: Fleet) -> None:
    for text, said in (("root", "names 3 keys"), ("root-9", "names no key"), ("abcd", "names no key")):
        with pytest.raises(ConfigError, match=said):
            draft_rotation(fleet.store, fleet.keys, (text,), START)
    keyid = fleet.keys.public("root-3").keyid
    assert draft_rotation(fleet.store, fleet.keys, (keyid[:10],), START).replaced == (keyid,)
    for torn in (b"", b"{}", b'{"version": 1}', b'{"version": 9}'):
        with pytest.raises(ConfigError):
            decode_draft(torn)
