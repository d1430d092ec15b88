"""The one interface to the object store: a directory, memory, or any S3.

Everything the two sides tell each other goes through these calls, so what they promise is what the loop can
rely on: `create` never overwrites, `replace_if` never loses another writer's version, `read_range` reads a part,
`list` gives every object under a prefix. Errors are edgeloop's own, whatever the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

import msgspec
import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
)
from obstore.store import LocalStore, MemoryStore, S3Store

from edgeloop.errors import AlreadyExists, ConfigError, NotFound, PreconditionFailed, StoreError, UnlistableName

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, UpdateVersion
    from obstore.store import RetryConfig

DEADLINE = timedelta(seconds=60)
"""For a request to S3."""

CONNECT = timedelta(seconds=5)
"""For the name of a store to be looked up and a connection to it made, of a request's deadline."""

PATIENCE = timedelta(seconds=45)
"""Of who waits for a store that is away: an answer within the minute that Dagster gives a tick of a sensor or a schedule."""

WAITING = {"max_retries": str(2**31), "retry_timeout": f"{PATIENCE.total_seconds():.0f}s"}
"""What has deltalake wait for a store that is away; without, it tries ten times, in a second or two."""

_INVALID = "object with invalid path"
"""What obstore (0.12) says of a name that it cannot list; it has no class for that."""

_NOT_IN_A_DIRECTORY = frozenset("%[]\\^|")
"""deltalake takes a directory's path for a URL and does not escape these (1.6.6); all others were tried and work."""


@dataclass(frozen=True)
class Entry:
    """An object in a listing: its path, its size in bytes, when it was last written, which version of it this is."""

    path: str
    size: int
    modified: datetime
    version: str


class DeviceStore(Protocol):
    """What a device asks of a store, and all that its credentials have to allow: a `Store`, or a stick (`edgeloop.stick`)."""

    def create(self, path: str, content: bytes) -> None:
        """As `Store.create`."""

    def replace(self, path: str, content: bytes) -> None:
        """As `Store.replace`."""

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """As `Store.read_range`."""

    def read_unless(self, path: str, version: str, length: int) -> tuple[bytes, str] | None:
        """As `Store.read_unless`; a store that knows no versions gives an empty one, and the bytes each time."""


class Store:
    """An object store with the few operations that edgeloop needs; made by `open_store`.

    Paths are relative, with `/` between their parts. Every method may raise `StoreError`.
    """

    def __init__(
        self,
        backend: LocalStore | MemoryStore | S3Store,
        url: str,
        directory: Path | None = None,
        *,
        waits: bool = False,
    ) -> None:
        self._backend = backend
        self.url = url
        self.directory = directory
        self._waits = waits

    def create(self, path: str, content: bytes) -> None:
        """Write a new object. Raises `AlreadyExists`, changing nothing, where there is one."""
        self._put(path, content, "create", "create")

    def replace(self, path: str, content: bytes) -> None:
        """Write an object, over the old one if there is one."""
        with _own_errors("write", path):
            obstore.put(self._backend, path, content, mode="overwrite")

    def replace_if(self, path: str, content: bytes, version: str | None) -> None:
        """Write an object only if its version is still `version` (None: only if there is none).

        Raises:
            PreconditionFailed: another writer was first.
        """
        if version is None:
            try:
                self.create(path, content)
            except AlreadyExists as error:
                raise _lost_race(path) from error
        elif self.directory is None:
            self._put(path, content, "conditionally write", {"e_tag": version})
        else:
            self._replace_file_if(path, content, version)

    def _put(self, path: str, content: bytes, verb: str, mode: Literal["create"] | UpdateVersion) -> None:
        """Write on a condition. Who waits is not told of a reply that was lost: what is there then is what was to be written."""
        for last in (not self._waits, True):
            try:
                with _own_errors(verb, path):
                    obstore.put(self._backend, path, content, mode=mode)
                return
            except (AlreadyExists, PreconditionFailed):
                if self._waits and self.read(path) == content:
                    return
                raise
            except StoreError:
                if last:
                    raise

    def _replace_file_if(self, path: str, content: bytes, version: str) -> None:
        # obstore's directory store has no conditional put: the writers of this machine agree by a lock.
        assert self.directory is not None
        with _locked(self.directory), _own_errors("conditionally write", path):
            if obstore.head(self._backend, path)["e_tag"] != version:
                raise _lost_race(path)
            obstore.put(self._backend, path, content, mode="overwrite")

    def read(self, path: str, at_most: int | None = None) -> bytes:
        """The whole object, or its first `at_most` bytes: for what a stranger wrote. Raises `NotFound`."""
        with _own_errors("read", path):
            result = obstore.get(self._backend, path)
            return bytes(result.bytes()) if at_most is None else _first(result, at_most)

    def read_version(self, path: str) -> tuple[bytes, str]:
        """The whole object and the version to give to `replace_if`. Raises `NotFound`."""
        with _own_errors("read", path):
            result = obstore.get(self._backend, path)
            content = bytes(result.bytes())
            return content, str(result.meta["e_tag"])

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`; fewer at the end of the object, none after it. Raises `NotFound`."""
        try:
            with _own_errors("read", path):
                return _first(obstore.get(self._backend, path, options={"range": (start, start + length)}), length)
        except StoreError:
            # Each store says in words of its own that the object ends before `start`.
            if start and start >= self.size(path):
                return b""
            raise

    def read_unless(self, path: str, version: str, length: int) -> tuple[bytes, str] | None:
        """At most `length` bytes from the beginning, and the object's version; None if that is still `version`.

        Args:
            version: as this method gave it before; empty to have the bytes in any case.

        Raises:
            NotFound: there is no such object.
        """
        options: GetOptions = {"range": (0, length)}
        if version:
            options["if_none_match"] = version
        with _own_errors("read", path), contextlib.suppress(NotModifiedError):
            result = obstore.get(self._backend, path, options=options)
            return _first(result, length), result.meta["e_tag"] or ""
        return None

    def size(self, path: str) -> int:
        """Bytes in the object. Raises `NotFound`."""
        with _own_errors("look up", path):
            return int(obstore.head(self._backend, path)["size"])

    def look_up(self, path: str) -> Entry:
        """The object as a listing has it, but S3 tells its time to the second. Raises `NotFound`."""
        with _own_errors("look up", path):
            return _entry(obstore.head(self._backend, path))

    def list(self, prefix: str, after: str | None = None) -> Iterator[Entry]:
        """Every object under the folder `prefix`, in no particular order; with `after`, those whose path is greater alone. Raises
        `UnlistableName`."""
        with _own_errors("list", prefix):
            for chunk in obstore.list(self._backend, prefix, offset=after):
                for meta in chunk:
                    yield _entry(meta)

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The folders right under the folder `prefix`, whatever is in them."""
        with _own_errors("list", prefix):
            return tuple(obstore.list_with_delimiter(self._backend, prefix)["common_prefixes"])

    def copy(self, path: str, to: str) -> None:
        """Copy an object within the store, over an older copy if there is one; no byte of it comes here. Raises `NotFound`."""
        with _own_errors("copy", path):
            obstore.copy(self._backend, path, to, overwrite=True)

    def delete(self, path: str) -> None:
        """Remove the object; nothing happens if there is none."""
        with contextlib.suppress(NotFound), _own_errors("delete", path):
            obstore.delete(self._backend, path)

    def delete_all(self, paths: Sequence[str]) -> None:
        """Remove objects, if there are any: on S3 a thousand a request."""
        if isinstance(self._backend, S3Store):
            with _own_errors("delete", f"{len(paths)} objects"):
                obstore.delete(self._backend, paths)
            return
        for path in paths:
            self.delete(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder that nothing is in: a directory has such, whose names stay behind what was in them."""
        if self.directory is not None:
            with contextlib.suppress(OSError):
                (self.directory / path).rmdir()

    def table_location(self, path: str) -> tuple[str, dict[str, str]]:
        """Where the Delta table at `path` is for `deltalake`: its URI and storage options.

        Raises:
            ConfigError: the store is in memory or has a prefix with # or ?, which no table can be in.
        """
        if self.directory is not None:
            return str(self.directory / path), {}
        if isinstance(self._backend, S3Store):
            if {"#", "?"} & set(self.url):  # deltalake would end the path there, and all tables be in one
                raise ConfigError(
                    f"the lake cannot be in {self.url}, for its # or ?.", remedy="Use a prefix without it."
                )
            options = {
                f"aws_{key}" if not key.startswith("aws_") else key: str(value) for key, value in s3_settings().items()
            }
            return f"{self.url}/{path}", options | (WAITING if self._waits else {})
        raise ConfigError("a store in memory cannot hold the lake.", remedy="Use a directory or s3://bucket/prefix.")


class Credentials(msgspec.Struct, frozen=True):
    """Where an S3 is, and who asks it."""

    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id})"  # a secret must not get into a log


def open_store(
    url: str | Path, credentials: Credentials | None = None, *, deadline: timedelta = DEADLINE, waits: bool = False
) -> Store:
    """Open the store at `url`.

    Args:
        url: a directory (a path or `file://…`; it is made if missing), `memory://`, or `s3://bucket[/prefix]`.
        credentials: for S3; from `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION` in the
            environment, if not given.
        deadline: for each request to S3, from connecting to the last byte of the reply. What failed is tried again only before it
            is over, so that whatever the store does a call ends within twice this.
        waits: for an S3 that is away, for `PATIENCE`; else for a second or two. Where nobody looks on, one that is started
            again is to stop nothing.

    Raises:
        ConfigError: the URL is of no known kind, or the directory cannot be made.
    """
    text = str(url)
    parts = urlsplit(text)
    if parts.scheme == "memory":
        return Store(MemoryStore(), text)
    if parts.scheme == "s3":
        return _open_s3(text.rstrip("/"), parts.netloc, parts.path.strip("/"), credentials, deadline, waits)
    if (directory := directory_of(text)) is not None:
        return _open_directory(directory)
    raise ConfigError(
        f"store {text!r} is of no known kind.", remedy="Use a directory, s3://bucket/prefix or memory://."
    )


def directory_of(url: str) -> Path | None:
    """The directory that a store's URL, `file://…` or a plain path, names; None for any other kind of store."""
    parts = urlsplit(url)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else url)


def s3_settings(credentials: Credentials | None = None) -> dict[str, Any]:
    """The S3 client's settings, by obstore's names; from the environment, if no `credentials` are given."""
    given = _from_environment() if credentials is None else msgspec.structs.asdict(credentials)
    endpoint = given.pop("endpoint")
    settings: dict[str, Any] = {key: value for key, value in given.items() if value}
    if endpoint:
        settings["endpoint"] = endpoint
        settings["virtual_hosted_style_request"] = "false"
    if endpoint.startswith("http://"):
        settings["allow_http"] = "true"
    return settings


def _from_environment() -> dict[str, str]:
    keys = "access_key_id", "secret_access_key", "session_token"
    found = {key: os.environ.get(f"AWS_{key.upper()}", "") for key in keys}
    region = os.environ.get("AWS_REGION", "us-east-1")
    return {"endpoint": os.environ.get("AWS_ENDPOINT_URL", ""), "region": region, **found}


def _open_s3(
    url: str, bucket: str, prefix: str, credentials: Credentials | None, deadline: timedelta, waits: bool
) -> Store:
    if not bucket:
        raise ConfigError(f"store {url!r} names no bucket.", remedy="Use s3://bucket or s3://bucket/prefix.")
    settings: Any = s3_settings(credentials)
    client_options: Any = {"timeout": deadline, "connect_timeout": min(CONNECT, deadline)}
    if settings.pop("allow_http", None):
        client_options["allow_http"] = True
    settings.pop("virtual_hosted_style_request", None)
    retries: RetryConfig = {"retry_timeout": deadline}
    if waits:
        retries = {"max_retries": 2**31, "retry_timeout": min(PATIENCE, deadline)}
    backend = S3Store(
        bucket, prefix=prefix or None, config=settings, client_options=client_options, retry_config=retries
    )
    return Store(backend, url, waits=waits)


def _open_directory(path: Path) -> Store:
    path = path.expanduser().resolve()
    if odd := sorted(_NOT_IN_A_DIRECTORY.intersection(str(path))):
        raise ConfigError(
            f"store directory {path} has {' '.join(odd)} in its name, which Delta tables cannot be kept under.",
            remedy="Use a directory without it.",
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"store directory {path} cannot be made: {error.strerror}.", remedy="Name another."
        ) from error
    return Store(LocalStore(path), path.as_uri(), path)


def _entry(meta: ObjectMeta) -> Entry:
    return Entry(str(meta["path"]), int(meta["size"]), meta["last_modified"], str(meta["e_tag"]))


def _first(result: GetResult, length: int) -> bytes:
    # A hostile store can answer any range with a body that never ends: what is over is not to get into memory.
    for chunk in result.stream(min_chunk_size=length):
        return bytes(chunk)[:length]
    return b""


def _lost_race(path: str) -> PreconditionFailed:
    return PreconditionFailed(f"{path} was changed by another writer.", remedy="Read it again and repeat.")


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    # The lock file stands beside no object: a listing must show objects only.
    name = f"edgeloop-{os.getuid()}-{directory.stat().st_dev}-{directory.stat().st_ino}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _own_errors(verb: str, path: str) -> Iterator[None]:
    """Turn obstore's errors into ours."""
    try:
        yield
    except AlreadyExistsError as error:
        raise AlreadyExists(f"{path} exists already.") from error
    except PreconditionError as error:
        raise _lost_race(path) from error
    except (NotFoundError, FileNotFoundError) as error:
        raise NotFound(f"there is no {path} in the store.") from error
    except (BaseError, OSError, ValueError) as error:
        reason, _, source = str(error).partition("\n")
        reason += " (it took too long)" if "kind: Timeout" in source else ""
        kind = UnlistableName if _INVALID in reason else StoreError
        raise kind(
            f"could not {verb} {path}: {reason}", remedy="Check that the store is up and may be used."
        ) from error
