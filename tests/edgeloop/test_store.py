from __future__ import annotations

import contextlib
import os
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from edgeloop.errors import AlreadyExists, ConfigError, NotFound, PreconditionFailed, StoreError
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store, open_store
from tests.conftest import SERVERS


@pytest.fixture(params=["directory", "memory", *SERVERS])
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(store_url: str) -> Store:
    return open_store(store_url)


def test_create_never_overwrites(store: Store) -> None:
    store.create("a/b", b"first")
    with pytest.raises(AlreadyExists, match="a/b"):
        store.create("a/b", b"second")
    assert store.read("a/b") == b"first"


def test_of_many_conditional_writers_exactly_one_wins(store: Store) -> None:
    store.create("t", b"0")
    _, version = store.read_version("t")
    won: list[int] = []
    lost: list[int] = []

    def write(i: int) -> None:
        try:
            store.replace_if("t", b"%d" % i, version)
            won.append(i)
        except PreconditionFailed:
            lost.append(i)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert store.read("t") == b"%d" % won[0]


def test_ranges_and_listing(store: Store) -> None:
    store.create("x/one", b"0123456789")
    store.create("x/y/two", b"ab")
    store.create("xx", b"")
    assert store.read_range("x/one", 8, 10) == b"89"
    assert {(e.path, e.size) for e in store.list("x")} == {("x/one", 10), ("x/y/two", 2)}
    store.delete("x/one")
    store.delete("x/one")
    with pytest.raises(NotFound):
        store.read("x/one")


def test_the_folders_right_under_another(store: Store) -> None:
    for path in ("lake/events/a", "lake/events/b/c", "lake/labels/d", "lake/file", "lakes/other/e"):
        store.create(path, b"")
    assert sorted(store.folders("lake")) == ["lake/events", "lake/labels"]
    assert store.folders("nothing") == ()


def test_a_listing_of_more_than_a_page_is_whole(store: Store) -> None:
    names = {f"x/{i:04}" for i in range(1001)}  # S3 lists a thousand at a time
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda name: store.create(name, b""), names))
    assert {entry.path for entry in store.list("x")} == names
    assert {entry.path for entry in store.list("x", after="x/0990")} == {name for name in names if name > "x/0990"}
    store.delete_all([*names, "x/none"])  # and removes a thousand at a time
    assert not list(store.list("x"))


def test_what_is_removed_together_goes_by_whatever_name_and_nothing_else_does(store: Store) -> None:
    odd = ["x/a b", "x/ü", "x/50%", "x/a&b<c>", "x/it's", "x/%2e", "x/+", "x/#?"]
    for name in (*odd, "x/kept"):
        store.create(name, b"")
    for entry in store.list("x"):
        found = store.look_up(entry.path)
        assert (found.path, found.size, found.version) == (entry.path, entry.size, entry.version)
    store.delete_all(odd)
    assert [entry.path for entry in store.list("x")] == ["x/kept"]
    with pytest.raises(NotFound):
        store.look_up("x/ü")


def test_the_largest_batch_is_created_once_and_copied_as_any(store: Store) -> None:
    content = os.urandom(16 * 2**20)
    store.create("x", content)
    with pytest.raises(
        StoreError
    ):  # AlreadyExists, or a broken connection: versitygw says so, and hangs up, before all of it came
        store.create("x", content[:-1])
    store.copy("x", "y")
    assert store.read("y") == content


def test_nothing_is_read_past_an_objects_end_and_nothing_is_there_that_is_not(store: Store) -> None:
    store.create("x", b"0123456789")
    store.create("empty", b"")
    assert store.read_range("x", 10, 5) == store.read_range("x", 99, 5) == store.read("empty", 5) == b""
    assert (store.read("x", 4), store.read("x", 10), store.read("x", 99)) == (b"0123", b"0123456789", b"0123456789")
    with pytest.raises(NotFound):
        store.read_range("y", 10, 5)


def test_what_did_not_change_is_not_read_again(store: Store) -> None:
    store.create("x", b"0123456789")
    found = store.read_unless("x", "", 4)
    assert found is not None
    content, version = found
    assert (content, bool(version)) == (b"0123", True)
    assert store.read_unless("x", version, 4) is None
    store.replace("x", b"other")
    assert store.read_unless("x", version, 99) == (b"other", store.read_version("x")[1])
    store.delete("x")
    with pytest.raises(NotFound):
        store.read_unless("x", version, 4)


def test_a_copy_is_a_second_object_and_a_listing_tells_versions_apart(store: Store) -> None:
    store.create("x/one", b"first")
    (before,) = store.list("x")
    store.copy("x/one", "y/one")
    store.replace("x/one", b"second")
    (after,) = store.list("x")
    assert store.read("y/one") == b"first"
    assert before.version != after.version
    with pytest.raises(NotFound):
        store.copy("x/none", "y/none")


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/../x/.."])
def test_no_path_leaves_the_store(store: Store, path: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        store.create(path, b"x")
    assert not (tmp_path / "outside").exists()


def test_an_unknown_kind_of_store_is_named() -> None:
    with pytest.raises(ConfigError, match=r"ftp://x.*s3://"):
        open_store("ftp://x")


@pytest.mark.parametrize("name", ["a b", "ü", "x#y", "q?r", "s*t", "it's", "a{b}"])
def test_a_directory_of_any_name_holds_a_lake(tmp_path: Path, name: str) -> None:
    lake = Lake(open_store(open_store(tmp_path / name).url), Layout("pump"))
    rows = pa.table({"a": [1, 2], "month": ["2024-01", "2024-02"]})
    lake.append("events", rows, ["month"])
    assert lake.connect(events=None).execute("SELECT sum(a), min(month) FROM events").fetchall() == [(3, "2024-01")]
    lake.append("events", rows)
    (commit,) = lake.commits("events", 2, 2)
    rows, gone = lake.read_files("events", [file.path for file in commit.added])
    assert (rows.to_table(columns=["a"]).num_rows, gone) == (2, [])


@pytest.mark.parametrize("name", ["50%", "a[1]", "a|b", "a^b", "a\\b"])
def test_a_directory_that_cannot_hold_one_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="Use a directory without it"):
        open_store(tmp_path / name)


@pytest.mark.parametrize("name", ["x#y", "x?y"])
def test_a_prefix_that_cannot_hold_a_lake_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="Use a prefix without it"):
        Lake(open_store(f"s3://edgeloop/{name}"), Layout("pump")).location("events")


@pytest.fixture(params=["hangs", "trickles", "refuses for now"])
def bad_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store that takes connections, and then does what its name says until the end of time."""
    yield from serving(request.param, monkeypatch)


@pytest.fixture
def endless_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store that answers a range with a body that does not end."""
    yield from serving("floods", monkeypatch)


def serving(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    length = 10**12 if kind == "floods" else 100_000
    headers = f'Content-Range: bytes 0-99999/100000\r\nContent-Length: {length}\r\nETag: "x"\r\n'
    found = f"HTTP/1.1 206 Partial\r\n{headers}Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n"
    reply = {
        "hangs": "",
        "trickles": found,
        "floods": found,
        "refuses for now": "HTTP/1.1 503 SlowDown\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n",
    }[kind]
    pause, piece = (0.0, b"x" * 65536) if kind == "floods" else (0.1, b"x" if reply else b"")

    class Bad(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.recv(65536)
                self.request.sendall(reply.encode())
                while kind != "refuses for now" and not ended.wait(pause):
                    self.request.sendall(piece)

    ended = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Bad) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in (("ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}"), ("ACCESS_KEY_ID", "a")):
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        yield
        ended.set()
        server.shutdown()


@pytest.mark.usefixtures("bad_server")
def test_a_request_ends_whatever_the_store_does() -> None:
    store = open_store("s3://edgeloop", deadline=timedelta(seconds=0.5))
    with pytest.raises(StoreError, match=r"could not read a: .*(took too long|503)"):
        store.read_range("a", 0, 100_000)


@pytest.mark.usefixtures("endless_server")
def test_of_a_body_without_an_end_no_more_is_taken_than_was_asked_for() -> None:
    store = open_store("s3://edgeloop", deadline=timedelta(seconds=5))
    assert store.read_range("a", 0, 100_000) == b"x" * 100_000
    found = store.read_unless("a", "", 100_000)
    assert found is not None
    assert found[0] == b"x" * 100_000


def test_a_name_that_cannot_be_looked_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENDPOINT_URL", "http://nowhere.invalid"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(StoreError, match="could not create a"):
        open_store("s3://edgeloop", deadline=timedelta(seconds=0.5)).create("a", b"x")
