"""A real MinIO on loopback, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.minio import running


@contextmanager
def serving(directory: Path) -> Iterator[dict[str, str]]:
    """MinIO in `directory`, over plain HTTP, with the bucket `edgeloop`; the environment that reaches it."""
    with running(directory, tls=False) as minio:
        yield minio.environment
