"""Downloads over a link that breaks: from a real store in a directory, cut short and spoiled in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import TargetFile

from edge_runtime.targets import download, part_of
from edgeloop.errors import EdgeloopError, NoRoom, StoreError, TrustError
from edgeloop.store import open_store

KIB = 1024
CONTENT = bytes(i * i % 251 for i in range(300 * KIB))
MODEL = TargetFile.from_data("models/pump/r1.onnx", CONTENT, ["sha256"])
OTHER = TargetFile.from_data("models/pump/r2.onnx", CONTENT[::-1], ["sha256"])


def reader(folder: Path, content: bytes = CONTENT) -> Callable[[int, int], bytes]:
    store = open_store(folder / "store")
    store.replace("blob", content)
    return lambda start, length: store.read_range("blob", start, length)


def breaking(read: Callable[[int, int], bytes], good: int) -> Callable[[int, int], bytes]:
    """A link that brings so many ranges and breaks."""
    left = [good]

    def broken(start: int, length: int) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise StoreError("the link is down")
        return read(start, length)

    return broken


def test_ranges_grow_while_the_link_holds(tmp_path: Path) -> None:
    content, asked = bytes(5000 * KIB), []
    read = reader(tmp_path, content)

    def noting(start: int, length: int) -> bytes:
        asked.append(length // KIB)
        return read(start, length)

    target = TargetFile.from_data("x", content, ["sha256"])
    download(noting, target, tmp_path / "model")
    assert asked == [64, 128, 256, 512, 1024, 1024, 1024, 968]
    assert (tmp_path / "model").read_bytes() == content


def test_it_goes_on_where_it_broke_off_and_no_other_target_does(tmp_path: Path) -> None:
    read, asked, model = reader(tmp_path), [], tmp_path / "model"
    with pytest.raises(StoreError):
        download(breaking(read, 1), MODEL, model)
    assert not model.exists()

    def noting(start: int, length: int) -> bytes:
        asked.append(start // KIB)
        return CONTENT[::-1][start : start + length]

    download(noting, OTHER, tmp_path / "other")
    assert asked[0] == 0
    asked.clear()
    download(lambda start, length: asked.append(start // KIB) or read(start, length), MODEL, model)  # type: ignore[func-returns-value]
    assert asked[0] == 64
    assert model.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "stored", [CONTENT[: 100 * KIB], CONTENT[: 64 * KIB], b"", CONTENT[:-1] + b"x", b"x" + CONTENT[1:]]
)
def test_what_is_not_what_was_signed_leaves_nothing_to_go_on_from(tmp_path: Path, stored: bytes) -> None:
    model = tmp_path / "model"
    with pytest.raises((TrustError, StoreError)):
        download(reader(tmp_path, stored), MODEL, model)
    with pytest.raises(StoreError):
        download(breaking(reader(tmp_path), 0), MODEL, model)
    assert part_of(MODEL, model).stat().st_size == 0
    download(reader(tmp_path), MODEL, model)
    assert model.read_bytes() == CONTENT


def test_an_object_that_shrank_below_the_part_is_no_failure_of_the_link(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        download(breaking(reader(tmp_path), 2), MODEL, tmp_path / "model")
    with pytest.raises(TrustError, match=r"the store has 0 bytes of models/pump/r1\.onnx where 65536 were signed"):
        download(reader(tmp_path, CONTENT[:100]), MODEL, tmp_path / "model")
    assert not part_of(MODEL, tmp_path / "model").exists()


def test_a_store_that_gives_more_than_was_asked(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"has 307200 bytes .* where 65536 were signed"):
        download(lambda start, length: CONTENT, MODEL, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_gets_the_room_back(tmp_path: Path) -> None:
    part = part_of(MODEL, tmp_path / "model")
    part.symlink_to("/dev/full")
    with pytest.raises(NoRoom, match="the disk is full"):
        download(reader(tmp_path), MODEL, tmp_path / "model")
    assert not part.is_symlink()
    download(reader(tmp_path), MODEL, tmp_path / "model")


steps = st.one_of(
    st.tuples(st.just("break"), st.integers(0, 4)),
    st.tuples(st.just("spoil"), st.integers(0, len(CONTENT) - 1)),
    st.tuples(st.just("cut"), st.integers(0, len(CONTENT))),
    st.tuples(st.just("damage"), st.binary(max_size=400 * KIB)),
)


@settings(max_examples=60, deadline=None)
@given(trouble=st.lists(steps, max_size=6))
def test_after_whatever_trouble_the_second_good_try_succeeds(
    tmp_path_factory: pytest.TempPathFactory, trouble: list[tuple[str, int | bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("home")
    model = folder / "model"
    for kind, what in trouble:
        content, good = CONTENT, 99
        if kind == "break":
            good = int(what)  # type: ignore[arg-type]
        elif kind == "spoil":
            content = CONTENT[:what] + bytes([CONTENT[what] ^ 1]) + CONTENT[what + 1 :]  # type: ignore[operator,index,misc]
        elif kind == "cut":
            content = CONTENT[:what]  # type: ignore[misc]
        else:
            part_of(MODEL, model).write_bytes(what)  # type: ignore[arg-type]
            good = 1
        try:
            download(breaking(lambda start, length, c=content: c[start : start + length], good), MODEL, model)  # type: ignore[misc]
        except EdgeloopError:
            assert not model.exists()
        else:
            assert model.read_bytes() == CONTENT
            model.unlink()
    for _ in range(2):
        try:
            download(lambda start, length: CONTENT[start : start + length], MODEL, model)
            break
        except TrustError:
            continue
    assert model.read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["model"]
