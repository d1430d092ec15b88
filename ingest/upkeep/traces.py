"""Whether the store says anything of somebody: every object is read, and every version that a bucket kept.

Of devices as a whole their ids are looked for: in the paths of objects, in text and, of Parquet, in every text that its columns and its
footer have, for what is packed shows no id as it is. What is in the folders of the lake is all that any version of a table can be
made of. Of a span of time, rows are looked for. Limits:
1. In other bytes an id of under `RAW` bytes would be found by chance, and is not looked for.
2. An id that is also a word of the loop, such as a class, is looked for in paths and in columns called `device` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.config import LoopConfig
from edgeloop.errors import NotFound, UnlistableName
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.upkeep.refusing import within

RAW = 6

Span = tuple[datetime, datetime]

_NOTHING = re.compile(r"(?!)")


class OldVersions(Protocol):
    """What a bucket keeps of objects that were overwritten or deleted."""

    def read_old(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Each of them under `prefix`: its path in the store, and its bytes; none of a mark that something was deleted."""

    def remove_old(self, prefix: str, *, current: bool = False) -> int:
        """Remove each of them under `prefix`, with `current` also what is there now; how many. May be repeated."""


@dataclass
class Traces:
    """What was found: paths of `objects`, and of `old` versions. `searched` is how many were read; `hidden` are folders that cannot be
    listed, and that only the store's own tools can search."""

    objects: list[str] = field(default_factory=list)
    old: list[str] = field(default_factory=list)
    searched: int = 0
    hidden: list[str] = field(default_factory=list)


class Subject:
    """Whom to look for: `devices` as a whole, or what they measured in `span`."""

    def __init__(self, config: LoopConfig, devices: Iterable[str], span: Span | None) -> None:
        self.devices, self.span, self._layout = frozenset(devices), span, config.layout
        self.named = naming(self.devices)
        self.mentioned = naming(self.devices - _words(config))
        self._raw = naming(d for d in self.devices - _words(config) if len(d) >= RAW)

    def owns(self, path: str) -> bool:
        """Whether the path of an object says that it is of them."""
        return bool(self.named.search(path.removeprefix(f"{self._layout.root}/")))

    def is_in(self, path: str, content: bytes) -> bool:
        """Whether an object says anything of them."""
        if self.span is not None:
            return self._has_rows(path, content, self.span)
        return self.owns(path) or self._is_told(content)

    def _is_told(self, content: bytes) -> bool:
        try:
            return bool(self.mentioned.search(content.decode()))
        except UnicodeDecodeError:
            pass
        if re.search(self._raw.pattern.encode(), content):
            return True
        return any((self.named if column == "device" else self.mentioned).search(t) for column, t in _texts(content))

    def _has_rows(self, path: str, content: bytes, span: Span) -> bool:
        """Whether a Parquet file has a row of theirs. A batch says by its path whose it is; its rows do not."""
        try:
            file = pq.ParquetFile(pa.BufferReader(content))
            names = [name for name in ("ts", "hour", "until", "device") if name in file.schema_arrow.names]
            rows = file.read(columns=names)
        except (pa.ArrowException, OSError, ValueError):
            return False
        if not {"ts", "until"} & set(names):  # an hour's figures are made again without theirs
            return False
        if "device" in names:
            theirs = pc.is_in(rows["device"].cast(pa.string()), pa.array(sorted(self.devices)))
            rows = rows.drop_columns("device").filter(theirs)  # a filter of Arrow's does not know every kind of text
        elif not self.owns(path):
            return False
        return bool(pc.any(within(rows, *span)).as_py())


def naming(devices: Iterable[str]) -> re.Pattern[str]:
    """Finds one of these ids where it is no part of a longer one: an id ends before `.json`, and before a sentence's dot."""
    ids = "|".join(sorted(map(re.escape, devices), key=len, reverse=True))
    if not ids:
        return _NOTHING
    return re.compile(rf"(?<![A-Za-z0-9._-])(?:{ids})(?![A-Za-z0-9_-]|\.(?!json\b)[A-Za-z0-9])")


def find_traces(store: Store, layout: Layout, subject: Subject, old: OldVersions | None) -> Traces:
    """Search the loop's folder and the releases. Raises `StoreError`."""
    found = Traces()
    for folder in (layout.root, "releases"):
        for path in paths_in(store, folder, found.hidden):
            try:
                content = store.read(path)
            except NotFound:
                continue
            found.searched += 1
            if subject.is_in(path, content):
                found.objects.append(path)
        for path, content in old.read_old(folder) if old else ():
            found.searched += 1
            if subject.is_in(path, content):
                found.old.append(path)
    return found


def paths_in(store: Store, folder: str, hidden: list[str]) -> Iterator[str]:
    """Every object under `folder`; what cannot be listed is added to `hidden`."""
    try:
        yield from sorted(entry.path for entry in store.list(folder))
    except UnlistableName:
        inner = store.folders(folder)
        if not inner:
            hidden.append(folder)
        for one in inner:
            yield from paths_in(store, one, hidden)


def _words(config: LoopConfig) -> set[str]:
    features = config.features
    categories = (value for values in features.categories.values() for value in values)
    return {config.name, *config.label.classes, *features.numbers, *features.categories, *features.hashed, *categories}


def _texts(content: bytes) -> Iterator[tuple[str, str]]:
    """Every text in a Parquet file with its column; none of what is no such file, or is torn: its bytes are all that there is to search."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        for key, value in (file.metadata.metadata or {}).items():
            yield key.decode(errors="replace"), value.decode(errors="replace")
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            for name in rows.column_names:
                yield from ((name, text) for chunk in rows[name].chunks for text in _texts_of(chunk))
    except (pa.ArrowException, OSError, ValueError):
        return


def _texts_of(values: Any) -> Iterator[str]:
    kind = values.type
    if pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from _texts_of(values.field(i))
    elif pa.types.is_map(kind):
        yield from _texts_of(values.keys)
        yield from _texts_of(values.items)
    elif pa.types.is_dictionary(kind):
        yield from _texts_of(values.dictionary)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts_of(values.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        yield from (text for text in pc.unique(values.cast(pa.string())).to_pylist() if text)
