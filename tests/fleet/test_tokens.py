"""Keys in a PKCS#11 token, a real one in software: they sign without ever being in a file, and devices take ECDSA as they take Ed25519."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pkcs11
import pytest
from pkcs11.util.ec import encode_named_curve_parameters
from tuf.api.metadata import Metadata, Timestamp

from edge_runtime.trust import refresh as client_refresh
from edgeloop.clock import system_clock
from edgeloop.errors import ConfigError
from edgeloop.store import open_store
from fleet.keys import Keys
from fleet.metadata import TIMESTAMP
from fleet.repository import refresh
from tests.command import end_of

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711"


@pytest.fixture
def token(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an ECDSA key in a token that is plugged in."""
    if shutil.which("softhsm2-util") is None or not LIBRARY.exists():
        pytest.skip("no SoftHSM on this machine; on Debian: apt-get install softhsm2")
    directory = tmp_path_factory.mktemp("softhsm")
    (directory / "tokens").mkdir()
    (directory / "conf").write_text(f"directories.tokendir = {directory / 'tokens'}\n")
    for name, value in {"SOFTHSM2_CONF": str(directory / "conf"), "PYKCS11LIB": str(LIBRARY)}.items():
        monkeypatch.setenv(name, value)
    pins = ("--pin", PIN, "--so-pin", PIN)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "centre", *pins], check=True, capture_output=True
    )
    with pkcs11.lib(str(LIBRARY)).get_token(token_label="centre").open(user_pin=PIN, rw=True) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(store=True, id=b"\x02", label="timestamp")
    return "hsm:2?label=centre"


def test_a_key_in_a_token_signs_what_devices_take(
    tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def edgeloop(*arguments: object, code: int = 0) -> str:
        out, err = end_of(monkeypatch, capsys, *arguments, code=code)
        return err if code else out

    keys, url = tmp_path / "keys", tmp_path / "store"
    edgeloop("fleet", "keys", "create", keys, "--role", "timestamp", "--uri", token)
    others = ("root-1", "root-2", "root-3", "targets", "releases", "rollouts", "snapshot")
    edgeloop("fleet", "keys", "create", keys, *(f"--role={role}" for role in others))
    places = ("--store", url, "--keys", keys)
    assert "EDGELOOP_KEYS_PIN" in edgeloop("fleet", "init", *places, code=2)
    monkeypatch.setenv("EDGELOOP_KEYS_PIN", PIN)
    edgeloop("fleet", "init", *places, "--root", tmp_path / "root.json")
    shown = json.loads(edgeloop("fleet", "keys", "show", "timestamp", "--keys", keys, "--json"))
    assert (shown["scheme"], shown["private"]) == ("ecdsa-sha2-nistp256", "here")
    assert {path.name for path in keys.glob("online/timestamp*")} == {"timestamp.uri", "timestamp.pub"}

    store, root = open_store(url), (tmp_path / "root.json").read_bytes()
    refresh(store, Keys(keys), system_clock())
    signed = Metadata[Timestamp].from_bytes(store.read(TIMESTAMP))
    assert (signed.signed.version, list(signed.signatures)) == (2, [shown["keyid"]])
    client_refresh(tmp_path, store, root, system_clock())

    monkeypatch.setenv("EDGELOOP_KEYS_PIN", "0000")
    with pytest.raises(ConfigError, match="could not sign"):
        refresh(store, Keys(keys), system_clock())
    monkeypatch.setenv("EDGELOOP_KEYS_PIN", PIN)
    edgeloop("fleet", "keys", "rotate", "timestamp", *places)  # it goes as any other: from here on a file
    assert Keys(keys).names("timestamp") == ["timestamp-2"]
    client_refresh(tmp_path, store, root, system_clock())


def test_a_key_of_a_service_needs_its_public_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ("fleet", "keys", "create", tmp_path / "keys", "--role", "releases", "--uri", "awskms:alias/edgeloop")
    _, said = end_of(monkeypatch, capsys, *create, code=2)
    assert "--public" in said
    end_of(monkeypatch, capsys, "fleet", "keys", "create", tmp_path / "other", "--role", "releases")
    end_of(monkeypatch, capsys, *create, "--public", tmp_path / "other/online/releases.pub")
    with pytest.raises(ConfigError, match="more than is installed"):
        Keys(tmp_path / "keys").signer("releases")
