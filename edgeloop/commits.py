"""What the commits of a Delta table did, as its log says.

A commit is a file of one JSON action a line (Delta transaction log protocol, “Add File and Remove File”). `dataChange` tells what
changes the rows of the table from what only arranges them anew, as a compaction does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec


@dataclass(frozen=True)
class DataFile:
    """A file of a table: its path in the table's folder, the values of its partition columns, its bytes if they are known.

    `changes` is False where the file came or went without a row of the table's having changed.
    """

    path: str
    partition: dict[str, str | None]
    size: int
    changes: bool


@dataclass(frozen=True)
class Commit:
    """The commit that made `version`: when, by what operation (`WRITE`, `OPTIMIZE`, …), and the files that came and went."""

    version: int
    time: datetime
    operation: str
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]


class _File(msgspec.Struct, rename="camel"):
    path: str
    data_change: bool
    partition_values: dict[str, str | None] | None = None
    size: int | None = None

    def decoded(self) -> DataFile:
        return DataFile(unquote(self.path), self.partition_values or {}, self.size or 0, self.data_change)


class _Info(msgspec.Struct):
    timestamp: int = 0
    operation: str = ""


class _Action(msgspec.Struct, rename="camel"):
    add: _File | None = None
    remove: _File | None = None
    commit_info: _Info | None = None


def decode_commit(version: int, content: bytes) -> Commit:
    """Read the log's file of `version`. Raises `msgspec.DecodeError` if it is none."""
    actions = [_DECODER.decode(line) for line in content.splitlines() if line.strip()]
    info = next((a.commit_info for a in actions if a.commit_info), _Info())
    return Commit(
        version,
        datetime.fromtimestamp(info.timestamp / 1000, UTC),
        info.operation,
        tuple(a.add.decoded() for a in actions if a.add),
        tuple(a.remove.decoded() for a in actions if a.remove),
    )


def brought(commits: Iterable[Commit]) -> dict[str, DataFile]:
    """The files, by path, in which rows came that the table still has, however it has arranged them since.

    Which of a compaction's files got the rows of which is not told. Once a delete takes one of them, the others of its partition stand
    for all that was compacted, though with rows from before.
    """
    came: dict[str, DataFile] = {}
    compacted: dict[str, DataFile] = {}  # of these, those that a compaction took
    arranged: dict[str, DataFile] = {}  # what compactions made, and no commit has taken since
    for commit in commits:
        for file in commit.removed:
            made = arranged.pop(file.path, None)
            if not file.changes and file.path in came:
                compacted[file.path] = came[file.path]
            elif file.changes and made:
                for path in _same_partition(compacted, made):
                    del came[path], compacted[path]
                for path in _same_partition(arranged, made):
                    came[path] = arranged.pop(path)
            elif file.changes:
                came.pop(file.path, None)
        for file in commit.added:
            (came if file.changes else arranged)[file.path] = file
    return came


def _same_partition(files: dict[str, DataFile], as_of: DataFile) -> list[str]:
    return [path for path, file in files.items() if file.partition == as_of.partition]


_DECODER = msgspec.json.Decoder(_Action)
