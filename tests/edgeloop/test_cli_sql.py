"""`edgeloop sql` on the lake of a site: one query, its forms, what is wrong with it, and the shell."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeloop.store import open_store
from tests.command import end_of
from tests.site import LOOP, Site, fill_lake, hear_ctrl_c, make_site

COMMAND = [sys.executable, "-c", "from edgeloop.cli import main; main()", "sql"]


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Site:
    made = make_site(tmp_path / "site", store=open_store(store_url))
    fill_lake(made, 20)
    (made.directory / "loop.toml").write_text(LOOP)
    return made


@pytest.fixture
def ask(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def asked(*arguments: object, code: int = 0) -> tuple[str, str]:
        here = (site.directory / "loop.toml", "--store", site.store.url)
        out, err = end_of(monkeypatch, capsys, "sql", *here, *arguments, code=code)
        return out, " ".join(err.split())

    return asked


def test_an_answer_is_a_bounded_table_or_all_of_it(ask) -> None:  # type: ignore[no-untyped-def]
    out, err = ask("-c", "SELECT seq FROM events", "--limit", 5)
    assert len(out.splitlines()) == 6
    assert "only the first 5 rows" in err
    out, err = ask("-c", "SELECT device, seq, NULL AS nothing FROM events ORDER BY ALL", "--csv", "--limit", 5)
    assert out.splitlines()[:2] == ["device,seq,nothing", "d0,1,"]
    assert len(out.splitlines()) == 61
    out, err = ask("-c", "SELECT count(*) AS n, min(ts) AS first FROM events", "--json")
    assert json.loads(out) == {"columns": ["n", "first"], "rows": [[60, "2024-01-01T00:00:00Z"]]}


def test_what_is_wrong_with_a_query_is_said(ask) -> None:  # type: ignore[no-untyped-def]
    for query, code, says in (
        ("SELECT * FROM event", 2, "The lake has the tables events, labels, truth."),
        ("SELEC 1", 2, "syntax error"),
        ("SELECT nothing FROM events", 2, '"nothing" not found'),
        ("SELECT * FROM config", 2, "name config does not exist"),  # one of Python's variables is no table
        ("INSERT INTO events FROM events", 2, "events is not an table"),
        ("DROP TABLE events", 2, "is of type View"),
        ("SELECT device::INTEGER FROM events", 3, "Could not convert"),
    ):
        out, err = ask("-c", query, code=code)
        assert (out, says in err) == ("", True), err
    assert "TABLE=VERSION" in ask("--at", "events", "-c", "SELECT 1", code=2)[1]
    assert "The newest is " in ask("--at", "events=999", "-c", "SELECT 1", code=2)[1]
    assert "There are: events, labels." in ask("--at", "nothing=1", "-c", "SELECT 1", code=2)[1]
    assert "one of them" in ask("--csv", "--json", "-c", "SELECT 1", code=2)[1]


def test_a_lake_without_tables_is_said(ask, site: Site) -> None:  # type: ignore[no-untyped-def]
    assert site.store.directory is not None
    shutil.rmtree(site.store.directory / site.config.layout.root)
    assert "has no table yet" in ask("-c", "SELECT 1", code=3)[1]


def test_a_table_is_asked_as_it_was(ask, site: Site) -> None:  # type: ignore[no-untyped-def]
    then = site.lake.version("events")
    fill_lake(site, 10)
    count = ("-c", "SELECT count(*) AS n FROM events", "--csv")
    assert ask(*count)[0] == "n\n90\n"
    assert ask("--at", f"events={then}", *count)[0] == "n\n60\n"


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_a_process_ends_well_that_leaves_rows_unread(site: Site) -> None:
    for _ in range(20):
        fill_lake(site, 400)
    query = "SELECT * FROM events LIMIT 3"
    for _ in range(3):  # over Arrow's dataset it hung or ended by a signal, most times
        arguments = [str(site.directory / "loop.toml"), "--store", site.store.url, "-c", query, "--csv"]
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True, timeout=60)
        assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize("store_kind", ["directory", "minio"])
def test_a_table_that_cannot_be_read_is_not_the_querys_fault(ask, site: Site) -> None:  # type: ignore[no-untyped-def]
    for entry in list(site.store.list(site.config.layout.lake("events"))):
        if entry.path.endswith(".parquet"):
            site.store.delete(entry.path)
    assert "events" in ask("-c", "SELECT count(DISTINCT device) FROM events", code=4)[1]


def test_a_shell_takes_statements_and_goes_on_after_a_mistake_and_ctrl_c(site: Site) -> None:
    near, far = pty.openpty()
    arguments = [str(site.directory / "loop.toml"), "--store", site.store.url, "--csv"]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=far, stdout=far, stderr=far, start_new_session=True, preexec_fn=_own_terminal
    ) as shell:
        os.close(far)
        said = _said(near)
        _until(said, "pump> ")
        os.write(near, b"SELECT 40 +\n")
        _until(said, "... ")
        os.write(near, b"2 AS answer;\n")
        assert "42" in _until(said, "pump> ")
        os.write(near, b"SELEC;\n")
        assert "syntax error" in _until(said, "pump> ")
        os.write(near, b"SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE (a.range * b.range) % 7 = 3;\n")
        _until(said, "= 3;")
        os.write(near, b"\x03")
        _until(said, "pump> ")
        os.write(near, b"SELECT count(*) + 1 FROM events;\n")
        assert "61" in _until(said, "pump> ")
        os.write(near, b"\x04")
        assert shell.wait(60) == 0
    os.close(near)


def _own_terminal() -> None:
    """Make what a process has as its input the terminal that Ctrl-C is typed at."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    hear_ctrl_c()


def _said(terminal: int) -> Iterator[str]:
    while True:
        yield os.read(terminal, 65536).decode()


def _until(said: Iterator[str], text: str) -> str:
    found = ""
    while text not in found:
        found += next(said)
    return found
