"""Aggregates that are kept up to date, against the same ones made of everything at once: whatever comes, goes or is cut short."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import ingest.aggregates as under_test
from edgeloop.events import lake_schema
from edgeloop.lake import Lake, run_sql
from ingest.aggregates import AGGREGATES, update_aggregates
from ingest.run import ingest
from ingest.tables import LABEL_ROWS
from tests.ingest.batches import events, seal_aggregated
from tests.site import START, make_site

HOUR = timedelta(hours=1)
DEVICES = ("d1", "d2")
NAMES = tuple(aggregate.name for aggregate in AGGREGATES)
HOURS = (0, 1, 24 * 31 - 1, 24 * 31)
"""Of these some are neighbours, and in different months."""


class Killed(BaseException):
    """What a kill -9 is to the code: nothing after it runs."""


def from_scratch(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """Each aggregate as its query gives it of all rows of its sources."""
    found = {}
    for aggregate in AGGREGATES:
        connection = lake.connect(**dict.fromkeys(aggregate.sources))
        connection.register("sketched", aggregate.sketched(connection))
        found[aggregate.name] = in_order(run_sql(connection, aggregate.query))
    return found


def kept(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    connection = lake.connect(**dict.fromkeys(NAMES))
    there = lake.names()
    return {name: in_order(connection.sql(f"FROM {name}").to_arrow_table()) if name in there else [] for name in NAMES}


def in_order(rows: pa.Table) -> list[dict[str, Any]]:
    """Sorted, and a sum to so many digits that it does not tell in which order it was added up."""
    found = [
        {k: round(v, 9) if isinstance(v, float) else v for k, v in sorted(row.items())} for row in rows.to_pylist()
    ]
    return sorted(found, key=lambda row: [str(row.get(k)) for k in KEY])


KEY = ("device", "feature", "hour", "release", "events")


class Growth(RuleBasedStateMachine):
    """A lake in which everything happens between two updates that can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.site = make_site(Path(self.scratch.name))
        self.lake, self.next = self.site.lake, 0
        self.arrive(1, HOURS[0], "d1", 1.0, "r1")

    def teardown(self) -> None:
        self.scratch.cleanup()

    def handle(self, name: str) -> DeltaTable | None:
        return self.lake.table(name)

    def time(self, hour: int, number: int) -> datetime:
        return START + hour * HOUR + timedelta(seconds=number % 3600)

    @rule(
        count=st.integers(1, 5),
        hour=st.sampled_from(HOURS),
        device=st.sampled_from(DEVICES),
        weight=st.sampled_from([1.0, 1.0, 3.0]),
        release=st.sampled_from([None, "r1", "r2"]),
    )
    def arrive(self, count: int, hour: int, device: str, weight: float, release: str | None) -> None:
        """A batch's events, of an hour that may have had some before, or a later one may."""
        rows = []
        for number in range(self.next + 1, self.next + count + 1):
            ts = self.time(hour, number)
            base = {"device": device, "epoch": 1, "seq": number, "ts": ts, "release": release, "weight": weight}
            told = {"prediction": "good", "confidence": (number % 8) / 8, "latency_us": float(number % 5)}
            features = {"f_a": float(number % 7), "f_b": None if number % 3 else 1.0}
            rows.append({**base, **told, **features, "batch": "x", "ingested_at": ts, "month": f"{ts:%Y-%m}"})
        self.next += count
        schema = lake_schema(self.site.config.schema())
        self.lake.append("events", pa.Table.from_pylist(rows, schema=schema), ["month"])

    @rule(
        number=st.integers(1, 30),
        hour=st.sampled_from(HOURS),
        device=st.sampled_from(DEVICES),
        label=st.sampled_from(["good", "bad"]),
        known=st.integers(0, 3),
    )
    def label(self, number: int, hour: int, device: str, label: str, known: int) -> None:
        """A truth, the first or another one, for an event that is there or is not yet."""
        ts = self.time(hour, number)
        row = {
            "device": device,
            "ts": ts,
            "label": label,
            "known_at": ts + known * HOUR,
            "source": "t",
            "ingested_at": ts,
        }
        self.lake.append("labels", pa.Table.from_pylist([row], schema=LABEL_ROWS))

    @rule(hour=st.sampled_from(HOURS), count=st.integers(10, 12))
    def sketch(self, hour: int, count: int) -> None:
        """A batch of aggregates, through the intake itself."""
        rows = events(self.next + 1, count)
        self.next += count
        for event in rows:
            event.ts += hour * 3_600_000_000
        self.site.store.create(*seal_aggregated(self.site, rows, device="d2"))
        assert ingest(self.site.store, self.lake, self.site.config, START + 60 * 24 * HOUR).batches == 1

    @rule(name=st.sampled_from(["events", "labels", *NAMES]))
    def compact(self, name: str) -> None:
        if table := self.handle(name):
            table.optimize.compact()

    @rule(name=st.sampled_from(["events", "labels", "sketches", *NAMES]))
    def vacuum(self, name: str) -> None:
        if table := self.handle(name):
            table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)

    @rule(device=st.sampled_from(DEVICES))
    def forget(self, device: str) -> None:
        for name in ("events", "sketches", "labels"):
            if table := self.handle(name):
                table.delete(f"device = '{device}'")

    @rule()
    def retain(self) -> None:
        """The first month leaves, as a whole."""
        for name in ("events", "sketches"):
            if table := self.handle(name):
                table.delete("month = '2024-01'")

    @rule(at=st.integers(0, 2 * len(NAMES) - 1))
    def killed(self, at: int) -> None:
        """An update that ends before or after one of its commits."""
        write, seen = under_test.write_deltalake, 0

        def cut_short(*args: Any, **options: Any) -> None:
            nonlocal seen
            for step in (lambda: None, lambda: write(*args, **options)):
                step()
                seen += 1
                if seen > at:
                    raise Killed

        under_test.write_deltalake = cut_short
        try:
            update_aggregates(self.lake)
        except Killed:
            pass
        finally:
            under_test.write_deltalake = write

    @rule(hour=st.sampled_from(HOURS), device=st.sampled_from(DEVICES))
    def arrive_between_updates(self, hour: int, device: str) -> None:
        self.update()
        self.arrive(2, hour, device, 1.0, "r1")
        self.update()

    @rule()
    def update(self) -> None:
        update_aggregates(self.lake)
        assert kept(self.lake) == from_scratch(self.lake)
        assert not any(made.rows for made in update_aggregates(self.lake).values())


Growth.TestCase.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
TestGrowth = Growth.TestCase
