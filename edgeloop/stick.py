"""A stick: a directory with the folders of the store, carried by hand between a site and a centre.

It can be full, pulled out in the middle, or prepared by somebody who means ill. Rules:
1. What `put` has written is on the medium, file and folders, when it returns. Until then there is nothing under its name, or what
   was there before; torn leftovers begin with a dot, as do the files that other systems strew about, and are read over.
2. What is there with the same bytes is left. With others it is torn or foreign, and replaced.
3. No link on the stick is followed, not even to another place on it; nothing but folders and plain files is opened.
4. All is done from the directory as it was opened. When the stick is pulled out that fails, and does not go on in the empty
   directory that it was mounted over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edgeloop.errors import AlreadyExists, ConfigError, DataError, NotFound, StoreError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is not waited for


@contextlib.contextmanager
def open_stick(directory: Path) -> Iterator[Stick]:
    """Open the stick that is mounted at `directory`, which must be there: one that is made would be no stick.

    Raises:
        ConfigError: there is no directory, or it may not be opened.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(
            f"the directory of the stick, {directory}, cannot be opened: {error.strerror}.",
            remedy="Plug it in and name the directory that it is mounted at.",
        ) from error
    try:
        yield Stick(root)
    finally:
        os.close(root)


class Stick:
    """An opened stick; made by `open_stick`. To a device it is a store (`edgeloop.store.DeviceStore`).

    Paths are relative, as in the store. Every method may raise `StoreError`, and `DataError` for a path that leads out.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._durable: set[tuple[str, ...]] = set()

    def put(self, path: str, content: bytes) -> bool:
        """Have `content` at `path`, on the medium; False if it was there already."""
        *folders, name = _parts(path)
        with _own_errors("write", path), self._folder(folders, make=True) as folder:
            new = not _same(folder, name, content)
            if new:
                _write(folder, name, content)
            else:
                _sync(folder, name)  # whoever wrote it may have been killed before this
            os.fsync(folder)
        return new

    def create(self, path: str, content: bytes) -> None:
        """As `put`. Raises `AlreadyExists` if it was there already."""
        if not self.put(path, content):
            raise AlreadyExists(f"{path} is on the stick already.")

    def replace(self, path: str, content: bytes) -> None:
        """As `put`."""
        self.put(path, content)

    def holds(self, path: str, content: bytes) -> bool:
        """Whether `content` is at `path`."""
        *folders, name = _parts(path)
        with contextlib.suppress(NotFound), _own_errors("read", path), self._folder(folders) as folder:
            return _same(folder, name, content)
        return False

    def read(self, path: str, limit: int) -> bytes:
        """The whole file. Raises `NotFound`; `DataError` if it is longer than `limit` bytes."""
        content = self.read_range(path, 0, limit + 1)
        if len(content) > limit:
            raise DataError(f"it has over {limit} bytes, which is the most that is taken.")
        return content

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`; fewer at the end of the file. Raises `NotFound`."""
        *folders, name = _parts(path)
        with _own_errors("read", path), self._folder(folders) as folder:
            return _read(folder, name, start, length)

    def read_unless(self, path: str, version: str, length: int) -> tuple[bytes, str]:  # noqa: ARG002
        """The first `length` bytes and no version: a stick has none that could be relied on. Raises `NotFound`."""
        return self.read_range(path, 0, length), ""

    def files(self, prefix: str, depth: int) -> list[str]:
        """The paths of the plain files that are `depth` folders below `prefix`, sorted."""
        with contextlib.suppress(NotFound), _own_errors("list", prefix), self._folder(_parts(prefix)) as folder:
            return [f"{prefix}/{path}" for path in _walk(folder, depth)]
        return []

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""
        *folders, name = _parts(path)
        with contextlib.suppress(NotFound), _own_errors("delete", path), self._folder(folders) as folder:
            os.unlink(name, dir_fd=folder)

    @contextlib.contextmanager
    def _folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder, reached step by step so that no link is followed."""
        descriptor = os.dup(self._root)
        try:
            for depth, part in enumerate(parts, start=1):
                if make and tuple(parts[:depth]) not in self._durable:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)
                    os.fsync(descriptor)
                    self._durable.add(tuple(parts[:depth]))
                inner = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise DataError(f"{path!r} is no path on a stick.", remedy="Find out who made it.")
    return parts


def _write(folder: int, name: str, content: bytes) -> None:
    part = f".{name}.part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Not a hard link, which would be create-only by itself: the file systems of sticks have none.
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):  # of a full stick: give the room back
            os.unlink(part, dir_fd=folder)
        raise


def _same(folder: int, name: str, content: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError):
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(there.st_mode) and there.st_size == len(content):
            return _read(folder, name, 0, len(content)) == content
    return False


def _read(folder: int, name: str, start: int, length: int) -> bytes:
    descriptor = os.open(name, _FILE, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        file.seek(start)
        return file.read(length)


def _sync(folder: int, name: str) -> None:
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: int, depth: int) -> Iterator[str]:
    for name in sorted(os.listdir(folder)):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if name.startswith(".") or not (stat.S_ISDIR(mode) if depth else stat.S_ISREG(mode)):
            continue
        if not depth:
            yield name
            continue
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            yield from (f"{name}/{path}" for path in _walk(inner, depth - 1))
        finally:
            os.close(inner)


@contextlib.contextmanager
def _own_errors(verb: str, path: str) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"there is no {path} on the stick.") from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"could not {verb} {path} on the stick: {_reason(error)}.",
            remedy="Check that it is plugged in, has room and may be written, and do it again: nothing is lost.",
        ) from error


def _reason(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ELOOP:
        return "it is a link, and none is followed"
    if number == errno.ENOTDIR:
        return "what it is in is a link or no folder"
    return getattr(error, "strerror", None) or str(error)
