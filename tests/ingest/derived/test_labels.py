"""How labels come, against the same in plain Python; and what is said of those that meet no event."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.events import TIME
from edgeloop.lake import open_duckdb
from ingest.derived.labels import Meeting, label_delays, label_meetings
from ingest.tables import LABEL_ROWS
from tests.site import START

HOUR = timedelta(hours=1)
EVENTS = pa.schema([("device", pa.string()), ("ts", TIME)])
Row = dict[str, Any]

hours = st.integers(-5, 4).map(lambda n: START + n * HOUR)
devices = st.sampled_from(["d1", "d2"])
labels = st.builds(
    lambda device, ts, label, source, delay, lag: {
        "device": device,
        "ts": ts,
        "label": label,
        "source": source,
        "known_at": ts + delay * HOUR,
        "ingested_at": ts + (delay + lag) * HOUR,
    },
    devices,
    hours,
    st.sampled_from(["bad", "good"]),
    st.sampled_from(["lab", "operator"]),
    st.integers(-2, 20),
    st.integers(0, 50),
)


def lake_of(rows: list[Row], events: list[Row]) -> duckdb.DuckDBPyConnection:
    connection = open_duckdb()
    connection.register("labels", pa.Table.from_pylist(rows, schema=LABEL_ROWS))
    connection.register("sent", pa.Table.from_pylist(events, schema=EVENTS))
    connection.execute("CREATE VIEW events AS SELECT *, strftime(ts, '%Y-%m') AS month FROM sent")
    return connection


def place(row: Row) -> tuple[Any, ...]:
    return row["source"], row["device"], row["ts"]


def first_words(rows: list[Row], as_of: datetime, since: datetime) -> list[Row]:
    """Of each source and event the first label, with how many there are and whether they say one thing; of late only."""
    known = [row for row in rows if row["known_at"] <= as_of]
    found = []
    for _, group in groupby(sorted(known, key=place), place):
        mine = list(group)
        first = min(mine, key=lambda row: row["known_at"])
        more = {"labels": len(mine), "corrected": len({row["label"] for row in mine}) > 1}
        if first["known_at"] >= since:
            found.append({**first, **more, "newest": max(row["known_at"] for row in mine)})
    return found


@given(
    st.lists(labels, min_size=8, max_size=30, unique_by=lambda row: (*place(row), row["known_at"])),
    st.lists(
        st.fixed_dictionaries({"device": devices, "ts": hours}), max_size=30, unique_by=lambda r: (r["device"], r["ts"])
    ),
    st.integers(0, 40).map(lambda n: START + n * HOUR),
    st.integers(1, 40).map(lambda n: n * HOUR),
)
@settings(deadline=None, max_examples=60)
def test_delays_are_those_of_the_first_words(
    rows: list[Row], events: list[Row], as_of: datetime, window: timedelta
) -> None:
    events += [{"device": row["device"], "ts": row["ts"]} for row in rows[::2]]
    events = list({(e["device"], e["ts"]): e for e in events}.values())
    since = max((row["known_at"] for row in rows if row["known_at"] <= as_of), default=as_of) - window
    words = first_words(rows, as_of, since)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.derived.labels.WINDOW", window)
        found = label_delays(lake_of(rows, events), as_of)
    whole = {delay.source: delay for delay in found if delay.week is None}
    assert whole.keys() == {word["source"] for word in words}
    for delay in found:
        mine = [w for w in words if w["source"] == delay.source and delay.week in (None, _week(w["known_at"]))]
        late = [(w["known_at"] - w["ts"]).total_seconds() for w in mine]
        assert (delay.labels, delay.events) == (sum(w["labels"] for w in mine), len(mine))
        assert (delay.corrected, delay.early) == (sum(w["corrected"] for w in mine), sum(s < 0 for s in late))
        assert [delay.delay_median, delay.delay_p95] == pytest.approx(np.quantile(late, [0.5, 0.95]).tolist())
        ingest = [(w["ingested_at"] - w["known_at"]).total_seconds() for w in mine]
        assert [delay.ingest_median, delay.ingest_p95] == pytest.approx(np.quantile(ingest, [0.5, 0.95]).tolist())
        assert delay.newest == max(w["newest"] for w in mine)
    for source, delay in whole.items():
        mine = [w for w in words if w["source"] == source]
        moments = sorted({w["known_at"] for w in mine})
        pauses = [(b - a).total_seconds() for a, b in pairwise(moments)]
        assert delay.pause == max(pauses, default=None)
        before = (as_of - timedelta(seconds=delay.delay_median)).replace(minute=0)
        due = {(e["device"], e["ts"]) for e in events if since <= e["ts"] < before}
        covered = due & {(w["device"], w["ts"]) for w in mine}
        assert delay.coverage == (pytest.approx(len(covered) / len(due)) if due else None)


def _week(moment: datetime) -> datetime:
    return (moment - timedelta(days=moment.weekday())).replace(hour=0)


def met(shift: float, noise: float = 0.0, device: str = "d1", first: int = 0) -> Meeting:
    """What becomes of 300 labels of an hour of events, each off by `shift` and up to `noise` seconds."""
    draw = np.random.default_rng(3)
    at = [START + timedelta(seconds=20 * i + float(draw.uniform(0, 9))) for i in range(2000)]
    ingested = {"known_at": START, "ingested_at": START, "label": "bad", "source": "lab"}
    rows = [
        {**ingested, "device": device, "ts": ts + timedelta(seconds=shift + float(draw.uniform(0, noise)))}
        for ts in at[first : first + 300]
    ]
    (found,) = label_meetings(lake_of(rows, [{"device": "d1", "ts": ts} for ts in at]))
    return found


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"shift": 7200, "first": 500}, "most would meet one 7200 s earlier: see the clock and the time zone"),
        ({"shift": -19800, "first": 1200}, "most would meet one 19800 s later"),
        ({"shift": -0.0005, "noise": 0.0004}, r"away: `ts` is the event's own, to the microsecond"),
        ({"shift": 0, "device": "D1"}, "300 are of devices that never sent an event"),
        ({"shift": -400_000}, "their devices have no event within a day"),
    ],
)
def test_labels_that_meet_no_event_are_told_why(how: dict[str, Any], says: str) -> None:
    found = met(**how)
    assert found.astray
    assert (found.met, found.lost) == (0, 300)
    assert found.sentence.startswith("300 of the newest 300 labels of lab meet no event; ")
    assert says in found.sentence


def test_labels_that_meet_events_or_may_yet_are_well() -> None:
    assert (met(0).met, met(0).astray) == (300, False)
    ahead = met(3600 * 48, first=1000)
    assert (ahead.waiting, ahead.lost, ahead.astray) == (300, 0, False)


def test_a_device_that_was_heard_of_months_ago_may_send_the_event_yet() -> None:
    row = {"device": "d1", "ts": START, "label": "bad", "source": "lab", "known_at": START, "ingested_at": START}
    (found,) = label_meetings(lake_of([row], [{"device": "d1", "ts": START - 24 * 90 * HOUR}]))
    assert (found.waiting, found.unknown, found.lost) == (1, 0, 0)


def test_only_what_came_within_a_day_of_the_newest_is_looked_at() -> None:
    base = {"device": "d1", "label": "bad", "source": "lab", "known_at": START}
    rows = [
        {**base, "ts": START + timedelta(seconds=n), "ingested_at": START + day * 24 * HOUR}
        for day, several in ((0, range(9)), (2, range(20, 23)))
        for n in several
    ]
    sent = [{"device": "d1", "ts": START + timedelta(seconds=n)} for n in (*range(9), 99)]
    (found,) = label_meetings(lake_of(rows, sent))
    assert (found.labels, found.met, found.sampled) == (3, 0, 3)
