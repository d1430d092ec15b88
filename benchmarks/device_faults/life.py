"""One life of a device under test: the real process, that writes down where it is, and ends by whoever kills it.

The reading of number *n* is made of *n*, and its time tells *n*: the parent knows every one.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import edge_runtime.onnx  # the heavy imports of a device, once for all lives: each is a fork of a process that has them
import edge_runtime.running
import edge_runtime.sealing
import edge_runtime.shipper
import edge_runtime.targets
import edge_runtime.updater
from benchmarks.device_faults.diary import ACTIVATED, BARE, HANDED, LOG, PREDICTING, RELEASED, Diary
from edge_runtime.daemon import Reading, serve
from edge_runtime.device import Device, Prediction
from edge_runtime.releases import Release
from edge_runtime.running import Running
from edge_runtime.spool import Spool
from edgeloop.clock import SimulatedClock
from edgeloop.store import Store

START = datetime(2024, 1, 20, tzinfo=UTC)
NOW = START + timedelta(hours=1)
APART = timedelta(milliseconds=10)

LONGEST = 10.0
"""Seconds after which a life ends by itself: a parent that is gone leaves no process behind for long."""


def live(home: Path, diary: Path, seconds: float) -> None:
    """Predict and exchange for `seconds`, then end cleanly; or be killed before."""
    book = Diary(diary)
    mark_stages(book)
    edge_runtime.targets.FIRST_RANGE = edge_runtime.targets.LARGEST_RANGE = (
        1024  # the models here are small; a download is to have a middle
    )
    with Device.open(home, clock=SimulatedClock(NOW)) as device:
        book.started()
        book[BARE] += bool(book[RELEASED] and not device.status().release)
        serve(device, readings(book, seconds), timedelta(0), functools.partial(answer, book))


def mark_stages(book: Diary) -> None:
    """Every stage is a call; the inner one of two counts."""
    book.mark(Device, "predict", "predict", PREDICTING)
    book.mark(Spool, "flush_due", "write", PREDICTING)
    book.mark(edge_runtime.sealing, "seal_batch", "seal")
    book.mark(Spool, "seal", "seal")
    book.mark(Store, "create", "upload")
    book.mark(Spool, "acknowledge", "acknowledge")
    book.mark(Device, "poll", "poll")
    book.mark(edge_runtime.updater, "_fetch", "download")
    book.mark(edge_runtime.updater, "_self_test", "self-test")
    book.mark(Running, "activate", "activate")
    book.mark(edge_runtime.running, "keep_only", "activate")
    book.mark(Device, "report", "report")
    _count_activations(book)


def _count_activations(book: Diary) -> None:
    activate = Running.activate

    def counted(self: Running, release: Release) -> None:
        activate(self, release)
        book[ACTIVATED] += 1

    Running.activate = counted  # type: ignore[method-assign]


def readings(book: Diary, seconds: float) -> Iterator[Reading]:
    """The readings from the first that was never handed in, about a thousand a second."""
    until = time.monotonic() + min(seconds, LONGEST)
    while time.monotonic() < until and book[HANDED] < book.size:
        number = book[HANDED] + 1
        book[HANDED] = number
        yield START + number * APART, {"a": number % 7 - 3.0, "b": number % 11 - 5.0, "mode": "fast"}
        time.sleep(0.001)


def answer(book: Diary, prediction: Prediction) -> None:
    """Write down that the last reading was answered, and whether by a model."""
    book[LOG + book[HANDED]] = prediction.seq
    if prediction.label is not None:
        book[RELEASED] = 1
    elif book[RELEASED]:
        book[BARE] += 1


def number_of(ts: datetime) -> int:
    """Which reading was measured at `ts`."""
    return (ts - START) // APART
