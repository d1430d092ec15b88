"""A device: predict, record, and at times exchange with the store.

    with Device.open(home) as device:
        answer = device.predict({"temp": 21.5})
        device.exchange()

One thread may predict while another exchanges: what they share (`running.py`) changes under a lock that is never held during
network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.encoder import Tally
from edge_runtime.exchange import Exchange
from edge_runtime.history import History
from edge_runtime.predicting import Prediction, Predictor
from edge_runtime.releases import Release
from edge_runtime.rows import count_of, times_of, values_of, values_of_many
from edge_runtime.running import Running
from edge_runtime.settings import (
    DeviceSettings,
    demand_library,
    hold,
    read_hash_key,
    read_settings,
    without_budgets,
)
from edge_runtime.slots import Slots
from edge_runtime.spool import Spool
from edge_runtime.trusted_time import TrustedTime
from edgeloop.clock import Clock, system_clock
from edgeloop.errors import EdgeloopError
from edgeloop.status import STATUS_VERSION, DeviceStatus, UpdateState
from edgeloop.store import DeviceStore

if TYPE_CHECKING:
    from edge_runtime.rows import Reading, Readings

__all__ = ["Device", "Prediction"]


class Device:
    """One device over its home directory; made by `Device.open`, for one process at a time."""

    def __init__(
        self, home: Path, settings: DeviceSettings, spool: Spool, clock: Clock, store: DeviceStore | None = None
    ) -> None:
        self.home, self.settings, self._spool, self._clock = home, settings, spool, clock
        self._trusted = TrustedTime(spool, clock)
        slots, history = Slots(spool, settings.section, self._trusted), History(spool, clock, "has not polled yet")
        self._running = Running(home, settings.section.threads, spool, slots, history)
        self._exchange = Exchange(home, settings, spool, self._running, self._trusted, clock, store)
        self._predictor: Predictor  # of one that is opened: who only looks has no reading, and may have no key
        self._tally = Tally()
        self._width = len(settings.schema.features)
        self._carried = False

    @classmethod
    @contextmanager
    def inspect(cls, home: Path, *, clock: Clock = system_clock) -> Iterator[Device]:
        """The device in `home` to ask for its status, and nothing else: no file changes, and it may be running.

        Raises:
            ConfigError: there is no device in `home`.
            DataError: its state cannot be read.
        """
        settings = read_settings(home)
        with closing(Spool(home / "state.sqlite", settings.section, clock(), read_only=True)) as spool:
            device = cls(home, settings, spool, clock)
            device._running.recall()
            yield device

    @classmethod
    @contextmanager
    def open(cls, home: Path, *, clock: Clock = system_clock, store: DeviceStore | None = None) -> Iterator[Device]:
        """Open the device in `home`, and close it at the end; needs no network.

        An end without an exception, by one that asks the process to end, or by one of ours (a file of readings is damaged, say) is
        a clean one; any other counts as a crash of the release on probation.

        Args:
            store: instead of the one in the settings.

        Raises:
            ConfigError: there is no device in `home`, or another process runs it.
        """
        with cls._held(home, read_settings(home), store, clock) as device:
            device._start()
            try:
                yield device
            except (KeyboardInterrupt, SystemExit, EdgeloopError):
                device._running.slots.on_stop()
                raise
            device._running.slots.on_stop()

    @classmethod
    @contextmanager
    def visit(cls, home: Path, store: DeviceStore | None = None, *, clock: Clock = system_clock) -> Iterator[Device]:
        """The device in `home` to ship, poll and report by `store`, a stick, or to be rolled back; and not to predict.

        A stick has no budgets. It is no start of the release on probation, so however it ends that is no crash of it.

        Raises:
            as `open`.
        """
        with cls._held(home, without_budgets(read_settings(home)), store, clock) as device:
            device._carried = True
            device._running.visit()
            yield device

    @classmethod
    @contextmanager
    def _held(cls, home: Path, settings: DeviceSettings, store: DeviceStore | None, clock: Clock) -> Iterator[Device]:
        """The device in `home`, for this process alone."""
        demand_library(settings)
        with hold(home), closing(Spool(home / "state.sqlite", settings.section, clock())) as spool:
            yield cls(home, settings, spool, clock, store)

    @property
    def last_event(self) -> datetime | None:
        """The time of the last event recorded."""
        return self._spool.last_event

    def predict(self, reading: Reading, *, ts: datetime | None = None) -> Prediction:
        """Classify one reading and record the event.

        Args:
            reading: values by feature name, or an array of shape (d,), float32 or float64, in the schema's order, with the index
                for a category and anything for what is from the time. What is missing (NaN in a row), of a wrong kind or out of
                range is treated as the release that runs says, and counted.
            ts: when it was measured; now, if not given. Must carry a time zone.

        Raises:
            DataError: `reading` is no mapping, and no array of that shape and dtype. No event is recorded.
        """
        ts = self._clock() if ts is None else ts
        # A dict is what comes at every reading of most devices, and asking for more than its type would cost it.
        values = reading if type(reading) is dict else values_of(reading, self._width)
        return self._predictor.answer(values, ts)

    def predict_many(self, readings: Readings, *, ts: datetime | Sequence[datetime] | None = None) -> list[Prediction]:
        """Classify several readings, by one call of the runtime where that can be, and record an event each, in their order.

        On probation it is a call for each reading, so that each is judged by itself. The latency of an event is its share of
        the call.

        Args:
            readings: an array of shape (N, d), float32 or float64, or a list of what `predict` takes.
            ts: when they were measured: one time for all or one for each; now, if not given.

        Raises:
            DataError: a reading is none, as in `predict`, or there are other than N times. No event is recorded.
        """
        times = times_of(count_of(readings), ts, self._clock)
        values = values_of_many(readings, len(times), self._width)
        return self._predictor.answer_many(values, times)

    def flush(self) -> None:
        """Make every event recorded so far survive a power cut, if the disk does not fail."""
        self._spool.flush()

    def flush_due(self) -> None:
        """Write the events that have waited `flush_every`; for when no reading comes that would have them written."""
        self._spool.flush_due()

    def exchange(self) -> bool:
        """Flush, ship, poll, report; whether all of it succeeded."""
        self.flush()
        succeeded = True
        for step in (self.ship, lambda: self.poll(downloading=self.report), self.report):
            try:
                step()
            except EdgeloopError:
                succeeded = False
        return succeeded and self._running.history.last.state != "no-store"

    def ship(self) -> None:
        """Put what is spooled into the inbox, as far as the budgets allow. Raises as `shipper.ship`; what is not acknowledged stays."""
        self._exchange.ship()

    def poll(self, *, downloading: Callable[[], None] = lambda: None) -> None:
        """Ask which release to run; a new one is verified, self-tested and put on probation.

        Args:
            downloading: called before a download, which can be a long one; it may raise `StoreError`.
        """
        self._exchange.poll(downloading)

    def report(self) -> None:
        """Write the status object. Raises `StoreError`."""
        self._exchange.report(self.status())

    def way_back(self) -> Release:
        """The release that `roll_back` goes to, verified and loaded.

        Raises:
            RefusedError: there is none to go back to, it is damaged, or the rollout forbids it.
        """
        return self._running.way_back(self._exchange.rollout)

    def roll_back(self, reason: str = "") -> None:
        """Leave the release that runs, for ever, for the one before it: by hand, and without a network.

        Raises:
            RefusedError: as `way_back`.
            DataError: the disk does not take it.
        """
        self._running.leave(reason, self._exchange.rollout)

    def status(self) -> DeviceStatus:
        """What runs here, and the books as a power cut would leave them."""
        with self._running.lock:
            release, (produced, acked, shed) = self._running.release, self._spool.books
            return DeviceStatus(
                version=STATUS_VERSION,
                loop=self.settings.loop,
                device=self.settings.device,
                time=self._clock(),
                epoch=self._spool.epoch,
                produced=produced,
                acked=acked,
                shed=shed,
                spooled=produced - acked - shed,
                release=release.sha256 if release else "",
                release_id=release.manifest.id if release else "",
                on_probation=bool(self._running.slots.staged),
                update=self._update_and_faults(),
                refused=self._refused(),
                invalid=dict(self._tally.invalid),
                imputed=dict(self._tally.imputed),
                clamped=dict(self._tally.clamped),
                rejected=dict(self._tally.rejected),
                uploaded_bytes=self._exchange.uploaded,
                downloaded_bytes=self._exchange.downloaded,
                runtime=release.runtime if release else "",
                last_event=self._spool.last_event,
                steps=self._running.history.steps,
                verified_at=self._trusted.verified_at,
                stale=self._exchange.stale,
                shipping=self._exchange.shipping,
                carried=self._carried,
            )

    @property
    def fault(self) -> str:
        """What keeps this device from its work: its model, its disk; empty if nothing does. Takes no lock."""
        return "; ".join(filter(None, (self._running.fault, self._spool.fault)))

    def _update_and_faults(self) -> UpdateState:
        last = self._running.history.last
        reasons = (last.reason, self.fault, self._spool.set_aside)
        return msgspec.structs.replace(last, reason="; ".join(filter(None, reasons)))

    def _refused(self) -> dict[str, str]:
        """The latest that are refused. No more releases of a loop can be rolled out, and a status has a bound."""
        return dict(list(self._running.slots.refusals.in_force(self._trusted()).items())[-20:])

    def _start(self) -> None:
        key = read_hash_key(self.home, self.settings)  # before a start is counted, for without it there is none
        self._running.start()
        self._predictor = Predictor(self._running, self._spool, self.settings.schema, key, self._tally)
