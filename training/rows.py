"""Labelled rows from the lake, point-in-time and pinned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgeloop import truth
from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.lake import Lake, run_sql

QUERY = Path(__file__).parent / "sql" / "training_set.sql"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rows:
    """Labelled rows in the order of their time.

    Shapes for n rows and d features: `X` (n, d) float32, NaN for missing; `y` (n,) int64, index into the loop's classes;
    `weight` (n,) float32; `device` (n,) str; `ts` (n,) datetime64[us], UTC.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    weight: NDArray[np.float32]
    device: NDArray[np.str_]
    ts: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: NDArray[np.bool_]) -> Rows:
        """The rows where `chosen` (n,) is true."""
        return Rows(self.X[chosen], self.y[chosen], self.weight[chosen], self.device[chosen], self.ts[chosen])

    @property
    def sha256(self) -> str:
        """Digest of the values, in order: two sets with the same one train the same model."""
        found = sha256()
        for part in (self.X, self.y, self.weight, self.ts.astype(np.int64)):
            found.update(np.ascontiguousarray(part).tobytes())
        found.update("\n".join(self.device.tolist()).encode())
        return found.hexdigest()


@dataclass(frozen=True)
class Pin:
    """The versions of the two tables that rows were read at, and the sources of labels that were preferred, the best first."""

    events: int
    labels: int
    label_sources: tuple[str, ...] = ()


def pin(lake: Lake) -> Pin:
    """The newest versions, and the precedence of today. Raises `DataError` if there is no event or no label in the lake yet."""
    found = Pin(lake.version("events"), lake.version("labels"), tuple(lake.label_sources or ()))
    if min(found.events, found.labels) < 0:
        missing = "events" if found.events < 0 else "labels"
        raise DataError(
            f"the lake has no {missing} yet.", remedy="Ingest first; labels go to loops/<loop>/labels/<source>/."
        )
    return found


def read_rows(
    lake: Lake,
    config: LoopConfig,
    pinned: Pin,
    as_of: datetime,
    *,
    since: datetime = BEGINNING,
    until: datetime | None = None,
) -> Rows:
    """Events with since <= ts < until that have a label known at `as_of`, from the pinned table versions, by the pinned precedence.

    Rows whose label is none of the loop's classes are left out.

    Raises:
        DataError: the events in the lake lack one of the loop's features.
    """
    connection = lake.connect(events=pinned.events, labels=pinned.labels)
    truth.prefer(connection, pinned.label_sources)
    found = run_sql(connection, QUERY, {"as_of": as_of, "since": since, "until": until or as_of})
    return _to_rows(found, config)


def query_sha256() -> str:
    """Digest of the query's text, and of that of `truth`, which it asks."""
    return sha256(truth.SQL.read_bytes() + QUERY.read_bytes()).hexdigest()


def _to_rows(table: pa.Table, config: LoopConfig) -> Rows:
    columns = config.schema().columns
    if lacking := [c.removeprefix("f_") for c in columns if c not in table.column_names]:
        raise DataError(
            f"the events in the lake have no feature {lacking[0]!r}.",
            remedy="They were recorded with other [features]: put those back, or give the loop a new loop.name.",
        )
    classes = {name: i for i, name in enumerate(config.label.classes)}
    y = np.fromiter((classes.get(label, -1) for label in table["label"].to_pylist()), np.int64, table.num_rows)
    values = [table[c].to_numpy().astype(np.float32) for c in columns]
    rows = Rows(
        np.ascontiguousarray(np.column_stack(values)),
        y,
        table["weight"].to_numpy().astype(np.float32),
        np.asarray(table["device"].to_pylist(), dtype=np.str_),
        table["ts"].to_numpy().astype("datetime64[us]"),
    )
    return rows.take(y >= 0)
