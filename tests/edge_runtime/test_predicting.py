"""Predicting takes no memory that stays, whatever runs: what waits for its group, and nothing by the call."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import pytest

from edge_runtime.device import Device
from tests.edge_runtime import networks
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


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_for_one_class_is_no_answer(tmp_path: Path, value: float) -> None:
    """The other classes still have numbers, which would be an answer, and one without end takes the whole batch into quarantine."""
    catalogue = pytest.importorskip("tests.edge_runtime.catalogue")
    site = make_site(tmp_path)
    kind = next(kind for kind in KINDS if networks.runtime(kind) == "onnx")
    model = catalogue.changed(networks.path(kind).read_bytes(), partial(catalogue.one_class, value))
    release(site, 8, kind, model)
    pass_probation(site)
    with site.open("dev") as device:
        answers = [device.predict(catalogue.WRONG), *device.predict_many([catalogue.WRONG, *readings(1)])]
    assert [answer.reason for answer in answers] == ["the model gave no number"] * 2 + [""]
    assert answers[2].label
