"""A short form of `python -m benchmarks.store_faults`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.store_faults.campaign import campaign


def test_whatever_a_store_and_its_link_do_the_books_balance(tmp_path: Path) -> None:
    if shutil.which("minio") is None:
        pytest.skip("no MinIO on this machine; `make minio-server` makes it")
    found = campaign(tmp_path, 10.0, seed=1)
    assert found.met.total() > 30, found
    assert not any(found.never.values()), found
    assert found.events == found.ingested + found.shed > 500
