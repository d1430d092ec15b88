"""What all tests share. In CI nothing may be skipped: EDGELOOP_NO_SKIPS turns a skip into a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

settings.register_profile("edgeloop", deadline=None)
settings.load_profile("edgeloop")  # a busy machine fails no test

SERVERS = ("minio", "versitygw")
"""The S3 servers that what an S3 must do is tried on, each of them real; fixtures by these names."""


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
    _demand("minio")
    from tests.minio import serving

    with serving(tmp_path_factory.mktemp("minio")) as environment:
        yield environment


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real versitygw on loopback with the bucket `edgeloop`; the environment that reaches it."""
    _demand("versitygw")
    from tests.versitygw import serving

    with serving(tmp_path_factory.mktemp("versitygw")) as environment:
        yield environment


def _demand(server: str) -> None:
    """Called before a server's module is imported: where only a device is installed there is not what they are made with."""
    if shutil.which(server) is None:
        pytest.skip(f"no {server} on this machine; `make {server}-server` makes it")


@pytest.fixture
def store_kind() -> str:
    """What kind of store the test has; a module or test that is for several says `memory` or one of SERVERS, too."""
    return "directory"


@pytest.fixture
def store_url(store_kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The URL of a store with nothing in it; if it is on a server, the environment is its administrator's."""
    if store_kind not in SERVERS:
        return {"directory": str(tmp_path / "store"), "memory": "memory://"}[store_kind]
    for name, value in request.getfixturevalue(store_kind).items():
        monkeypatch.setenv(name, value)
    return f"s3://edgeloop/{uuid4()}"
