"""A second real S3 on loopback, with users and policies of its own: versitygw over a directory, for as long as it is needed."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio


@contextmanager
def serving(drive: Path) -> Iterator[dict[str, str]]:
    """versitygw over the directory `drive`, with the bucket `edgeloop`; the environment that reaches it, and its IAM."""
    folders = {name: drive / name for name in ("buckets", "users", "versions")}
    for folder in folders.values():
        folder.mkdir()
    user, password = secrets.token_hex(8), secrets.token_hex(16)
    root = {"ROOT_ACCESS_KEY_ID": user, "ROOT_SECRET_ACCESS_KEY": password}
    between = str(drive / "iam.sock")
    with ExitStack() as servers:
        iam = servers.enter_context(_started(root, [], "iam", "--dir", folders["users"], "--private-ports", between))
        posix = ("posix", "--versioning-dir", folders["versions"], folders["buckets"])
        asking = ["--iam-standalone-endpoint", between]
        s3 = servers.enter_context(_started(root, asking, *posix))
        # A folder there is a bucket, but one that belongs to nobody.
        Minio(urlsplit(s3).netloc, user, password, secure=False).make_bucket(bucket_name="edgeloop")
        yield {
            "AWS_ENDPOINT_URL": s3,
            "AWS_ENDPOINT_URL_IAM": iam,
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": password,
        }


@contextmanager
def without_metadata(drive: Path) -> Iterator[dict[str, str]]:
    """versitygw over `drive`, set up to keep no ETags: it takes every conditional write for a plain one. Otherwise as `serving`."""
    (drive / "edgeloop").mkdir(parents=True)
    user, password = secrets.token_hex(8), secrets.token_hex(16)
    root = {"ROOT_ACCESS_KEY_ID": user, "ROOT_SECRET_ACCESS_KEY": password}
    with _started(root, [], "posix", "--nometa", drive) as s3:
        yield {"AWS_ENDPOINT_URL": s3, "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": password}


@contextmanager
def _started(root: dict[str, str], options: list[str], *what: object) -> Iterator[str]:
    """One of its two processes; the URL that it answers at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    server = subprocess.Popen(
        ["versitygw", "--quiet", "--port", address, "--health", "/health", *options, *map(str, what)],
        env={**os.environ, **root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_it_answers(f"http://{address}/health")
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait()


def wait_until_it_answers(url: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")
