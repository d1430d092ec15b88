"""The commit that puts other files with the same rows in the place of some of a table's.

deltalake's own compaction goes by no condition: of two that begin at one version (1.6.6) both commit, and every row is there twice. Here
the log's file of the next version is made create-only. If another commit was first, it is looked at: one that took none of these files is
no hindrance, and the version after it is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from edgeloop.commits import decode_commit
from edgeloop.errors import AlreadyExists, NotFound, StoreError
from edgeloop.lake import Lake, file_name
from edgeloop.layout import Layout
from edgeloop.store import Store


class Overtaken(StoreError):
    """Another commit took files that were to be replaced; nothing has changed."""


@dataclass(frozen=True)
class TableFile:
    """A file of a table: its path as the log has it, the values of its partition columns, its rows and bytes, when it was written."""

    path: str
    partition: dict[str, str]
    rows: int
    bytes: int
    modified: int

    @property
    def place(self) -> str:
        """Its path in the table's folder."""
        return unquote(self.path)


def table_files(table: DeltaTable) -> list[TableFile]:
    """The files that a version of a table is made of, in the order in which they were written."""
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    files = [
        TableFile(
            action["path"],
            {n.removeprefix("partition."): v for n, v in action.items() if n.startswith("partition.")},
            action["num_records"],
            action["size_bytes"],
            action["modification_time"],
        )
        for action in actions
    ]
    return sorted(files, key=lambda file: (file.modified, file.path))


def rearrange(
    store: Store,
    layout: Layout,
    table: str,
    version: int,
    old: Sequence[TableFile],
    new: Sequence[dict[str, Any]],
    now: datetime,
) -> int:
    """Replace `old`, files of `version`, by `new`, `add` actions; the version that this made.

    Raises:
        Overtaken: one of `old` is in the table no more.
        StoreError: the store failed, and it is not known whether the commit was made: the new files must stay.
    """
    made = _commit(store, layout, table, version, old, _encode(version, old, new, int(now.timestamp() * 1000)))
    places = [unquote(file["path"]) for file in new]
    if made is None or not _stands(Lake(store, layout), table, made, {file_name(place) for place in places}):
        # Whoever took them may have done so for good: no copy of their rows is to be left.
        store.delete_all(
            [*([layout.commit(table, made)] if made else []), *(f"{layout.lake(table)}/{p}" for p in places)]
        )
        raise Overtaken(
            f"files of table {table} that were being compacted were taken by another commit.",
            remedy="Nothing is lost; the next upkeep looks again.",
        )
    return made


def _commit(
    store: Store, layout: Layout, table: str, version: int, old: Sequence[TableFile], content: bytes
) -> int | None:
    """Make the next version that is free; None if one before it took some of `old`."""
    taken = {file.place for file in old}
    while True:
        version += 1
        path = layout.commit(table, version)
        try:
            store.create(path, content)
            return version
        except AlreadyExists:
            winner = _read(store, path)
        if winner == content:  # it was this one, and the reply was lost
            return version
        if winner is None or any(file.path in taken for file in decode_commit(version, winner).removed):
            return None


def _read(store: Store, path: str) -> bytes | None:
    """A commit; None if it has been dropped since, for rows are being deleted for good, and any file may have some."""
    try:
        return store.read(path)
    except NotFound:
        return None


def _stands(lake: Lake, table: str, version: int, names: set[str]) -> bool:
    """Whether a commit that brought `names` is part of the table. It is not if rows were deleted for good meanwhile
    (ingest/upkeep/erasure.py): the log of before is gone then, and every number in it is free."""
    here = lake.files(table)
    try:
        return names <= here or names <= here | _taken_since(lake, table, version)
    except NotFound:
        return False


def _taken_since(lake: Lake, table: str, version: int) -> set[str]:
    commits = lake.commits(table, version + 1, lake.version(table))
    return {file_name(file.path) for commit in commits for file in commit.removed}


def _encode(version: int, old: Sequence[TableFile], new: Sequence[dict[str, Any]], now: int) -> bytes:
    counts = {"numFilesAdded": len(new), "numFilesRemoved": len(old)}
    said = {"timestamp": now, "operation": "OPTIMIZE", "operationParameters": {}, "readVersion": version}
    gone = [
        {
            "path": file.path,
            "dataChange": False,
            "deletionTimestamp": now,
            "extendedFileMetadata": True,
            "partitionValues": file.partition,
            "size": file.bytes,
        }
        for file in old
    ]
    actions = [
        {"commitInfo": {**said, "engineInfo": "edgeloop", "operationMetrics": counts}},
        *({"remove": file} for file in gone),
        *({"add": {**file, "dataChange": False}} for file in new),
    ]
    return b"\n".join(msgspec.json.encode(action) for action in actions)
