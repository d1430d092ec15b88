"""What a store must keep to, tried on the store itself with small objects that are removed again.

A store that takes a conditional write for a plain one looks well until two writers meet; then a batch, a plan or the signed timestamp is
lost, and nothing says so. So what a loop relies on is tried before a store's first use, and whenever somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

from edgeloop.errors import AlreadyExists, ConfigError, NotFound, PreconditionFailed, StoreError
from edgeloop.store import Store

WRITERS = 8
"""How many write at once, where only one may succeed."""


@dataclass(frozen=True)
class Promise:
    """Something that a store does; `found` is what came instead, and empty if it holds. What is not `needed` costs bytes alone."""

    name: str
    needed: bool
    found: str


def try_promises(store: Store) -> list[Promise]:
    """What `store` keeps to. Whoever tries must be allowed to read, write, list and delete.

    Raises:
        StoreError: nothing can be written there at all.
    """
    folder = f"edgeloop-check/{uuid4()}"
    tries: list[tuple[str, bool, Callable[[Store, str], str]]] = [
        ("what is written is there at once", True, _is_there_at_once),
        ("what is removed is gone at once", True, _is_gone_at_once),
        ("create never overwrites", True, _create_never_overwrites),
        ("of many that create one wins", True, _one_creates),
        ("a changed object is not replaced", True, _stale_version_is_refused),
        ("of many that replace one wins", True, _one_replaces),
        ("a part is read", True, _part_is_read),
        ("a copy is made", True, _copy_is_made),
        ("what did not change is not sent", False, _unchanged_is_not_sent),
    ]
    store.replace(f"{folder}/first", b"")
    try:
        return [
            Promise(name, needed, _tried(attempt, store, f"{folder}/{i}"))
            for i, (name, needed, attempt) in enumerate(tries)
        ]
    finally:
        for entry in list(store.list(folder)):
            store.delete(entry.path)


def demand_promises(store: Store) -> None:
    """Nothing, if a loop can rely on `store`. Raises as `try_promises` and `refuse_broken`."""
    refuse_broken(store.url, try_promises(store))


def refuse_broken(store: str, promises: list[Promise]) -> None:
    """Nothing, if what is needed of `promises` holds. Raises `ConfigError`: it does not; the message says what came instead."""
    broken = [promise for promise in promises if promise.needed and promise.found]
    if broken:
        said = "; ".join(f"“{promise.name}” does not hold ({promise.found})" for promise in broken)
        raise ConfigError(
            f"{store} cannot hold a loop: {said}.",
            remedy="Use another store, or a newer version or another setting of this one; docs/stores.md has those that were tried.",
        )


def _tried(attempt: Callable[[Store, str], str], store: Store, path: str) -> str:
    try:
        return attempt(store, path)
    except StoreError as error:
        return error.message


def _is_there_at_once(store: Store, path: str) -> str:
    store.replace(path, b"old")
    store.replace(path, b"new")
    listed = [entry.size for entry in store.list(path.rpartition("/")[0]) if entry.path == path]
    return "" if (store.read(path), listed) == (b"new", [3]) else f"read as {store.read(path)!r}, listed {listed}"


def _is_gone_at_once(store: Store, path: str) -> str:
    several = [f"{path}-{i}" for i in range(3)]
    for name in (path, *several):
        store.replace(name, b"")
    store.delete(path)
    store.delete_all(several)
    if any(entry.path.startswith(path) for entry in store.list(path.rpartition("/")[0])):
        return "it is listed"
    try:
        store.read(path)
    except NotFound:
        return ""
    return "it is read"


def _create_never_overwrites(store: Store, path: str) -> str:
    store.create(path, b"first")
    try:
        store.create(path, b"second")
    except AlreadyExists:
        return "" if store.read(path) == b"first" else "it was refused, and the object changed"
    return "a second create succeeded"


def _one_creates(store: Store, path: str) -> str:
    return _one_wins(store, path, lambda content: store.create(path, content))


def _stale_version_is_refused(store: Store, path: str) -> str:
    store.replace(path, b"0")
    _, version = store.read_version(path)
    store.replace_if(path, b"1", version)
    try:
        store.replace_if(path, b"2", version)
    except PreconditionFailed:
        return "" if store.read(path) == b"1" else "it was refused, and the object changed"
    return "an older version was replaced"


def _one_replaces(store: Store, path: str) -> str:
    store.replace(path, b"0")
    _, version = store.read_version(path)
    return _one_wins(store, path, lambda content: store.replace_if(path, content, version))


def _one_wins(store: Store, path: str, write: Callable[[bytes], None]) -> str:
    def won(content: bytes) -> bool:
        try:
            write(content)
        except (AlreadyExists, PreconditionFailed):
            return False
        return True

    contents = [b"writer %d" % i for i in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as writers:
        winners = [content for content, has_won in zip(contents, writers.map(won, contents), strict=True) if has_won]
    return "" if winners == [store.read(path)] else f"{len(winners)} of {WRITERS} succeeded"


def _part_is_read(store: Store, path: str) -> str:
    store.replace(path, b"0123456789")
    parts = store.read_range(path, 2, 3), store.read_range(path, 8, 9), store.read_range(path, 99, 1)
    return "" if parts == (b"234", b"89", b"") else f"it was read as {parts}"


def _copy_is_made(store: Store, path: str) -> str:
    store.replace(path, b"copied")
    store.copy(path, f"{path}-copy")
    return "" if store.read(f"{path}-copy") == b"copied" else "it is another one"


def _unchanged_is_not_sent(store: Store, path: str) -> str:
    store.replace(path, b"same")
    found = store.read_unless(path, "", 4)
    version = found[1] if found else ""
    return "" if version and store.read_unless(path, version, 4) is None else "it was sent again"
