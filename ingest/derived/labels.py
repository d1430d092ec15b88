"""How labels come: how late, of how many of the events, whether still, and whether they meet events at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.compute as pc

from edgeloop.clock import EPOCH_0
from edgeloop.lake import Lake, run_sql
from ingest.tables import LABEL_ROWS

SQL = Path(__file__).parents[1] / "sql"

WINDOW = timedelta(weeks=26)
"""How far back from the newest label sources are looked at. One that was silent for longer is not expected any more."""

DAY = timedelta(days=1)

PATIENCE = 3
"""Times its usual delay that a source may be silent."""


@dataclass(frozen=True)
class Delay:
    """How the labels of a source came that became known in one week, or, if that is None, in the whole window (sql/label_delay.sql).

    Lengths of time are in seconds: from event to known, from known to ingested, and the longest pause between two.
    """

    source: str
    week: datetime | None
    labels: int
    events: int
    corrected: int
    early: int
    delay_median: float
    delay_p95: float
    ingest_median: float
    ingest_p95: float
    newest: datetime
    pause: float | None
    coverage: float | None

    def stopped(self, as_of: datetime) -> bool:
        """Whether the source has been silent for longer than `PATIENCE` usual delays, and than ever in the window.

        Of one that spoke at one moment only nobody knows when it is to speak again, and one that is silent for longer than the
        window was given up.
        """
        silence = (as_of - self.newest).total_seconds()
        longest = max(PATIENCE * self.delay_p95, self.pause or 0.0)
        return self.pause is not None and longest < silence <= WINDOW.total_seconds()

    def silence(self, as_of: datetime) -> str:
        """A sentence on a source that has stopped."""
        silent, usual = as_length((as_of - self.newest).total_seconds()), as_length(self.delay_p95)
        return f"{self.source} has been silent for {silent}; 95 % of its labels come within {usual} of their event."


@dataclass(frozen=True)
class Meeting:
    """What became of the labels that a source gave last: those that meet an event, that may yet, whose device is unknown; of
    those `sampled` of the rest, how far the nearest event is and by what shift how many would meet one (sql/label_matches.sql)."""

    source: str
    labels: int
    met: int
    waiting: int
    unknown: int
    sampled: int
    nearest: float | None
    shift: float | None
    shifted: int

    @property
    def lost(self) -> int:
        """Those that meet no event though one should be there."""
        return self.labels - self.met - self.waiting

    @property
    def astray(self) -> bool:
        """Whether that is most of them, those that wait left aside: a clock, a time zone or a name is wrong."""
        return self.lost > self.met

    @property
    def sentence(self) -> str:
        """How many are lost, and what is probably wrong."""
        return f"{self.lost:,} of the newest {self.labels:,} labels of {self.source} meet no event; {self._hint}."

    @property
    def _hint(self) -> str:
        if 2 * self.unknown > self.lost:
            return f"{self.unknown:,} are of devices that never sent an event: see how `device` is written"
        if self.shift is not None and 2 * self.shifted > self.sampled:
            way = "later" if self.shift > 0 else "earlier"
            return f"most would meet one {abs(self.shift):.6g} s {way}: see the clock and the time zone of `ts`"
        if self.nearest is not None:
            return f"the nearest event of the device is {as_length(self.nearest)} away: `ts` is the event's own, to the microsecond"
        return "their devices have no event within a day of them"


def as_length(seconds: float) -> str:
    """A length of time for a person, in the unit that suits it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def connect_labels(lake: Lake) -> duckdb.DuckDBPyConnection:
    """`labels` and `events`, empty if there are none yet: labels may be there first."""
    connection = lake.connect(labels=None, events=None).register("nothing", LABEL_ROWS.empty_table())
    for name, columns in (("labels", "*"), ("events", "device, ts, '' AS month")):
        connection.execute(f"CREATE VIEW IF NOT EXISTS {name} AS SELECT {columns} FROM nothing")
    return connection


def label_delays(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> list[Delay]:
    """The delays by source, as of `as_of`: of each first of the whole window, then of its weeks."""
    query = "SELECT max(known_at) FROM labels WHERE known_at <= ?"
    ((newest,),) = connection.execute(query, [as_of]).fetchall()
    since = (newest or as_of) - WINDOW
    rows = run_sql(connection, SQL / "label_delay.sql", {"as_of": as_of, "since": since, "month": f"{since:%Y-%m}"})
    return [Delay(**row) for row in rows.to_pylist()]


def label_meetings(connection: duckdb.DuckDBPyConnection) -> list[Meeting]:
    """What became of the newest labels, by source."""
    newest = run_sql(connection, SQL / "newest_labels.sql")
    connection.register("newest", newest)
    since = (pc.min(newest["ts"]).as_py() or EPOCH_0) - DAY
    rows = run_sql(connection, SQL / "label_matches.sql", {"month": f"{since:%Y-%m}"})
    return [Meeting(**row) for row in rows.to_pylist()]
