"""Bytes an event of a batch of aggregates, against batches of the same events: an hour of real readings, so many a second or minute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from benchmarks.air_quality import read_example
from edge_runtime.aggregates import seal_aggregates
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import Event
from edgeloop.config import Privacy
from tests.site import START

HOUR = 3600


def in_an_hour(events: Sequence[Event]) -> list[Event]:
    """The same readings as if they had been taken within one hour, evenly."""
    start, step = int(START.timestamp()) * 1_000_000, HOUR * 1_000_000 // len(events)
    return [msgspec.structs.replace(event, seq=i + 1, ts=start + i * step) for i, event in enumerate(events)]


def main() -> None:
    config, every = read_example()
    settings = DeviceSettings(
        1, config.name, "Dongsi", "memory://", config.schema(), config.device, Privacy(ship="aggregates")
    )
    now, size = START + timedelta(hours=1), settings.section.batch_events
    print("bytes an event        events   aggregates   ratio   sealing, ms of CPU an event")
    for count in (10, 60, 600, 3_600, 10_000):
        events = in_an_hour(every[:count])
        told = sum(len(seal_batch(events[i : i + size], settings, 1, 0, now).content) for i in range(0, count, size))
        began = time.process_time()
        kept = len(seal_aggregates(events, settings, 1, 0, now).content)
        took = (time.process_time() - began) / count * 1000
        print(f"{count:6,} an hour {told / count:12.1f} {kept / count:12.1f} {kept / told:7.2f} {took:14.3f}")


if __name__ == "__main__":
    main()
