"""Two processes with a key each publish at once, for as long as they can: every change is there, and a device never sees half of one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from tuf.api.metadata import Metadata, TargetFile, Targets, Timestamp

from edge_runtime.trust import refresh as client_refresh
from edgeloop.errors import ConfigError, StoreError
from edgeloop.store import Store, open_store
from fleet.access import new_secret, publisher_policy, without_administration
from fleet.keys import Keys, create_keys
from fleet.metadata import TIMESTAMP
from fleet.repository import in_turn, initialise, publish
from tests.site import START

CHANGES = 20
ROLES = {"releases": "models/pump/r{}.json", "rollouts": "rollouts/{}.json"}


def authority(directory: Path, role: str) -> Keys:
    """What its process has: the key of its role, and those of snapshot and timestamp."""
    (directory / role / "online").mkdir(parents=True)
    for name in (role, "snapshot", "timestamp"):
        shutil.copy(directory / f"keys/online/{name}.pem", directory / role / "online")
    return Keys(directory / role)


def put(store: Store, keys: Keys, role: str, number: int) -> None:
    path = ROLES[role].format(number)

    def change(targets: Targets) -> None:
        targets.targets[path] = TargetFile.from_data(path, path.encode(), ["sha256"])

    in_turn(lambda: publish(store, keys, role, change, {path: path.encode()}, START))


def publisher(url: str, environment: dict[str, str], directory: Path, role: str) -> None:
    os.environ.update(environment)
    store, keys = open_store(url), Keys(directory)
    for number in range(CHANGES):
        put(store, keys, role, number)


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_of_two_publishers_at_once_no_change_is_lost(
    tmp_path: Path, store_url: str, store_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(store_url)
    root = initialise(store, create_keys(tmp_path / "keys"), START)
    users = {role: user(store_url, role) if store_kind == "minio" else {} for role in ROLES}
    directories = {role: authority(tmp_path, role).directory for role in ROLES}
    start = multiprocessing.get_context("spawn").Process
    processes = [start(target=publisher, args=(store_url, users[r], directories[r], r)) for r in ROLES]
    for process in processes:
        process.start()
    home, looks, seen = tmp_path / "home", 0, dict.fromkeys(ROLES, 0)
    home.mkdir()
    while any(process.is_alive() for process in processes):
        trusted = client_refresh(home, store, root, START)
        for role, path in ROLES.items():  # in the order in which they were published, and none of them gone again
            there = [trusted.find(path.format(number)) is not None for number in range(CHANGES)]
            assert there == sorted(there, reverse=True)
            assert sum(there) >= seen[role]
            seen[role] = sum(there)
        looks += 1
    assert [process.exitcode for process in processes] == [0, 0]
    trusted = client_refresh(home, store, root, START)
    for path in (path.format(number) for path in ROLES.values() for number in range(CHANGES)):
        target = trusted.find(path)
        assert target
        assert trusted.read(target, home / path.replace("/", "-")) == path.encode()
    assert looks > 1
    assert Metadata[Timestamp].from_bytes(store.read(TIMESTAMP)).signed.version == 1 + 2 * CHANGES  # none came twice


def user(url: str, role: str) -> dict[str, str]:
    """A user of the MinIO in the environment that may do what this role's publisher must; the environment that makes one it."""
    endpoint, name, secret = os.environ["AWS_ENDPOINT_URL"], f"{role}-{os.urandom(4).hex()}", new_secret()
    provider = StaticProvider(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    admin = MinioAdmin(endpoint=endpoint.partition("://")[2], credentials=provider, secure=False)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    admin.policy_add(policy_name=name, policy=without_administration(publisher_policy(bucket, prefix, role)))
    admin.user_add(access_key=name, secret_key=secret)
    admin.attach_policy(policies=[name], user=name)
    return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": secret}


@pytest.mark.parametrize("store_kind", ["minio"])
@pytest.mark.parametrize(("role", "other"), [("releases", "rollouts"), ("rollouts", "releases")])
def test_neither_authority_can_do_what_the_other_does(
    tmp_path: Path, store_url: str, role: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For want of the key; and with the key, as with a stolen one, for want of the right to write."""
    initialise(open_store(store_url), create_keys(tmp_path / "keys"), START)
    for name, value in user(store_url, role).items():
        monkeypatch.setenv(name, value)
    store, keys = open_store(store_url), authority(tmp_path, role)
    put(store, keys, role, 1)
    with pytest.raises(ConfigError, match=f"key '{other}' is not in"):
        put(store, keys, other, 1)
    with pytest.raises(StoreError):
        put(store, Keys(tmp_path / "keys"), other, 1)
    for path in ("releases/metadata/2.root.json", "releases/metadata/2.targets.json", "loops/pump/inbox/x"):
        with pytest.raises(StoreError):
            store.create(path, b"mine")
    with pytest.raises(StoreError):
        store.delete(TIMESTAMP)
