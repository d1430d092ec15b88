"""What is read by a pattern is what is read by the rules, whatever the bytes are; and what devices write is read by a pattern."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.sealing import seal_batch
from edge_runtime.settings import settings_of
from edgeloop.config import LoopConfig, parse_loop
from edgeloop.errors import DataError
from edgeloop.events import batch_schema
from ingest.checks.footer import read_footer
from ingest.checks.pages import DICTIONARY, demand_bounded
from ingest.checks.thrift import read_struct
from ingest.checks.usual import page_header, row_group
from tests.ingest.batches import events
from tests.site import LOOP, START

USED = (5, 7, 9, 11)
"""Fields of a column's metadata."""
COUNTS = [1, 4, 7, 8, 30, 200]
"""Of features. Eight make the first list that says its length in a byte of its own."""


def loop(features: int) -> LoopConfig:
    return parse_loop(LOOP.replace('numbers = ["a", "b"]', f"numbers = {[f'n{i}' for i in range(features)]}"))


def sealed(features: int, rows: int = 40) -> tuple[bytes, list[str], int]:
    """A batch, the names of its columns, and where its footer begins."""
    config, found, draw = loop(features), events(1, rows), random.Random(0)
    for i, event in enumerate(found):
        event.release = "a" * 64 if i > rows // 2 else None
        event.prediction = draw.choice(["good", "bad"])  # is shortest by a dictionary
        event.inputs = [float(i * n % 7) / 10 if n % 3 else i / 3 for n in range(features)] + [0.0, 3.0]
    content = seal_batch(found, settings_of(config, "d1", "memory://"), 7, 0, START + timedelta(hours=1)).content
    length = int.from_bytes(content[-8:-4], "little")
    return content, batch_schema(config.schema()).names, len(content) - 8 - length


@pytest.mark.parametrize("features", COUNTS)
@pytest.mark.parametrize("rows", [1, 40, 300])
def test_what_devices_write_is_as_usual(features: int, rows: int) -> None:
    content, names, start = sealed(features, rows)
    assert row_group(content, start, names) is not None
    assert read_footer(content, names).words == read_footer(content).words
    for _, place in pages(content, start):
        assert page_header(content, place) is not None


def pages(content: bytes, start: int) -> list[tuple[int, int]]:
    """The size of each page and where its header begins, by the rules."""
    (group,) = read_struct(content, start)[0][4]
    found = []
    for column in (column[3] for column in group[1]):
        place = column.get(11, column[9])
        end = place + column[7]
        while place < end:
            page, after = read_struct(content, place)
            found.append((page[3], place))
            place = after + page[3]
    return found


CONTENT, NAMES, FOOTER = sealed(9, 300)
PAGES = [place for _, place in pages(CONTENT, FOOTER)]
DICTIONARIES = [place for place in PAGES if read_struct(CONTENT, place)[0][1] == DICTIONARY]
changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=3)


def changed(places: range, how: list[tuple[int, int]]) -> bytes:
    content = bytearray(CONTENT)
    for place, value in how:
        content[places[place % len(places)]] = value
    return bytes(content)


@given(changes)
def test_a_footer_is_the_same_by_the_pattern_and_by_the_rules(how: list[tuple[int, int]]) -> None:
    content = changed(range(FOOTER, len(CONTENT) - 8), how)
    assert footer_or_error(content, NAMES) == footer_or_error(content, ())


def footer_or_error(content: bytes, names: Sequence[str]) -> object:
    try:
        found = read_footer(content, names)
        places = [[{f: column[3][f] for f in USED if f in column[3]} for column in group[1]] for group in found.groups]
    except (DataError, LookupError, TypeError, AttributeError) as error:
        return type(error), str(error)
    return found.rows, found.unpacked, found.words, places, [(group[2], group[3]) for group in found.groups]


@given(st.sampled_from(DICTIONARIES) | st.sampled_from(PAGES), changes)
def test_a_page_header_that_is_read_by_the_pattern_is_read_so_by_the_rules(
    place: int, how: list[tuple[int, int]]
) -> None:
    content = changed(range(place, place + 20), how)
    if (usual := page_header(content, place)) is not None:
        page, end = read_struct(content, place)
        values = {5: {1: page[5][1], 2: page[5][2]}} if 5 in page else {7: {1: page[7][1]}}
        assert usual == ({field: page[field] for field in (1, 2, 3)} | values, end)


@pytest.mark.parametrize("features", COUNTS)
def test_what_devices_write_is_held_to_its_pages_by_either_way(features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content, names, _ = sealed(features, 300)
    demand_bounded(content, read_footer(content, names).groups, 300, 2**20)
    monkeypatch.setattr("ingest.checks.pages.page_header", lambda *_: None)
    demand_bounded(content, read_footer(content).groups, 300, 2**20)
