"""What a device's credentials open: everything is tried, on a real MinIO and on versitygw, and docs/stores.md says what comes out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.device_access.asking import User
from benchmarks.device_access.places import FOLDERS
from benchmarks.device_access.table import TEMPORARY, Table, markdown, on_minio, try_everything
from edge_runtime.device import Device
from edgeloop.store import open_store
from tests.site import LOOP, make_site, readings
from tests.versitygw import serving

DOCUMENT = Path(__file__).parents[2] / "docs/stores.md"
STORE = "s3://edgeloop/plant"

WRITTEN = {"its inbox", "its status"}
WRITES = ("PUT", "PUT over", "PUT if none", "begin upload", "upload a part", "complete upload", "COPY to")
READ = {"`releases/metadata/`", "`releases/targets/`"}
READS = ("GET", "GET a range", "HEAD", "COPY from", "COPY a part from", "SELECT")
OF_ITSELF = {"its own account", "end its temporary credentials"}


def opened(found: Table) -> dict[str, set[str]]:
    """What is allowed, by place; nothing may be unclear, nor may anything have changed but by what is allowed."""
    assert (found.unclear, found.changed) == ((), ())
    assert {row.place for row in found.rows} >= {*FOLDERS, "the bucket", "another bucket"}
    assert all(row.denied > 15 for row in found.rows)
    return {row.place: set(row.allowed) for row in found.rows if row.allowed}


def test_a_device_opens_its_own_in_a_minio_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("minio") is None:
        pytest.skip("no MinIO on this machine; `make minio-server` makes it")
    from examples.minio import running

    with running(tmp_path / "minio", tls=False) as minio:
        for name, value in minio.environment.items():
            monkeypatch.setenv(name, value)
        found = on_minio()
    assert opened(found) == {
        **{place: {*WRITES, "PUT with tags"} for place in WRITTEN},
        **{place: {*READS, "GET a version", "HEAD a version"} for place in READ},
        "the server": {*OF_ITSELF, "list its access keys", "temporary credentials"},
        TEMPORARY: OF_ITSELF,
    }
    assert not [verb for verb in found.unknown if not verb.startswith("PUT encryption")]
    said = DOCUMENT.read_text().partition("<!-- device access -->\n")[2].partition("<!-- /device access -->")[0]
    assert said == markdown(found), "write what `python -m benchmarks.device_access` prints into docs/stores.md"


@pytest.fixture
def other_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A versitygw, reached as its administrator, and a directory where a loop and its root are."""
    if shutil.which("versitygw") is None:
        pytest.skip("no versitygw on this machine; `make versitygw-server` makes it")
    (tmp_path / "drive").mkdir()
    with serving(tmp_path / "drive") as environment:
        for name, value in {**environment, "STORE": STORE, "DEVICE": "dev-1"}.items():
            monkeypatch.setenv(name, value)
        site = make_site(tmp_path / "site", store=open_store(STORE))
        (tmp_path / "loop.toml").write_text(LOOP)
        (tmp_path / "root.json").write_bytes(site.root)
        yield tmp_path


def shell(directory: Path, *blocks: int, **environment: str) -> str:
    """Run blocks of the document's shell, one after the other; what is printed."""
    scripts = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(scripts[i] for i in blocks)],
        cwd=directory,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def key_in(answer: str) -> dict[str, str]:
    found = {name: re.search(f"<{name}>(.+?)</{name}>", answer) for name in ("AccessKeyId", "SecretAccessKey")}
    return {short: match[1] for short, match in zip(("KEY", "SECRET"), found.values(), strict=True) if match}


def ships(home: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Predict and exchange with what the device's own environment opens; whether all of it is in the store."""
    with monkeypatch.context() as patch:
        for line in (home / "environment").read_text().split():
            patch.setenv(*line.split("=", 1))
        with Device.open(home) as device:
            for reading in readings(60):
                device.predict(reading)
            return device.exchange() and not device.status().spooled


def test_a_device_with_a_policy_that_was_put_by_hand_ships_until_it_is_taken(
    other_s3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, home = key_in(shell(other_s3, 0, 1)), other_s3 / "home"
    shell(other_s3, 2, **key)
    assert (home / "environment").stat().st_mode & 0o777 == 0o600
    assert ships(home, monkeypatch)
    administrator = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    device, root = (User(os.environ["AWS_ENDPOINT_URL"], *who) for who in ((key["KEY"], key["SECRET"]), administrator))
    assert opened(try_everything(device, root, minio=False)) == {
        **{place: set(WRITES) for place in WRITTEN},
        **{place: set(READS) for place in READ},
    }
    shell(other_s3, 0, 3, **key)
    assert not ships(home, monkeypatch)
