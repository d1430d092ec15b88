"""A stick against what happens to sticks: pulled out, full, torn, and prepared by somebody who means ill."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeloop.errors import AlreadyExists, ConfigError, DataError, NotFound, StoreError
from edgeloop.stick import Stick, open_stick


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_bytes(b"secret")
    return tmp_path / "stick"


@pytest.fixture
def stick(place: Path) -> Iterator[Stick]:
    with open_stick(place) as stick:
        yield stick


def test_what_is_put_can_be_read_listed_and_removed(place: Path, stick: Stick) -> None:
    stick.create("a/b/c", b"hello")
    with pytest.raises(AlreadyExists):
        stick.create("a/b/c", b"hello")
    (place / "a/b/.c.part").write_bytes(b"left by a kill")
    (place / "a/b/._c").write_bytes(b"strewn about by another system")
    stick.replace("a/b/c", b"longer than before")
    assert stick.files("a", 1) == ["a/b/c"]
    assert stick.files("a", 0) == stick.files("x", 0) == []
    assert stick.read("a/b/c", 18) == b"longer than before"
    assert (stick.read_range("a/b/c", 7, 4), stick.read_range("a/b/c", 99, 4)) == (b"than", b"")
    with pytest.raises(DataError, match="over 17 bytes"):
        stick.read("a/b/c", 17)
    stick.delete("a/b/c")
    stick.delete("a/b/c")
    with pytest.raises(NotFound):
        stick.read("a/b/c", 18)


def test_a_torn_file_is_no_copy(place: Path, stick: Stick) -> None:
    (place / "batch").write_bytes(b"\0" * 5)  # as a file system without a journal leaves it
    stick.create("batch", b"hello")
    assert (place / "batch").read_bytes() == b"hello"


def test_nothing_leads_out_of_it(place: Path, stick: Stick) -> None:
    (place / "folder").symlink_to(place.parent / "secret")
    (place / "file").symlink_to(place.parent / "secret/key")
    os.mkfifo(place / "pipe")
    for path in ("folder/key", "file", "pipe"):
        with pytest.raises(StoreError, match="on the stick"):
            stick.read(path, 100)
    for path in ("../secret/key", "a/../../secret/key", "/etc/passwd", "", "a//b", "."):
        with pytest.raises(DataError, match="no path on a stick"):
            stick.read(path, 100)
    with pytest.raises(StoreError):
        stick.put("folder/new", b"x")
    stick.put("file", b"mine")  # in the place of the link
    assert (place.parent / "secret/key").read_bytes() == b"secret"
    assert list((place.parent / "secret").iterdir()) == [place.parent / "secret/key"]
    assert stick.files("x", 0) == []
    with pytest.raises(StoreError, match="a link or no folder"):
        stick.files("folder", 0)


def test_a_full_stick_gives_the_room_back_and_keeps_what_was_there(
    place: Path, stick: Stick, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick.put("status", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        stick.put("status", b"new")
    assert list(place.iterdir()) == [place / "status"]
    assert (place / "status").read_bytes() == b"old"


def test_when_it_is_pulled_out_nothing_is_written_where_it_was(place: Path, stick: Stick) -> None:
    place.rename(place.with_name("gone"))
    place.with_name("gone").rmdir()
    place.mkdir()  # the empty directory that it was mounted over
    with pytest.raises(StoreError):
        stick.put("batch", b"x")
    assert not list(place.iterdir())


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Plug it in"), open_stick(tmp_path / "none"):
        pass
    assert not list(tmp_path.iterdir())
