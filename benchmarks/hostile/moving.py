"""Files that are others, or gone, once they were listed."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.hostile.sender import Files, Hook, Kind, Sender
from edgeloop.store import Store
from ingest.checks.check import MAX_BYTES

OTHER = b"x" * 1021
GROWN = b"x" * (MAX_BYTES + 2**20)


def _sealed(by: Sender) -> Files:
    return by.named(by.good)


def _when_read(content: bytes | None) -> Callable[[Store, Files], Hook]:
    """Before the file is read it is replaced, or taken away."""

    def meddle(store: Store, files: Files) -> Hook:
        (path,), seen = files, list[str]()

        def hook(verb: str, at: str) -> None:
            if (verb, at) == ("read", path) and not seen:
                seen.append(at)
                store.delete(path) if content is None else store.replace(path, content)

        return hook

    return meddle


def _when_planned(content: bytes | None) -> Callable[[Store, Files], Hook]:
    """Once it was found good, and before that is written down, it is replaced, or taken away."""

    def meddle(store: Store, files: Files) -> Hook:
        (path,), seen = files, list[str]()

        def hook(verb: str, at: str) -> None:
            if (verb, at) == ("read", path) or (verb == "create" and "/plans/" in at and len(seen) == 1):
                seen.append(at)
                if len(seen) == 2 and verb == "create":
                    store.delete(path) if content is None else store.replace(path, content)

        return hook

    return meddle


LOST = [
    Kind("gone when it is planned", "taken away between the listing and the first look", "", _sealed, _when_read(None)),
]

KINDS = [
    Kind(
        "another when it is planned",
        "other bytes under a name that was listed",
        "it is no Parquet file",
        _sealed,
        _when_read(OTHER),
    ),
    Kind(
        "larger when it is planned",
        "more bytes than a batch may have, of a name that was listed with few",
        "bytes, 1 to",
        _sealed,
        _when_read(GROWN),
    ),
    Kind(
        "empty when it is planned",
        "nothing under a name that was listed with bytes",
        "it has 0 bytes, 1 to",
        _sealed,
        _when_read(b""),
    ),
]
"""An ingest reads each file once: what comes under its name later is for the next one."""

ODD = [
    Kind("gone once it was read", "taken away between plan and commit", "", _sealed, _when_planned(None)),
    Kind("another once it was read", "other bytes between plan and commit", "", _sealed, _when_planned(OTHER)),
]
"""What was checked is what is committed, and the other bytes are for the next ingest. Who carries on after a kill reads again."""
