"""The shipper: seals what waits and puts it into the inbox, batch by batch.

A PUT is create-only. “Already exists” is an acknowledgement: the name holds the digest of the bytes, so what is there is what
was sent, and only the reply was lost.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import SealedBatch, Spool
from edgeloop.errors import AlreadyExists
from edgeloop.layout import BatchName, Layout
from edgeloop.store import DeviceStore


def ship(spool: Spool, store: DeviceStore, settings: DeviceSettings, now: datetime) -> Iterator[int]:
    """Ship everything that is in the spool; the bytes of each batch once it is acknowledged.

    Raises:
        StoreError: the store failed; what was acknowledged before stays so, the rest waits.
        DataError: the disk failed; what is not written down as acknowledged is sent again.
    """
    layout = Layout(settings.loop)
    for batch in _batches(spool, settings, now):
        with contextlib.suppress(AlreadyExists):
            store.create(layout.batch(settings.device, BatchName.parse(batch.name)), batch.content)
        spool.acknowledge(batch)
        yield len(batch.content)


def _batches(spool: Spool, settings: DeviceSettings, now: datetime) -> Iterator[SealedBatch]:
    while True:
        if (batch := spool.waiting()) is None:
            events = spool.oldest(settings.section.batch_events)
            if not events:
                return
            from edge_runtime.sealing import seal_batch  # Arrow is half of a device's memory: only when there is work

            batch = seal_batch(events, settings, spool.epoch, spool.shed, now)
            spool.seal(batch, events[-1].seq)
        yield batch


def backoff(failures: int, *, base: float = 1.0, limit: float = 900.0) -> timedelta:
    """How long to wait after `failures` failures in a row: full jitter, between nothing and min(limit, base · 2^failures) seconds.

    Source: “Exponential Backoff And Jitter”, AWS Architecture Blog, 2015.
    """
    return timedelta(seconds=random.uniform(0, min(limit, base * 2.0 ** min(failures, 30))))
