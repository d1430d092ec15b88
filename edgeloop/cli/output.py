"""How commands speak: findings on stdout, the rest on stderr, one JSON object with `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

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
        drawn.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return drawn


def fail(error: EdgeloopError) -> None:
    """Say what went wrong and what to do, on stderr."""
    err.print(f"[bold red]error[/] {_plain(error.message)}", highlight=False)
    if error.remedy:
        err.print(f"      {_plain(error.remedy)}", highlight=False, style="dim")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
