"""From `edgeloop fleet init` on a real MinIO to a device that ships with credentials of its own, and loses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.bundle import read_bundle
from edge_runtime.device import Device
from edgeloop.store import open_store
from tests.command import end_of
from tests.site import LOOP, readings

STORE = "s3://edgeloop/enrolment"
Command = Callable[..., str]


@pytest.fixture
def edgeloop(
    minio: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command as the administrator; what it says, or prints."""
    for name, value in {**minio, "EDGELOOP_STORE": STORE}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "loop.toml").write_text(LOOP)

    def run(*arguments: object, code: int = 0) -> str:
        out, err = end_of(monkeypatch, capsys, *arguments, code=code)
        return " ".join((out + err).split())

    return run


def ships(home: Path, monkeypatch: pytest.MonkeyPatch, count: int = 60) -> bool:
    """Predict and exchange as on a machine whose environment opens nothing; whether all of it is in the store."""
    with monkeypatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        with Device.open(home) as device:
            for reading in readings(count):
                device.predict(reading)
            return device.exchange() and not device.status().spooled


def test_a_device_ships_with_its_own_credentials_until_they_are_taken(
    tmp_path: Path, edgeloop: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, root, out = tmp_path / "loop.toml", tmp_path / "root.json", tmp_path / "bundles"
    edgeloop("fleet", "init", "--keys", tmp_path / "keys", "--root", root)
    (tmp_path / "ids.csv").write_text("site,device\nnorth,pump-1\nsouth,pump-2\n")
    enroll = ("device", "enroll", loop, "--root", root, "--out", out)
    assert "3 bundles" in edgeloop(*enroll, "pump-0", "--from", tmp_path / "ids.csv")
    bundle, home = out / "pump-1.bundle", tmp_path / "home"
    before = bundle.read_bytes()
    assert "3 bundles" in edgeloop(*enroll, "pump-0", "--from", tmp_path / "ids.csv")  # again: nothing new
    assert bundle.read_bytes() == before
    assert bundle.stat().st_mode & 0o777 == 0o600
    secret = read_bundle(bundle).credentials.secret_access_key  # type: ignore[union-attr]
    assert secret not in repr(read_bundle(bundle))

    assert "remove" in edgeloop("device", "join", home, bundle)
    assert (home / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert ships(home, monkeypatch)
    assert [e.path for e in open_store(STORE).list("loops")][-1] == "loops/pump/status/pump-1.json"

    edgeloop("device", "rotate", "pump-1", "--bundle", bundle)
    assert not ships(home, monkeypatch)
    edgeloop("device", "join", home, bundle)
    assert ships(home, monkeypatch)
    edgeloop("device", "revoke", "pump-1")
    assert not ships(home, monkeypatch)
    assert "not enrolled" in edgeloop("device", "revoke", "pump-1", code=4)


def test_what_cannot_be_enrolled_is_said(tmp_path: Path, edgeloop: Command) -> None:
    loop, root, out = tmp_path / "loop.toml", tmp_path / "root.json", tmp_path / "bundles"
    root.write_text("{}")
    (tmp_path / "ids.csv").write_text("name\na\n")
    enroll = ("device", "enroll", loop, "--root", root, "--out", out)
    assert "no device is named" in edgeloop(*enroll, code=2)
    assert "no column `device`" in edgeloop(*enroll, "--from", tmp_path / "ids.csv", code=2)
    assert "device id" in edgeloop(*enroll, "../pump", code=3)
    edgeloop(*enroll, "pump-7")
    (out / "pump-7.bundle").unlink()
    assert "enrolled already" in edgeloop(*enroll, "pump-7", code=2)
    (out / "pump-8.bundle").write_text("torn")
    (tmp_path / "other.toml").write_text(LOOP.replace('"pump"', '"fan"'))
    edgeloop(*enroll, "pump-6")
    assert "in pump at" in edgeloop("device", "enroll", tmp_path / "other.toml", *enroll[3:], "pump-6", code=2)
    assert "is no bundle" in edgeloop(*enroll, "pump-8", code=2)
    (tmp_path / "hashed.toml").write_text(
        LOOP.replace("from_time", 'hashed = ["badge"]\nfrom_time').replace('"pump"', '"badge"')
    )
    hashed = ("device", "enroll", tmp_path / "hashed.toml", *enroll[3:], "gate-1")
    assert "hash" in edgeloop(*hashed, code=2)
    (tmp_path / "hash.key").write_bytes(bytes(range(32)))
    edgeloop(*hashed, "--hash-key", tmp_path / "hash.key")
    edgeloop("device", "join", tmp_path / "gate", out / "gate-1.bundle")
    assert (tmp_path / "gate/hash.key").read_bytes() == bytes(range(32))
    assert '"s3:PutObject"' in edgeloop("device", "policy", loop)
    assert "keeps nobody out" in edgeloop(*enroll, "pump-9", "--store", tmp_path / "plain")
