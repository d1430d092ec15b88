"""Periods cut into blocks, and how many events of each device and block fall into each bin of a reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgeloop.lake import Lake, run_sql
from edgeloop.manifest import Reference
from ingest.derived.sketches import samples
from ingest.drift.stability import Array, Sample
from ingest.tables import SKETCHES

SQL = Path(__file__).parents[1] / "sql"
BLOCKS = tuple(timedelta(hours=hours) for hours in (24, 12, 8, 6, 4, 3, 2, 1))
FEWEST = 24
"""Blocks of a window: its block is the longest of `BLOCKS` of which it has as many, or this part of it."""

BINS = 10
"""Bins of which the index is made; a reference has more, for the eye and for `ks`."""

ROWS, SKETCHED = 100_000, 10_000
"""Events, and rows of `sketches`, in memory at a time."""

SAID = ("prediction", "confidence")
"""The measures of what a model said."""

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Period:
    """`blocks` blocks of length `block` from `since` on."""

    since: datetime
    block: timedelta
    blocks: int

    @property
    def until(self) -> datetime:
        return self.since + self.block * self.blocks

    def start(self, block: int) -> datetime:
        """When block number `block` began."""
        return self.since + self.block * block


def window_before(now: datetime, window: timedelta) -> Period:
    """The `window` that ended with the last whole block before `now`: looks within one block see the same."""
    block = next((length for length in BLOCKS if window >= length * FEWEST), window / FEWEST)
    blocks = round(window / block)
    return Period(_floor(now, block) - block * blocks, block, blocks)


def baseline_of(trained_from: datetime, trained_until: datetime, window: Period) -> Period | None:
    """The last of what was trained on, as long as `window` if there is as much; None if that was shorter than a block."""
    blocks = min(window.blocks, (trained_until - trained_from) // window.block)
    return Period(_floor(trained_until, window.block) - window.block * blocks, window.block, blocks) if blocks else None


def _floor(moment: datetime, block: timedelta) -> datetime:
    return moment - (moment - datetime(1970, 1, 1, tzinfo=UTC)) % block


@dataclass(frozen=True)
class Bins:
    """A reference as it is counted in: value v is in bin k of `edges` that has exactly k of them at or under it, or in the last if missing.

    `shares` are those of present values by bin; `coarse` says of each bin to which of at most `BINS` + 1 of about the same share it
    belongs, and `expected` are the shares of these, of all values.
    """

    edges: NDArray[np.float32]
    shares: Array
    coarse: NDArray[np.int64]
    expected: Array

    @classmethod
    def of(cls, reference: Reference) -> Bins:
        """Made of a manifest's entry."""
        shares = np.array(reference.shares) / sum(reference.shares)
        middle = np.minimum((np.cumsum(shares) - shares / 2) * BINS, BINS - 1).astype(np.int64)
        coarse = np.append(np.unique(middle, return_inverse=True)[1], -1)
        coarse[-1] = coarse.max() + 1
        of_all = np.append(shares * (1 - reference.missing), reference.missing)
        expected = np.bincount(coarse, of_all).astype(np.float64)
        return cls(np.array(reference.edges, np.float32), shares, coarse, expected)

    def place(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The bin of each value, NaN for missing."""
        found = np.searchsorted(self.edges, values, side="right")
        return np.where(np.isnan(values), len(self.edges) + 1, found)


@dataclass
class Tally:
    """What was counted of one measure: sums of weights, `counts` (devices, blocks, coarse bins) and `fine` (bins), and each device's
    sum of their `squares`."""

    bins: Bins
    counts: Array
    fine: Array
    squares: Array

    @classmethod
    def empty(cls, bins: Bins, devices: int, blocks: int) -> Tally:
        """Nothing counted yet."""
        width = len(bins.expected)
        return cls(bins, np.zeros((devices, blocks, width)), np.zeros(len(bins.coarse)), np.zeros(devices))

    def add(
        self, place: NDArray[np.int64], values: NDArray[np.float32], weights: Array, squares: Array | None = None
    ) -> None:
        """Count events; `place` (n,) is device · blocks + block of each, `squares` is their weights' unless they are sketched."""
        devices, blocks, width = self.counts.shape
        found = self.bins.place(values)
        cells = place * width + self.bins.coarse[found]
        self.counts += np.bincount(cells, weights, devices * blocks * width).reshape(self.counts.shape)
        self.fine += np.bincount(found, weights, len(self.fine))
        of_each = weights**2 if squares is None else squares
        self.squares += np.bincount(place // blocks, of_each, devices)

    @property
    def sample(self) -> Sample:
        """As `stability` takes it."""
        return Sample(self.counts, self.counts.sum(axis=(1, 2)) ** 2 / np.maximum(self.squares, 1e-300))


@dataclass(frozen=True)
class Rows:
    """Some events of a period, drawn evenly: `X` (n, d) and the `device` (n,) of each, as a place in the list of devices."""

    X: NDArray[np.float32]
    device: NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """A period, counted: a tally by measure (`f_…`, `prediction`, `confidence`), and some of its rows."""

    period: Period
    devices: tuple[str, ...]
    tallies: Mapping[str, Tally]
    rows: Rows


@dataclass(frozen=True)
class Asked:
    """What to count: measures with their bins, and of `prediction` and `confidence` what the release with this digest said."""

    bins: Mapping[str, Bins]
    release: str
    classes: tuple[str, ...]
    keep: int = 0
    """How many rows to draw."""


def count(lake: Lake, period: Period, asked: Asked) -> Counted:
    """One pass over the events and sketches of a period; of no device, if there were none."""
    lake.ensure("sketches", SKETCHES, ["month"])
    connection = lake.connect(events=None, sketches=None)
    if lake.table("events") is None:
        return Counted(period, (), {}, _joined([]))
    limits = _limits(period, asked)
    found = run_sql(
        connection,
        SQL / "drift_devices.sql",
        {n: v for n, v in limits.items() if n not in ("block", "release", "classes")},
    )
    devices, events = found["device"].to_pylist(), sum(found["events"].to_pylist())
    tallies = {name: Tally.empty(bins, len(devices), period.blocks) for name, bins in asked.bins.items()}
    kept, draw = [], np.random.default_rng(0)
    for batch in connection.sql((SQL / "drift.sql").read_text(), params=limits).to_arrow_reader(ROWS):
        events_of = _Batch(batch, devices, period.blocks)
        for name, tally in tallies.items():
            events_of.add_to(tally, name)
        kept.append(events_of.some(draw.random(len(batch)) < asked.keep / max(events, 1)))
    _add_sketches(connection, limits, devices, tallies)
    return Counted(period, tuple(devices), tallies, _joined(kept))


def _limits(period: Period, asked: Asked) -> dict[str, Any]:
    return {
        "since": period.since,
        "until": period.until,
        "first": f"{period.since:%Y-%m}",
        "last": f"{period.until:%Y-%m}",
        "block": period.block // MICROSECOND,
        "release": asked.release,
        "classes": list(asked.classes),
    }


class _Batch:
    """Events as DuckDB gives them, as arrays."""

    def __init__(self, batch: pa.RecordBatch, devices: list[str], blocks: int) -> None:
        self._batch = batch
        names = batch.column("device").dictionary_encode()
        known = {name: i for i, name in enumerate(devices)}
        codes = np.array([known[name] for name in names.dictionary.to_pylist()], np.int64)
        self._device = codes[names.indices.to_numpy()]
        self._place = self._device * blocks + batch.column("block").to_numpy()
        self._weight = batch.column("weight").to_numpy()
        self._ours = batch.column("ours").to_numpy(zero_copy_only=False)

    def _values(self, name: str) -> NDArray[np.float32]:
        found: NDArray[np.float32] = (
            self._batch.column(name).to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        )
        return found

    def add_to(self, tally: Tally, name: str) -> None:
        """Count a measure. What a model said is only held against what that model said."""
        if name not in self._batch.schema.names:
            return
        if name in SAID:
            tally.add(self._place[self._ours], self._values(name)[self._ours], self._weight[self._ours])
        else:
            tally.add(self._place, self._values(name), self._weight)

    def some(self, chosen: NDArray[np.bool_]) -> Rows:
        names = [name for name in self._batch.schema.names if name.startswith("f_")]
        X = [self._values(name)[chosen] for name in names]
        return Rows(np.column_stack(X) if X else np.empty((chosen.sum(), 0), np.float32), self._device[chosen])


def _add_sketches(
    connection: duckdb.DuckDBPyConnection, limits: dict[str, Any], devices: list[str], tallies: Mapping[str, Tally]
) -> None:
    known = {name: i for i, name in enumerate(devices)}
    for batch in connection.sql((SQL / "drift_sketches.sql").read_text(), params=limits).to_arrow_reader(SKETCHED):
        found: dict[str, list[tuple[NDArray[Any], ...]]] = {}
        for row in batch.to_pylist():
            tally = tallies.get(row["measure"])
            if tally is None or (row["measure"] in SAID and not row["ours"]):
                continue
            values, weights = _sketched(row, limits["classes"])
            place = np.full(len(values), known[row["device"]] * tally.counts.shape[1] + row["block"])
            # Each of its events has the mean weight: their squares add up to weight² / events, here spread over the samples.
            found.setdefault(row["measure"], []).append(
                (place, values, weights, weights * row["weight"] / row["events"])
            )
        for measure, parts in found.items():
            tallies[measure].add(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _sketched(row: dict[str, Any], classes: list[str]) -> tuple[NDArray[np.float32], Array]:
    """The values that a row of `sketches` stands for, and of how many each."""
    if row["sketch"] is not None:
        values, weights = samples(row["sketch"])
        return values.astype(np.float32), weights.astype(np.float64)
    value = np.nan if row["value"] is None else classes.index(row["value"])
    return np.array([value], np.float32), np.array([row["weight"]], np.float64)


def _joined(kept: Iterable[Rows]) -> Rows:
    parts = [rows for rows in kept if len(rows.device)]
    if not parts:
        return Rows(np.empty((0, 0), np.float32), np.empty(0, np.int64))
    return Rows(np.concatenate([rows.X for rows in parts]), np.concatenate([rows.device for rows in parts]))
