"""What all tests share. In CI nothing may be skipped: EDGELOOP_NO_SKIPS turns a skip into a failure."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("EDGELOOP_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real MinIO on loopback with the bucket `edgeloop`; the environment that reaches it."""
    program = shutil.which("minio")
    if program is None:
        pytest.skip("no MinIO on this machine; .ci/run shows how to get it with Go")
    drive = tmp_path_factory.mktemp("minio")
    (drive / "edgeloop").mkdir()  # a folder on a drive is a bucket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    user, password = secrets.token_hex(8), secrets.token_hex(16)
    server = subprocess.Popen(
        [program, "server", str(drive), "--address", address, "--console-address", "127.0.0.1:0", "--quiet"],
        env={**os.environ, "MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_BROWSER": "off"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(f"http://{address}/minio/health/live")
        yield {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": password,
        }
    finally:
        server.terminate()
        server.wait()


def _wait_until_it_answers(url: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer")
