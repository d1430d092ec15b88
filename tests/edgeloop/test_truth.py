"""Which label counts, against the rule in plain Python: whatever comes from whom, in whatever order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeloop.truth import add_truth, prefer
from ingest.tables import LABEL_ROWS
from tests.site import START

SOURCES = ("inspection", "operator", "pseudo", "zeta")
Label = dict[str, Any]

hours = st.integers(0, 4).map(lambda n: START + timedelta(hours=n))
labels = st.fixed_dictionaries(
    {
        "device": st.sampled_from(["d1", "d2"]),
        "ts": hours,
        "label": st.sampled_from(["bad", "good"]),
        "known_at": hours,
        "source": st.sampled_from(SOURCES),
        "ingested_at": hours,
    }
)
precedences = st.permutations(SOURCES).flatmap(lambda order: st.integers(0, 4).map(lambda n: tuple(order[:n])))


def told(rows: list[Label], sources: tuple[str, ...], as_of: Any = None) -> set[tuple[Any, ...]]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("labels", pa.Table.from_pylist(rows, schema=LABEL_ROWS))
    add_truth(connection, sources)
    relation = "truth" if as_of is None else "truth_at($as_of)"
    found = connection.execute(
        f"SELECT device, ts, label, source, known_at FROM {relation}", as_of and {"as_of": as_of}
    ).fetchall()
    assert len({row[:2] for row in found}) == len(found)
    return set(found)


def expected(rows: list[Label], sources: tuple[str, ...], as_of: Any = None) -> set[tuple[Any, ...]]:
    """Each label that is there takes the place of the one before if it has more to say."""
    found: dict[tuple[Any, ...], Label] = {}
    for row in rows:
        if as_of is not None and (row["known_at"] > as_of or row["ingested_at"] > as_of):
            continue
        before = found.setdefault((row["device"], row["ts"]), row)
        if _outdoes(row, before, sources):
            found[row["device"], row["ts"]] = row
    return {tuple(row[name] for name in ("device", "ts", "label", "source", "known_at")) for row in found.values()}


def _outdoes(one: Label, other: Label, sources: tuple[str, ...]) -> bool:
    ranks = [sources.index(row["source"]) if row["source"] in sources else len(sources) for row in (one, other)]
    if ranks[0] != ranks[1]:
        return ranks[0] < ranks[1]
    for name in ("known_at", "ingested_at"):
        if one[name] != other[name]:
            return bool(one[name] > other[name])
    return bool((one["source"], one["label"]) < (other["source"], other["label"]))


@given(st.lists(labels, max_size=25), precedences, st.none() | hours, st.randoms())
@settings(deadline=None, max_examples=100)
def test_truth_is_the_rule_and_the_order_of_rows_has_no_part_in_it(
    rows: list[Label], sources: tuple[str, ...], as_of: Any, draw: Any
) -> None:
    wanted = expected(rows, sources, as_of)
    assert told(rows, sources, as_of) == wanted
    draw.shuffle(rows)
    assert told(rows, sources, as_of) == wanted


INSPECTED = {
    "device": "d1",
    "ts": START,
    "label": "bad",
    "known_at": START + timedelta(hours=1),
    "source": "inspection",
    "ingested_at": START + timedelta(hours=1),
}


@given(labels)
@example({**INSPECTED, "source": "operator", "label": "good", "known_at": START + timedelta(hours=4)})
@settings(deadline=None)
def test_a_weaker_source_never_corrects_a_better_one(row: Label) -> None:
    sources = ("inspection", *((row["source"],) if row["source"] != "inspection" else ()))
    counts = {found[:3] for found in told([INSPECTED, {**row, "device": "d1", "ts": START}], sources)}
    assert ("d1", START, "bad") in counts or row["source"] == "inspection"


def test_the_sources_to_prefer_can_be_changed_in_an_open_connection() -> None:
    connection = duckdb.connect()
    rows = [INSPECTED, {**INSPECTED, "source": "operator", "label": "good", "known_at": START + timedelta(hours=2)}]
    connection.register("labels", pa.Table.from_pylist(rows, schema=LABEL_ROWS))
    add_truth(connection, [])
    found = []
    for sources in ([], ["inspection"], ["operator", "inspection"]):
        prefer(connection, sources)
        found += connection.execute("SELECT label FROM truth").fetchall()
    assert found == [("good",), ("bad",), ("good",)]
