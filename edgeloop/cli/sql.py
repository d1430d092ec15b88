"""`edgeloop sql`: the lake of a loop, asked in SQL. Nothing here writes to it: its tables are views of the versions that were opened."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edgeloop.cli.options import Json, LoopFile, StoreUrl
from edgeloop.cli.output import emit, fail, note, out, say, table
from edgeloop.config import LoopConfig, read_loop
from edgeloop.errors import ConfigError, DataError, EdgeloopError, StoreError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from edgeloop.lake import Lake

T = TypeVar("T")

UNREAD = "reading the stream registered as"
"""In what DuckDB says, as if of the query, when Arrow could not read a table."""

AT_ONCE = 10_000
"""Rows that are in memory at a time on their way to CSV."""


def sql(
    loop: LoopFile,
    store: StoreUrl,
    query: Annotated[
        str, typer.Option("--command", "-c", metavar="QUERY", help="Ask this and end; without, a shell.")
    ] = "",
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE=VERSION", help="A table as it was at that version, not the newest; repeatable."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Rows that are shown for a person; --json and --csv give all.")
    ] = 100,
    json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, and nothing else there.")] = False,
) -> None:
    """Ask the lake in DuckDB's SQL: its tables are views, each at one version, that nothing is written through (docs/lake.md)."""
    from edgeloop.lake import Lake
    from edgeloop.store import open_store

    if json and as_csv:
        raise ConfigError("--json and --csv are two forms of one answer.", remedy="Give one of them.")
    config = read_loop(loop)
    connection = _open(Lake.of(open_store(store), config), config, _versions(at or []))

    def answer(asked: str) -> None:
        with _own_errors(connection):
            if _heeding_ctrl_c(connection, lambda: connection.execute(asked)) is None:
                return  # nothing but comments
            if as_csv:
                _write_csv(connection)
            else:
                _show(connection, limit, as_json=json)

    if query or not sys.stdin.isatty():
        answer(query or sys.stdin.read())
    else:
        _converse(answer, config.name)


def _converse(answer: Callable[[str], None], name: str) -> None:
    """A shell: a statement ends with a semicolon, Ctrl-C forgets what was typed or ends what is asked, Ctrl-D ends."""
    import readline  # noqa: F401  gives `input` a history

    say("Statements end with a semicolon; SHOW TABLES; DESCRIBE events; Ctrl-D ends.")
    typed = ""
    while True:
        try:
            typed += input(f"{name}> " if not typed else "... ") + "\n"
            if typed.rstrip().endswith(";"):
                asked, typed = typed, ""
                answer(asked)
        except EdgeloopError as error:
            fail(error)
        except KeyboardInterrupt:
            typed = ""
            say("")
        except EOFError:
            say("")
            return


def _versions(at: list[str]) -> dict[str, int]:
    found = {}
    for text in at:
        name, _, version = text.partition("=")
        if not (name and version.isdecimal()):
            raise ConfigError(f"--at {text!r} is not TABLE=VERSION.", remedy="Such as --at events=12.")
        found[name] = int(version)
    return found


def _open(lake: Lake, config: LoopConfig, versions: dict[str, int]) -> DuckDBPyConnection:
    names = lake.names()
    if not names:
        raise DataError(f"the lake of {config.name} has no table yet.", remedy="`edgeloop ingest` makes them.")
    if strangers := versions.keys() - names:
        remedy = f"There are: {', '.join(names)}."
        raise ConfigError(f"--at names {', '.join(sorted(strangers))}, which the lake has not.", remedy=remedy)
    for name, version in versions.items():
        if version > (newest := lake.version(name)):
            raise ConfigError(
                f"{name} has no version {version} yet.", remedy=f"The newest is {newest}: --at {name}={newest}."
            )
    connection = lake.connect(**{name: versions.get(name) for name in names})
    # A name that is no table is none of our variables either.
    connection.execute("SET python_enable_replacements = false")
    return connection


@contextmanager
def _own_errors(connection: DuckDBPyConnection) -> Iterator[None]:
    """Turn DuckDB's errors into ours."""
    import duckdb

    try:
        yield
    except duckdb.ProgrammingError as error:
        if UNREAD in str(error):
            raise StoreError(_said(error), remedy="Check that the store is up; ask again.") from error
        there = [
            name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        ]
        raise ConfigError(_said(error), remedy=f"The lake has the tables {', '.join(sorted(there))}.") from error
    except duckdb.OperationalError as error:
        raise StoreError(_said(error), remedy="Check the store, the memory and the disk; ask again.") from error
    except duckdb.Error as error:
        raise DataError(
            _said(error), remedy="What the query does with the values does not go with what they are."
        ) from error


def _heeding_ctrl_c(connection: DuckDBPyConnection, work: Callable[[], T]) -> T:
    """What `work` gives, done in a thread of its own: in the main one DuckDB does not hear every Ctrl-C, and would go on for hours."""
    import signal
    from concurrent.futures import ThreadPoolExecutor, wait

    struck: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    # An exception could come before there is anything to interrupt, and then nothing would.
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, _: struck.append(number))
    try:
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(work)
            while not asked.done():
                wait([asked], 0.1)
                if struck:
                    connection.interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    if struck:
        raise KeyboardInterrupt
    return asked.result()


def _said(error: Exception) -> str:
    return f"DuckDB says: {' '.join(str(error).split())}"


def _show(found: DuckDBPyConnection, limit: int, *, as_json: bool) -> None:
    if as_json:
        rows = _heeding_ctrl_c(found, found.fetchall)
        emit({"columns": _columns(found), "rows": rows}, as_json=True, human=None)
        return
    rows = _heeding_ctrl_c(found, lambda: found.fetchmany(limit + 1))
    out.print(table("", _columns(found), ([_drawn(cell) for cell in row] for row in rows[:limit])))
    if len(rows) > limit:
        note(f"only the first {limit:,} rows are shown; --limit shows more, --csv gives all.")


def _drawn(cell: Any) -> Any:
    return (
        cell
        if isinstance(cell, int) and not isinstance(cell, bool)
        else f"{cell:.6g}"
        if isinstance(cell, float)
        else str(cell)
    )


def _write_csv(found: DuckDBPyConnection) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_columns(found))
    while rows := _heeding_ctrl_c(found, lambda: found.fetchmany(AT_ONCE)):
        writer.writerows(rows)


def _columns(found: DuckDBPyConnection) -> list[str]:
    return [column[0] for column in found.description or ()]
