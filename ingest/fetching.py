"""What waits, fetched ahead of who looks at it: from a store that is some milliseconds away an ingest would do little but wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.store import Entry, Store
from ingest.checks.check import MAX_BYTES, batch_place, label_source

READERS = 16
AHEAD = MAX_BYTES
"""Bytes that are held of what nobody has looked at yet; a file alone may have as many."""

Fetched = tuple[Entry, Callable[[], bytes]]
"""A file, and what gives its content or raises: `DataError` for what is not worth a look, `NotFound`, `StoreError`."""


def fetch(store: Store, config: LoopConfig, waiting: Iterable[Entry]) -> Iterator[Fetched]:
    """Each of the files that wait, in their order. What has no name or size of ours is not fetched."""
    readers = ThreadPoolExecutor(READERS)
    ahead, size = deque[tuple[Entry, Future[bytes]]](), 0

    def next_one() -> Fetched:
        entry, content = ahead.popleft()
        return entry, content.result

    try:
        for entry in waiting:
            ahead.append((entry, readers.submit(_read, store, config, entry)))
            size += min(entry.size, MAX_BYTES)
            while len(ahead) > READERS or size > AHEAD:
                size -= min(ahead[0][0].size, MAX_BYTES)
                yield next_one()
        while ahead:
            yield next_one()
    finally:
        for _, content in ahead:
            content.cancel()
        readers.shutdown(wait=False)


def _read(store: Store, config: LoopConfig, entry: Entry) -> bytes:
    try:
        _check_listed(config, entry)
    except DataError:
        store.look_up(entry.path)  # a name that no request can say is not there, and fills no plan
        raise
    return store.read(entry.path, entry.size)  # what has grown since it was listed is not to fill the memory


def _check_listed(config: LoopConfig, entry: Entry) -> None:
    if entry.path.startswith(f"{config.layout.labels}/"):
        label_source(entry.path, config)
    else:
        batch_place(entry.path, config)
    if not 0 < entry.size <= MAX_BYTES:
        raise DataError(f"it has {entry.size} bytes, 1 to {MAX_BYTES} are taken.")
