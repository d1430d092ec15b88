"""The shipper: seals what waits and puts it into the inbox, batch by batch, as far as the budgets allow.

A PUT is create-only. “Already exists” is an acknowledgement: the name holds the digest of the bytes, so what is there is what
was sent, and only the reply was lost.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from edge_runtime.budget import Budget
from edge_runtime.groups import Event
from edge_runtime.hours import ripe
from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import SealedBatch, Spool
from edgeloop.clock import EARLIEST, EPOCH_0, Clock
from edgeloop.errors import AlreadyExists
from edgeloop.layout import BatchName, Layout
from edgeloop.sketches import AGGREGATES
from edgeloop.store import DeviceStore

_EARLIEST = (EARLIEST - EPOCH_0) // timedelta(microseconds=1)
AGGREGATED_EVENTS = 10_000
"""Events that a batch of aggregates stands for at the most. An hour of a busy device is several; bounds memory."""


def ship(spool: Spool, store: DeviceStore, settings: DeviceSettings, budget: Budget, clock: Clock) -> Iterator[int]:
    """Ship as much as is in the spool now and may go; the bytes of each batch once it is acknowledged.

    What comes in meanwhile is for the next time, or a device that measures faster than it ships would never poll.

    Raises:
        StoreError: the store failed; what was acknowledged before stays so, the rest waits.
        DataError: the disk failed; what is not written down as acknowledged is sent again.
    """
    layout, left = Layout(settings.loop), spool.spooled
    for batch in _batches(spool, settings, budget, clock):
        with contextlib.suppress(AlreadyExists):
            store.create(layout.batch(settings.device, BatchName.parse(batch.name)), batch.content)
        spool.acknowledge(batch, allowance=budget.spend(len(batch.content), clock()))
        yield len(batch.content)
        left -= batch.events
        if left <= 0:
            return


def _batches(spool: Spool, settings: DeviceSettings, budget: Budget, clock: Clock) -> Iterator[SealedBatch]:
    """A sealed batch that waits, or the next one. What is new goes at once for the first time, and then by full batches: what
    comes in while much goes up is not to go as many small ones."""
    size, at_once = settings.section.batch_events, True
    aggregated = settings.privacy.ship == AGGREGATES
    while not budget.closed(clock()):
        if (batch := spool.waiting()) is not None:
            yield batch
            continue
        events = _finished(spool, settings, clock()) if aggregated else _pick(spool, size, at_once)
        if not events:
            return
        at_once = at_once and not spool.newest_next
        spool.seal(_sealing(settings)(events, settings, spool.epoch, spool.shed, clock()), events)


def _finished(spool: Spool, settings: DeviceSettings, now: datetime) -> Sequence[Event]:
    """By the hours that are over, from the oldest on: batches of the newest would cut hours into pieces."""
    oldest = spool.oldest(AGGREGATED_EVENTS)
    events = _alike(oldest)
    # Where others wait behind them no more are to come, and of too few a batch says no more than how many they are.
    return ripe(events, now, settings.privacy.min_events if len(events) == len(oldest) else 1)


def _pick(spool: Spool, size: int, at_once: bool) -> Sequence[Event]:
    if spool.newest_next:
        newest = spool.newest(size)
        if at_once or len(newest) == size:
            return _alike(newest[::-1])[::-1]
    return _alike(spool.oldest(size))


def _alike(events: list[Event]) -> list[Event]:
    """The first of `events`, and those after it as long as the clock was set, or not set, as it was for that one: the centre refuses
    a batch with times before 2000, and is not to refuse others with them."""
    return list(takewhile(lambda event: (event.ts < _EARLIEST) == (events[0].ts < _EARLIEST), events))


def _sealing(settings: DeviceSettings) -> Callable[[Sequence[Event], DeviceSettings, int, int, datetime], SealedBatch]:
    # Imported only when there is work: the first answer needs none of it.
    if settings.privacy.ship == AGGREGATES:
        from edge_runtime.aggregates import seal_aggregates

        return seal_aggregates
    from edge_runtime.sealing import seal_batch

    return seal_batch


def backoff(failures: int, *, base: float = 1.0, limit: float = 900.0) -> timedelta:
    """How long to wait after `failures` failures in a row: full jitter, between nothing and min(limit, base · 2^failures) seconds.

    Source: “Exponential Backoff And Jitter”, AWS Architecture Blog, 2015.
    """
    return timedelta(seconds=random.uniform(0, min(limit, base * 2.0 ** min(failures, 30))))
