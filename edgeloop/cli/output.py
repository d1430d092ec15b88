"""How commands speak: findings on stdout, the rest on stderr, one JSON object with `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgeloop.errors import EdgeloopError

out = Console()
err = Console(stderr=True)


def emit(found: Any, *, as_json: bool, human: Any) -> None:
    """Print `found` as one JSON object, or `human` (anything rich can draw) for a person."""
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        out.print(human)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A plain table; numbers to the right."""
    found = list(rows)
    drawn = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    for i, column in enumerate(columns):
        numeric = bool(found) and all(isinstance(row[i], (int, float)) for row in found)
        drawn.add_column(column, justify="right" if numeric else "left")
    for row in found:
        drawn.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else printable(str(cell))) for cell in row))
    return drawn


def say(text: str) -> None:
    """Tell what was done, on stderr."""
    err.print(Text(printable(text)), soft_wrap=True)


def note(text: str) -> None:
    """Say something worth knowing, on stderr."""
    err.print(Text.assemble(("note ", "dim"), printable(text)))


def fail(error: EdgeloopError) -> None:
    """Say what went wrong and what to do, on stderr."""
    err.print(Text.assemble(("error ", "bold red"), printable(error.message)))
    if error.remedy:
        err.print(Padding(Text(printable(error.remedy), style="dim"), (0, 0, 0, 6), expand=False))


def printable(text: str) -> str:
    """`text` without what could steer a terminal: ids, reasons and names come from devices and from other people's files."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
