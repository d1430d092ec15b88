"""Reading and writing the Delta tables of a loop.

DuckDB in memory is the engine of each step, over the Parquet files of a pinned table version: no `.duckdb` file is
shared between processes. Centre only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow import fs

from edgeloop.commits import Commit, decode_commit
from edgeloop.config import LoopConfig
from edgeloop.errors import NotFound, StoreError, VersionGone
from edgeloop.layout import Layout
from edgeloop.store import CONNECT, DEADLINE, Store, s3_settings
from edgeloop.truth import add_truth

TABLE_SETTINGS = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "20",
}
"""Versions that a release was trained on must stay readable: deltalake is to drop none of the log, and not to look for what it could drop
by a listing of all of it at every commit, which after a thousand took longer than that. An upkeep drops what may go
(ingest/upkeep/trim.py)."""

ATTEMPTS = 8
"""How often Arrow asks S3 for a part of a file: for about a minute."""


class Lake:
    """The tables of one loop, at `loops/<loop>/lake/<table>/`."""

    def __init__(self, store: Store, layout: Layout, label_sources: Sequence[str] | None = None) -> None:
        """`label_sources` are the sources of labels to prefer (`[label] sources`). Without, there is no `truth` to ask for."""
        self._store = store
        self._layout = layout
        self.label_sources = label_sources

    @classmethod
    def of(cls, store: Store, config: LoopConfig) -> Lake:
        """The lake of a loop, with `truth` as its configuration has it."""
        return cls(store, config.layout, config.label.sources)

    def location(self, table: str) -> tuple[str, dict[str, str]]:
        """The URI and storage options of `table` for `deltalake`."""
        return self._store.table_location(self._layout.lake(table))

    def names(self) -> tuple[str, ...]:
        """The names of the tables that there are, sorted."""
        folders = self._store.folders(self._layout.lake("").rstrip("/"))
        return tuple(sorted(path.rpartition("/")[2] for path in folders))

    def table(self, name: str, version: int | None = None) -> DeltaTable | None:
        """The table, at `version` if given; None if it has not been written yet. Raises `VersionGone`."""
        uri, options = self.location(name)
        with own_errors(name):
            try:
                return DeltaTable(uri, version=version, storage_options=options or None)
            except DeltaError as error:
                lost = isinstance(error, TableNotFoundError)
                if lost and (version is None or not DeltaTable.is_deltatable(uri, options or None)):
                    return None
                if version is None or self._has(name, version) or version > self.version(name):
                    raise
                raise VersionGone(
                    f"version {version} of {name} is not kept any more: an upkeep keeps those of the last days and those that live "
                    "releases were trained on, and none after rows were deleted for good.",
                    remedy="The newest version has all rows that there are.",
                ) from error

    def _has(self, name: str, version: int) -> bool:
        """Whether the log has this version's commit."""
        try:
            return self._store.size(self._layout.commit(name, version)) > 0
        except NotFound:
            return False

    def version(self, name: str) -> int:
        """The newest version of the table, -1 if it has not been written yet."""
        table = self.table(name)
        return -1 if table is None else table.version()

    def ensure(self, name: str, schema: pa.Schema, partition_by: list[str] | None = None) -> DeltaTable:
        """The table, made empty with these columns if there is none yet."""
        if (found := self.table(name)) is not None:
            return found
        uri, options = self.location(name)
        with own_errors(name):
            try:
                return DeltaTable.create(
                    uri,
                    schema,
                    mode="ignore",
                    partition_by=partition_by,
                    storage_options=options or None,
                    configuration=TABLE_SETTINGS,
                )
            except CommitFailedError:  # made by another process in the meantime
                return DeltaTable(uri, storage_options=options or None)

    def overwrite(
        self, name: str, rows: pa.Table, predicate: str | None = None, partition_by: list[str] | None = None
    ) -> int:
        """Replace the rows that match `predicate` (all, if None) by `rows`; return the new version."""
        table = self.ensure(name, rows.schema, partition_by)
        with own_errors(name):
            write_deltalake(table, rows, mode="overwrite", predicate=predicate)
        return table.version()

    def append(
        self, name: str, rows: pa.Table, partition_by: list[str] | None = None, commit: CommitProperties | None = None
    ) -> int:
        """Add rows; return the new version."""
        table = self.ensure(name, rows.schema, partition_by)
        with own_errors(name):
            write_deltalake(table, rows, mode="append", commit_properties=commit)
        return table.version()

    def connect(self, **versions: int | None) -> duckdb.DuckDBPyConnection:
        """A DuckDB in memory with a view for each named table, at the version given (None: the newest).

        A table that does not exist, or has no file yet, is a view without rows if its columns are known, else it is left out.
        With `labels` come `truth`, which of them counts, and `truth_at(as_of)`, which counted then (sql/truth.sql).
        """
        connection = open_duckdb()
        for name, version in versions.items():
            if (table := self.table(name, version)) is not None:
                self._add_view(connection, name, table)
                if name == "labels" and self.label_sources is not None:
                    add_truth(connection, self.label_sources)
        return connection

    def add_part(
        self, connection: duckdb.DuckDBPyConnection, name: str, table: DeltaTable, paths: Collection[str], view: str
    ) -> None:
        """Add a view of those of the table's files alone, by their paths in its log."""
        wanted = {file_name(path) for path in paths}
        uris = [uri for uri in table.file_uris() if file_name(uri) in wanted]
        if self._store.directory is None or not uris:
            rows = self._dataset(name, table)
            files = [f for f in rows.get_fragments() if file_name(f.path) in wanted]
            connection.register(view, ds.FileSystemDataset(files, rows.schema, rows.format, rows.filesystem))
        else:
            self._add_files(connection, name, uris, view)

    def read_files(self, name: str, paths: Collection[str]) -> tuple[ds.Dataset, list[str]]:
        """The rows of files that the table has or had, without its partition's columns; and the paths of those that are gone."""
        table = self.table(name)
        assert table is not None, f"{name} has not been written yet"
        rows = self._dataset(name, table)
        found = {f.path: f.type is fs.FileType.File for f in rows.filesystem.get_file_info(list(paths))}
        files = [rows.format.make_fragment(path, rows.filesystem) for path, there in found.items() if there]
        gone = [path for path, there in found.items() if not there]
        return ds.FileSystemDataset(files, rows.schema, rows.format, rows.filesystem), gone

    def _add_view(self, connection: duckdb.DuckDBPyConnection, name: str, table: DeltaTable) -> None:
        uris = table.file_uris()
        if self._store.directory is None or not uris:
            # DuckDB reads s3:// only with an extension that has to be downloaded; Arrow does it without.
            connection.register(name, self._dataset(name, table))
        else:
            self._add_files(connection, name, uris, name)

    def _add_files(self, connection: duckdb.DuckDBPyConnection, name: str, uris: list[str], view: str) -> None:
        # Partition columns are not in the files; hive_partitioning takes them from the paths.
        files = ", ".join("'" + escape(unquote(uri)).replace("'", "''") + "'" for uri in uris)
        options = "hive_partitioning = true, hive_types_autocast = false, union_by_name = true"
        with own_errors(name):
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet([{files}], {options})")

    def _dataset(self, name: str, table: DeltaTable) -> ds.Dataset:
        if self._store.directory is not None:
            return table.to_pyarrow_dataset()
        uri, _ = self.location(name)
        return table.to_pyarrow_dataset(filesystem=_s3_of(uri.removeprefix("s3://")))

    def read(self, name: str, paths: Sequence[str], schema: pa.Schema) -> pa.Table:
        """Those columns of some small files of a table, by their paths in its folder: by a request each, however many others it has."""
        folder = self._layout.lake(name)
        with own_errors(name):
            # Each by itself: a delete leaves a file with another kind of text, which a dataset of several does not read.
            found = [
                pq.read_table(
                    pa.BufferReader(self._store.read(f"{folder}/{path}")), columns=schema.names, partitioning=None
                )
                for path in paths
            ]
        return pa.concat_tables([schema.empty_table(), *(rows.cast(schema) for rows in found)])

    def files(self, name: str, version: int | None = None) -> frozenset[str]:
        """The names, which are unique in the table, of the files that a version of it is made of (None: the newest)."""
        table = self.table(name, version)
        return frozenset() if table is None else frozenset(map(file_name, table.file_uris()))

    def commits(self, name: str, first: int, last: int) -> Iterator[Commit]:
        """What the commits `first` to `last` of the table did. Raises `NotFound` if the log has one of them no more."""
        for version in range(first, last + 1):
            yield decode_commit(version, self._store.read(self._layout.commit(name, version)))


def open_duckdb() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory, in UTC. Of a long query it says nothing: where it takes the process for a notebook it would draw a bar
    on stdout, where a command's answer is."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return connection


@contextmanager
def own_errors(table: str) -> Iterator[None]:
    """Turn deltalake's errors, and DuckDB's on a file, into ours: a store that fails is an `OSError` to the one."""
    try:
        yield
    except (OSError, DeltaError, duckdb.Error) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(
            f"table {table} could not be read or written: {reason}.", remedy="Check that the store is up; run it again."
        ) from error


def file_name(path: str) -> str:
    """The name of a table's file, by a path or URI: it has a UUID in it, and no other file of the table has it."""
    return path.rpartition("/")[2]


def _s3_of(path: str) -> fs.SubTreeFileSystem:
    """The folder `bucket/prefix…` by Arrow's own client. Over deltalake's, whose threads call Python, a process that leaves
    rows unread hangs at its end or ends by a signal (docs/decisions/0007)."""
    known = s3_settings()
    client = fs.S3FileSystem(
        access_key=known.get("access_key_id"),
        secret_key=known.get("secret_access_key"),
        session_token=known.get("session_token"),
        region=known["region"],
        endpoint_override=known.get("endpoint"),
        tls_ca_file_path=os.environ.get("SSL_CERT_FILE"),  # as everything else that reads the store
        connect_timeout=CONNECT.total_seconds(),
        request_timeout=DEADLINE.total_seconds(),
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )
    return fs.SubTreeFileSystem(path, client)


def run_sql(connection: duckdb.DuckDBPyConnection, file: Path, parameters: dict[str, Any] | None = None) -> pa.Table:
    """Run one of our `.sql` files and return its rows."""
    return connection.sql(file.read_text(), params=parameters).to_arrow_table()
