"""Predicting takes no memory that stays, whatever runs: what waits for its group, and nothing by the call."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest

from edge_runtime.device import Device
from tests.edge_runtime.releases import KINDS, loop_for, release
from tests.site import Site, make_site, pass_probation, readings

GROUP = 256
CALLS = 40 * GROUP
POINTER = 8
"""Bytes: whatever is kept of each call takes one at the least, and something to point at."""


@pytest.fixture(params=KINDS)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    """A network of each kind past its probation; groups go by their size alone, so that every run is the same."""
    section = f'[device]\nflush_events = {GROUP}\nflush_every = "1h"'
    site = make_site(tmp_path, loop_for(request.param).replace("[device]", section))
    release(site, 8, request.param)
    pass_probation(site)
    return site


@contextmanager
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def after(device: Device, calls: int, source: Iterator[dict[str, object]]) -> tuple[int, int]:
    """Bytes that Python and NumPy hold after so many calls, and the most that they held meanwhile."""
    tracemalloc.reset_peak()
    for reading in islice(source, calls):
        assert device.predict(reading).label
    device.flush()
    gc.collect()
    return tracemalloc.get_traced_memory()


def test_no_call_leaves_anything_and_what_waits_is_bounded_by_a_group(site: Site) -> None:
    source = cycle(readings(100))
    with site.open("dev") as device, traced():
        after(device, 4 * GROUP, source)  # what is made once is made
        begin, few = after(device, 2 * GROUP, source)
        end, many = after(device, CALLS, source)
    assert end - begin < POINTER * CALLS
    assert many - end < 1.25 * (few - begin)  # 40 groups take no more than 2 do
