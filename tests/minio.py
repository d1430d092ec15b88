"""A real MinIO on loopback, for as long as it is needed."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(drive: Path) -> Iterator[dict[str, str]]:
    """MinIO over the directory `drive`, with the bucket `edgeloop`; the environment that reaches it."""
    (drive / "edgeloop").mkdir()  # a folder on a drive is a bucket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    user, password = secrets.token_hex(8), secrets.token_hex(16)
    server = subprocess.Popen(
        ["minio", "server", str(drive), "--address", address, "--console-address", "127.0.0.1:0", "--quiet"],
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
    raise TimeoutError(f"{url} does not answer")
