"""A reply that is lost on the way from a real MinIO: what was written on a condition may have been, and who waits finds out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from benchmarks.store_faults.proxy import Proxy, running
from edgeloop.errors import AlreadyExists, PreconditionFailed
from edgeloop.store import Credentials, Store, open_store


class Loses(Proxy):
    """Does `fault` to the next `lost` requests."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(upstream, 0.0, 0)
        self.lost, self.fault = 0, "lost reply"

    async def _meet(self, _: str, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.lost -= 1
        await super()._meet(self.fault if self.lost >= 0 else "", head, body, writer)


@pytest.fixture
def link(minio: dict[str, str]) -> Iterator[tuple[Loses, Callable[..., Store]]]:
    """A link to the store, and what opens a store behind it."""
    where = urlsplit(minio["AWS_ENDPOINT_URL"])
    proxy = Loses((str(where.hostname), where.port or 0))
    with running(proxy) as url:
        keys = Credentials(url, "us-east-1", minio["AWS_ACCESS_KEY_ID"], minio["AWS_SECRET_ACCESS_KEY"])
        yield proxy, lambda *, waits: open_store("s3://edgeloop/lost", keys, waits=waits)


@pytest.mark.parametrize("fault", ["lost reply", "reset"])
def test_who_waits_settles_what_became_of_it(fault: str, link: tuple[Loses, Callable[..., Store]]) -> None:
    proxy, store = link
    waiting, path = store(waits=True), f"{fault}/object"
    proxy.fault, proxy.lost = fault, 1
    waiting.create(path, b"mine")
    content, version = waiting.read_version(path)
    assert content == b"mine"
    proxy.lost = 1
    with pytest.raises(AlreadyExists):
        waiting.create(path, b"another's")
    proxy.lost = 1
    waiting.replace_if(path, b"newer", version)
    proxy.lost = 1
    with pytest.raises(PreconditionFailed):
        waiting.replace_if(path, b"too late", version)
    assert waiting.read(path) == b"newer"


def test_who_does_not_wait_is_told(link: tuple[Loses, Callable[..., Store]]) -> None:
    proxy, store = link
    proxy.lost = 1
    with pytest.raises(AlreadyExists):
        store(waits=False).create("told/object", b"mine")
    assert store(waits=False).read("told/object") == b"mine"
