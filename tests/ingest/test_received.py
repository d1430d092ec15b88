"""How far batches go, in short: never less than `batches` has, whatever becomes of the object that it is kept in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import received
from ingest.known import Known
from ingest.lanes import Lane
from ingest.plan import AcceptedBatch
from ingest.received import RANGES, join, overlapping
from ingest.run import ingest
from tests.ingest.batches import events, planned, seal
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)
SCHEMA = pa.schema(
    [("device", pa.string()), ("epoch", pa.int32()), ("first_seq", pa.int64()), ("last_seq", pa.int64())]
)

spans = st.builds(lambda first, more: (first, first + more), st.integers(1, 400), st.integers(0, 12))
came = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2), spans), max_size=60)


def table(rows: list[tuple[str, int, tuple[int, int]]]) -> pa.Table:
    named = [dict(zip(SCHEMA.names, (device, epoch, *span), strict=True)) for device, epoch, span in rows]
    return pa.Table.from_pylist(named, schema=SCHEMA)


def numbers(ranges: pa.Table) -> dict[tuple[str, int], set[int]]:
    found: dict[tuple[str, int], set[int]] = {}
    for row in ranges.to_pylist():
        found.setdefault((row["device"], row["epoch"]), set()).update(range(row["first_seq"], row["last_seq"] + 1))
    return found


@settings(max_examples=60, deadline=None)
@given(came)
def test_joined_ranges_span_everything_and_the_newest_nothing_else(
    rows: list[tuple[str, int, tuple[int, int]]],
) -> None:
    joined = join(table(rows))
    there, spanned = numbers(table(rows)), numbers(joined)
    assert there.keys() == spanned.keys()
    for key, wanted in there.items():
        mine = [row for row in joined.to_pylist() if (row["device"], row["epoch"]) == key]
        assert len(mine) <= RANGES
        newest = min(mine[-1]["first_seq"], *(row["first_seq"] for row in mine[1:])) if len(mine) > 1 else 0
        assert spanned[key] >= wanted
        assert {n for n in spanned[key] if n >= newest > 0} == {n for n in wanted if n >= newest > 0}
    assert join(joined) == joined


@settings(deadline=None)
@given(came, spans)
def test_a_batch_is_asked_about_if_it_touches_a_range(
    rows: list[tuple[str, int, tuple[int, int]]], span: tuple[int, int]
) -> None:
    batch = AcceptedBatch("p", "a", 1, *span, 1, "", 1, 0, NOW)
    touches = bool(numbers(table(rows)).get(("a", 1), set()) & set(range(span[0], span[1] + 1)))
    assert overlapping(table(rows), [batch]) == ({"a"} if touches else set())


TWO = (Lane(0, 2), Lane(1, 2))


def at(site: Site, device: str) -> str:
    return f"{site.config.layout.inbox}/{device}/x"


def damage(site: Site) -> None:
    site.store.replace(site.config.layout.received, b"PAR1 and no more")


def take_for_another(site: Site) -> None:
    """As if the lake had been begun anew under it: it says that nothing came, up to a high number."""
    sink = pa.BufferOutputStream()
    pq.write_table(SCHEMA.empty_table().replace_schema_metadata({"table": "other", "plan": "1000"}), sink)
    site.store.replace(site.config.layout.received, sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    "change", [lambda _: None, damage, take_for_another, lambda s: s.store.delete(s.config.layout.received)]
)
def test_what_came_before_is_known_by_whatever_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Site], None]
) -> None:
    monkeypatch.setattr(received, "FILES", 3)
    site, asked = make_site(tmp_path), list[set[str]]()
    known = received.known_batches
    monkeypatch.setattr(
        received, "known_batches", lambda lake, devices, numbers: asked.append(devices) or known(lake, devices, numbers)
    )
    for i in range(5):
        for device in ("d1", "d2"):
            site.store.create(*seal(site, events(1 + 20 * i, 10), device=device))
        ingest(site.store, site.lake, site.config, NOW)
    assert site.store.size(site.config.layout.received) > 0
    assert asked == []  # what is new is told from the rest without asking for it
    change(site)
    site.store.create(*seal(site, events(21, 10)))  # again
    site.store.create(
        *seal(site, events(35, 10))
    )  # late, for it would have been in a gap, and overlaps what came after that
    site.store.create(*seal(site, events(11, 10)))  # late, in a gap
    report = ingest(site.store, site.lake, site.config, NOW)
    assert (report.duplicates, report.rejected, report.rows) == (1, 1, 10)
    assert asked == [{"d1"}]


def test_what_is_kept_hides_nothing_that_another_lane_commits_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received, "FILES", 1)
    site = make_site(tmp_path)
    devices = {
        lane: next(d for d in map("d{}".format, range(99)) if lane.takes(site.config.layout, at(site, d)))
        for lane in TWO
    }
    late = seal(site, events(1, 10), device=devices[TWO[1]])
    site.store.create(*late)
    site.store.create(site.config.layout.plan(1), planned(site, NOW, 1, TWO[1]).encode())
    for i in range(3):
        site.store.create(*seal(site, events(1 + 10 * i, 10), device=devices[TWO[0]]))
        ingest(site.store, site.lake, site.config, NOW, TWO[0])
    assert ingest(site.store, site.lake, site.config, NOW, TWO[1]).recovered
    site.store.create(*late)
    assert ingest(site.store, site.lake, site.config, NOW, TWO[1]).duplicates == 1


def test_of_a_batch_that_comes_again_only_those_with_its_numbers_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year of a fleet has tens of millions of batches, and every device sends one again now and then."""
    site = make_site(tmp_path)
    sealed = [seal(site, events(1 + 50 * i, 50)) for i in range(4)]
    found, known = list[Known](), received.known_beside
    monkeypatch.setattr("ingest.run.known_beside", lambda *said: found.append(known(*said)) or found[-1])
    for path, content in (*sealed, sealed[1]):
        site.store.create(path, content)
        report = ingest(site.store, site.lake, site.config, NOW)
    assert report.duplicates == 1
    assert found == [{}, {}, {}, {}, {("d1", 7): [(51, 100, sealed[1][0][-72:-8])]}]
