"""What all tests share. In CI nothing may be skipped: EDGELOOP_NO_SKIPS turns a skip into a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.minio import serving


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
    if shutil.which("minio") is None:
        pytest.skip("no MinIO on this machine; `make minio-server` makes it")
    with serving(tmp_path_factory.mktemp("minio")) as environment:
        yield environment
