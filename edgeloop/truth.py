"""What is true of an event: `sql/truth.sql`, the one place that says which of its labels counts. Centre only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

SQL = Path(__file__).parent / "sql" / "truth.sql"


def add_truth(connection: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> None:
    """Add the view `truth` and the macro `truth_at(as_of)` to a connection that has `labels`; `sources` are those to prefer, best first."""
    prefer(connection, sources)
    connection.execute(SQL.read_text())


def prefer(connection: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> None:
    """From now on `truth` and `truth_at` prefer these sources of labels, the best first."""
    connection.execute("SET VARIABLE label_sources = ?::VARCHAR[]", [list(sources)])
