"""What the commits of a Delta table did, as its log says.

A commit is a file of one JSON action a line (Delta transaction log protocol, “Add File and Remove File”). `dataChange` tells what
changes the rows of the table from what only arranges them anew, as a compaction does.
"""

from __future__ import annotations

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


_DECODER = msgspec.json.Decoder(_Action)
