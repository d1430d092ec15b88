"""Batches whose rows are checked together are taken or refused as each is by itself, for the same reason and with the same rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.errors import DataError
from ingest import judging
from ingest.checks.check import Opened, check_rows, open_batch
from ingest.fetching import fetch
from ingest.judging import look
from ingest.waiting import Waiting
from tests.ingest.batches import column, events, rewrite, seal, seal_aggregated
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)
ROWS = 6
MICROS = int(START.timestamp() * 1e6)

reals = st.sampled_from([0.0, 0.5, 1.0, 1.2, -1.0, 1e9, float("inf"), float("nan"), None])
BENT: dict[str, tuple[pa.DataType, st.SearchStrategy[object]]] = {
    "seq": (pa.int64(), st.integers(-1, 9) | st.sampled_from([10**12 - 1, 10**12, None])),
    "ts": (pa.timestamp("us", tz="UTC"), st.sampled_from([MICROS, 0, 2**62, MICROS + 10 * 86_400_000_000])),
    "release": (pa.string(), st.sampled_from([None, "a" * 64, "../x"])),
    "prediction": (pa.string(), st.sampled_from([None, "good", "evil"])),
    "confidence": (pa.float32(), reals),
    "latency_us": (pa.float32(), reals),
    "weight": (pa.float32(), st.sampled_from([1.0, 2.0, 0.5, 1e9, float("nan"), None])),
    "f_a": (pa.float64(), reals | st.just(1e300)),
    "f_b": (pa.int32(), st.sampled_from([0, 2**24, 2**24 + 1, None])),
}


@st.composite
def changes(draw: st.DrawFn) -> Callable[[pa.Table], pa.Table] | None:
    """What becomes of a batch: mostly nothing; else some values of a column are others."""
    if draw(st.booleans()):
        return None
    name = draw(st.sampled_from(sorted(BENT)))
    kind, values = BENT[name]
    bent = draw(st.lists(st.tuples(st.integers(0, ROWS - 1), values), max_size=2))

    def change(table: pa.Table) -> pa.Table:
        found = table[name].cast(kind).to_pylist() if name != "f_b" else [0] * ROWS
        for place, value in bent:
            found[place] = value
        changed: pa.Table = column(name, found, kind)(table)  # type: ignore[operator]
        return changed

    return change


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


def batch(site: Site, number: int, change: Callable[[pa.Table], pa.Table] | None) -> Opened:
    first = 1 + ROWS * number
    rows = events(first, ROWS, inputs=[number / 10, None, float(number % 2), number / 3])
    path, content = seal(site, rows)
    if change is not None:
        path, content = rewrite(site, content, change, first=first)
    return open_batch(path, content, site.config, NOW)


@settings(deadline=None)
@given(st.lists(changes(), min_size=1, max_size=9), st.booleans())
def test_together_as_each_by_itself(
    site: Site, how: list[Callable[[pa.Table], pa.Table] | None], aggregates: bool
) -> None:
    group = [batch(site, number, change) for number, change in enumerate(how)]
    if aggregates:
        group.insert(len(group) // 2, open_batch(*seal_aggregated(site, events(1, 20)), site.config, NOW))
    alone = [check_rows([opened], site.config, NOW)[0] for opened in group]
    for one, other in zip(alone, check_rows(group, site.config, NOW), strict=True):
        if isinstance(one, DataError) or isinstance(other, DataError):
            assert str(one) == str(other)
        else:
            assert one.batch == other.batch
            assert one.rows.equals(other.rows)


@pytest.mark.parametrize(("bound", "at_once"), [("GROUP_ROWS", 2), ("GROUP_BYTES", 1)])
def test_no_more_are_held_to_be_checked_together_than_memory_is_meant_to_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, at_once: int
) -> None:
    site = make_site(tmp_path)
    for number in range(4):
        site.store.create(*seal(site, events(1 + ROWS * number, ROWS)))
    monkeypatch.setattr(judging, bound, ROWS + 1)
    monkeypatch.setattr(
        judging, "check_rows", lambda group, *rest: sizes.append(len(group)) or check_rows(group, *rest)
    )
    sizes = list[int]()
    looked = look(site.config, fetch(site.store, site.config, Waiting(site.store, site.config.layout)), NOW)
    assert len(looked.batches) == len(looked.decoded) == 4
    assert max(sizes) == at_once
