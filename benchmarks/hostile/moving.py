"""Files that are others, or gone, when they are looked at again."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.hostile.sender import Files, Hook, Kind, Sender
from edgeloop.store import Store
from ingest.check import MAX_BYTES

OTHER = b"x" * 1021
GROWN = b"x" * (MAX_BYTES + 2**20)


def _sealed(by: Sender) -> Files:
    return by.named(by.good)


def _when_read(times: int, content: bytes | None) -> Callable[[Store, Files], Hook]:
    """Before the file is read for the first or second time, which is to plan and to commit, it is replaced, or taken away."""

    def meddle(store: Store, files: Files) -> Hook:
        (path,), seen = files, list[str]()

        def hook(verb: str, at: str) -> None:
            if (verb, at) == ("read", path):
                seen.append(at)
                if len(seen) == times:
                    store.delete(path) if content is None else store.replace(path, content)

        return hook

    return meddle


LOST = [
    Kind(
        "gone when it is planned", "taken away between the listing and the first look", "", _sealed, _when_read(1, None)
    ),
    Kind(
        "gone when it is committed",
        "taken away after it was found good",
        "gone from the store, or changed",
        _sealed,
        _when_read(2, None),
    ),
]

KINDS = [
    Kind(
        "another when it is planned",
        "other bytes under a name that was listed",
        "it is no Parquet file",
        _sealed,
        _when_read(1, OTHER),
    ),
    Kind(
        "larger when it is planned",
        "more bytes than a batch may have, of a name that was listed with few",
        "bytes, 1 to",
        _sealed,
        _when_read(1, GROWN),
    ),
    Kind(
        "empty when it is planned",
        "nothing under a name that was listed with bytes",
        "it has 0 bytes, 1 to",
        _sealed,
        _when_read(1, b""),
    ),
    Kind(
        "another when it is committed",
        "other bytes under the name of what was found good",
        "it is no Parquet file",
        _sealed,
        _when_read(2, OTHER),
    ),
    Kind(
        "larger when it is committed",
        "more bytes than a batch may have under the name",
        "bytes, 1 to",
        _sealed,
        _when_read(2, GROWN),
    ),
    Kind("empty when it is committed", "nothing under the name", "it has 0 bytes, 1 to", _sealed, _when_read(2, b"")),
]
"""What the first ingest saw of them it leaves, or writes down as lost; the next one finds what is there then."""
