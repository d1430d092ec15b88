"""Keys at rest: who copies a directory has no key, and what is protected opens for those who know the passphrase."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge_runtime.trust import refresh as client_refresh
from edgeloop.errors import ConfigError
from edgeloop.store import open_store
from fleet.keys import OFFLINE, ONLINE, Keys, create_keys
from fleet.repository import initialise, renew_offline_roles
from tests.site import START


def test_a_passphrase_protects_the_private_half_only(tmp_path: Path) -> None:
    keys = create_keys(tmp_path, protected=["offline"], secret=lambda _: "good")
    for name in OFFLINE:
        path = tmp_path / f"offline/{name}.pem"
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(TypeError, match="encrypted"):
            load_pem_private_key(path.read_bytes(), None)
        assert Keys(tmp_path, lambda _: "").public(name).keyid == keys.signer(name).public_key.keyid
    load_pem_private_key((tmp_path / "online/releases.pem").read_bytes(), None)
    with pytest.raises(ConfigError, match="does not open key 'root-1'"):
        Keys(tmp_path, lambda _: "bad").signer("root-1")


def test_a_passphrase_comes_from_a_variable_or_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_KEYS_PASSPHRASE", "good")
    create_keys(tmp_path / "keys", protected=["online"])
    monkeypatch.delenv("EDGELOOP_KEYS_PASSPHRASE")
    with pytest.raises(ConfigError, match="EDGELOOP_KEYS_PASSPHRASE_FILE"):
        Keys(tmp_path / "keys").signer("releases")
    (tmp_path / "secret").write_text("good\n")
    monkeypatch.setenv("EDGELOOP_KEYS_PASSPHRASE_FILE", str(tmp_path / "secret"))
    Keys(tmp_path / "keys").signer("releases")


def test_a_directory_from_before_there_were_public_halves_is_read_as_ever(tmp_path: Path) -> None:
    store, keys = open_store(tmp_path / "store"), create_keys(tmp_path / "keys")
    root = initialise(store, keys, START)
    for path in [*tmp_path.glob("keys/*/*.pub"), tmp_path / "keys/root.json"]:
        path.unlink()
    old = Keys(tmp_path / "keys")
    assert old.names() == sorted([*OFFLINE, *ONLINE])
    assert renew_offline_roles(store, old, START.replace(month=12))
    client_refresh(tmp_path, store, root, START)


@pytest.mark.parametrize(
    ("name", "content"),
    [("releases.pem", b""), ("releases.pem", b"-----BEGIN PRIVATE KEY-----"), ("releases.uri", b"tape:7")],
)
def test_what_is_no_key_is_said(tmp_path: Path, name: str, content: bytes) -> None:
    create_keys(tmp_path)
    (tmp_path / "online" / name).write_bytes(content)
    with pytest.raises(ConfigError, match="names no private key"):
        Keys(tmp_path).signer("releases")
    (tmp_path / "online/releases.pub").write_bytes(content)
    with pytest.raises(ConfigError, match="holds no public key"):
        Keys(tmp_path).public("releases")


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    before = (tmp_path / "online/releases.pem").read_bytes()
    with pytest.raises(ConfigError, match="already"):
        create_keys(tmp_path)
    with pytest.raises(ConfigError, match="never overwritten"):
        keys.create("releases", protected=False, name="releases")
    assert keys.create("releases", protected=False) == "releases-2"
    assert keys.create("root", protected=False) == "root-4"
    assert (tmp_path / "online/releases.pem").read_bytes() == before
