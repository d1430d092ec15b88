"""Rows of a table that go for good: deleted, and with them every version of the table that had them.

A delete leaves the rows in the files of older versions, and the least and greatest values of each file in the log. Rules:
1. *Delete*: a commit without the rows. It says in an application transaction that there is something to drop.
2. *Begin anew*: a commit that changes nothing, and a checkpoint of it. Nobody needs what is before that to read what is after it.
3. *Drop*: the files that only versions before it had, then the log of those, the newest first: as long as any of it is there, the
   oldest is, and says that this was interrupted.
4. Every step can be repeated. What others write meanwhile is no file of an older version, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from edgeloop.commits import decode_commit
from edgeloop.errors import StoreError
from edgeloop.lake import Lake, file_name, own_errors
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.upkeep.trim import log_files

APPLICATION = "erasure"
"""The oldest version that may be left, as an application transaction."""

ATTEMPTS = 8
"""How often a delete is begun again because somebody else's commit came between."""

ROWS = 100_000
"""Rows that are in memory at a time."""


@dataclass(frozen=True)
class Dropped:
    """The first version that there still is, and how many data files and versions before it went."""

    first: int
    files: int
    versions: int


def delete_rows(
    lake: Lake, name: str, where: str, marks: Iterable[Transaction] = (), beside: Iterable[str] = ()
) -> int:
    """Delete the rows for which `where`, DuckDB's SQL, is true; how many. Older versions have them until `drop_history`.

    Args:
        marks: application transactions of the same commit; there is none if there is no such row.
        beside: other tables that `where` asks.

    Raises:
        StoreError: the store failed, or others kept on writing to the table; do it again.
    """
    kept = f"SELECT * FROM {name} WHERE NOT coalesce({where}, false)"
    return _rewrite(lake, name, where, kept, marks, beside)


def replace_text(lake: Lake, name: str, column: str, pattern: str, by: str) -> int:
    """Replace what matches `pattern`, a regular expression of RE2's, in a column of text; in how many rows. Raises as `delete_rows`."""
    changed = (
        f"SELECT * REPLACE (regexp_replace({column}, '{pattern}', '{by}', 'g') AS {column}) FROM {name} WHERE true"
    )
    return _rewrite(lake, name, f"regexp_matches({column}, '{pattern}')", changed)


def _rewrite(
    lake: Lake, name: str, where: str, query: str, marks: Iterable[Transaction] = (), beside: Iterable[str] = ()
) -> int:
    """Replace the partitions that have rows for which `where` is true by what `query` gives of them; how many rows these are."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _rewrite_once(lake, name, where, query, marks, beside)
        except StoreError as error:
            if not isinstance(error.__cause__, CommitFailedError) or attempt == ATTEMPTS:
                raise
    return 0


def _rewrite_once(
    lake: Lake, name: str, where: str, query: str, marks: Iterable[Transaction], beside: Iterable[str]
) -> int:
    if (table := lake.table(name)) is None:
        return 0
    by = table.metadata().partition_columns
    connection = lake.connect(**{name: table.version(), **dict.fromkeys(beside)})
    months = "list(DISTINCT month ORDER BY month)" if by else "NULL"
    count, months = connection.execute(f"SELECT count(*), {months} FROM {name} WHERE {where}").fetchall()[0]
    if not count:
        return 0
    part = f"month IN ({', '.join(map(repr, months))})" if by else None
    schema = pa.schema(table.schema())
    commit = CommitProperties(app_transactions=[Transaction(APPLICATION, table.version() + 1), *marks])
    # Not by deltalake's own delete: its files have text of a kind that Arrow, as which S3 is read, cannot compare (1.6.6).
    with own_errors(name):
        rows = connection.sql(f"{query} AND {part}" if part else query).to_arrow_reader(ROWS)
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in rows)),
            mode="overwrite",
            predicate=part,
            commit_properties=commit,
        )
    return int(count)


def is_unfinished(store: Store, lake: Lake, layout: Layout, name: str) -> bool:
    """Whether rows were deleted, and there are versions of before yet."""
    table = lake.table(name)
    wanted = table.transaction_version(APPLICATION) if table else None
    return wanted is not None and min(log_files(store, layout, name).values()) < wanted


def drop_history(store: Store, lake: Lake, layout: Layout, name: str, table: DeltaTable | None = None) -> Dropped:
    """Remove every version but the newest, or those before `table` which began anew, and the files that only they had. May be repeated.

    Raises:
        StoreError: the store failed; do it again.
    """
    table = table or begin_anew(lake, name)
    first = table.version()
    old = {path: version for path, version in log_files(store, layout, name).items() if version < first}
    kept = set(map(file_name, table.file_uris()))
    files = {path for entry, version in old.items() for path in _data_files(store, entry, version)}
    gone = sorted(path for path in files if file_name(path) not in kept)
    store.delete_all([f"{layout.lake(name)}/{path}" for path in gone])
    for path in sorted(old, reverse=True):
        store.delete(path)
    return Dropped(first, len(gone), len(set(old.values())))


def begin_anew(lake: Lake, name: str) -> DeltaTable:
    """The table at a version that changed nothing, with a checkpoint of it. What is derived from it is brought up to that before the
    history is dropped: who is behind finds no log of what came meanwhile, and makes all of it again."""
    before = lake.table(name)
    assert before is not None, f"{name} has not been written yet"
    with own_errors(name):
        before.create_write_transaction([], "append", before.schema(), before.metadata().partition_columns)
    table = lake.table(name)  # a handle does not see its own commit
    assert table is not None
    with own_errors(name):
        table.create_checkpoint()
    return table


def _data_files(store: Store, path: str, version: int) -> Iterator[str]:
    """The data files that a commit or a checkpoint adds, as paths in the table's folder."""
    if path.endswith(".checkpoint.parquet"):
        added = pq.ParquetFile(pa.BufferReader(store.read(path))).read(columns=["add.path"])["add"].to_pylist()
        yield from (unquote(file["path"]) for file in added if file and file["path"])
    elif path.endswith(".json"):
        yield from (file.path for file in decode_commit(version, store.read(path)).added)
