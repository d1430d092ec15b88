"""What can be seen of a file that is in quarantine: its footer, its first rows, as far as that is safe.

It is there because something is wrong with it, so nothing is believed: what is shown is text, cut short, and rows are read only
of a file whose pages have a bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from edgeloop.errors import DataError
from ingest.checks.check import MAX_BYTES, MAX_EXPANDED, MAX_ROWS, blamed_on_the_file
from ingest.checks.footer import read_footer
from ingest.checks.pages import demand_bounded
from ingest.checks.words import read_words

ROWS = 3
MOST_COLUMNS = 60
LONGEST = 120
"""Characters that are shown of a text."""


@dataclass(frozen=True)
class Glimpse:
    """What a file says of itself (`words`), its `columns` with their types, its number of `rows`, the `first` of them as text, and
    why there is no more, if there is not."""

    words: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    first: list[dict[str, str]] = field(default_factory=list)
    unreadable: str = ""


def glimpse(content: bytes) -> Glimpse:
    """What can be seen of a file. Raises nothing, whatever the bytes are."""
    seen = Glimpse()
    try:
        if not 0 < len(content) <= MAX_BYTES:
            raise DataError(f"it has {len(content)} bytes, 1 to {MAX_BYTES} are looked at.")
        with blamed_on_the_file():
            groups = read_footer(content).groups
            file = pq.ParquetFile(pa.BufferReader(content))
            seen = _footer(file)
            demand_bounded(content, groups, MAX_ROWS, MAX_EXPANDED)
            seen = replace(seen, first=_first_rows(file))
    except DataError as error:
        return replace(seen, unreadable=error.message)
    return seen


def _footer(file: pq.ParquetFile) -> Glimpse:
    words = list(read_words(file).items())[:MOST_COLUMNS]
    columns = list(file.schema_arrow)[:MOST_COLUMNS]
    return Glimpse(
        words={_cut(key): _cut(value) for key, value in words if key != "ARROW:schema"},
        columns={_cut(column.name): _cut(str(column.type)) for column in columns},
        rows=file.metadata.num_rows,
    )


def _first_rows(file: pq.ParquetFile) -> list[dict[str, str]]:
    schema = file.metadata.schema
    if any(schema.column(i).max_repetition_level for i in range(len(schema))):
        raise DataError("its rows are not shown: it has lists, and one of those can unpack to anything.")
    # A few rows at a time: as a whole, a long value in a dictionary would have a copy in each row.
    rows = next(file.iter_batches(batch_size=ROWS), None)
    if rows is None:
        return []
    names = [_cut(name) for name in rows.schema.names[:MOST_COLUMNS]]
    return [
        {name: _text(column[i]) for name, column in zip(names, rows.columns, strict=False)}
        for i in range(min(ROWS, rows.num_rows))
    ]


def _text(cell: pa.Scalar) -> str:
    try:
        value = cell.as_py()
    except (ValueError, OverflowError, pa.ArrowException) as error:  # text that is none, a time beyond Python's
        return f"({type(error).__name__})"
    return "" if value is None else _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
