"""A device: predict, record, and at times exchange with the store.

    with Device.open(home) as device:
        answer = device.predict({"temp": 21.5})
        device.exchange()

`predict` does no I/O but the grouped write of the spool, and raises for no fault of a model or a disk. `exchange` ships, polls
and reports; each of the three may fail for want of a link, which is recorded and stops neither the others nor inference.

One thread may predict while another exchanges: what they share changes under a lock that is never held during network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.budget import Budget
from edge_runtime.encoder import Encoder, Inputs, Tally, Values
from edge_runtime.history import History
from edge_runtime.releases import Release, keep_only
from edge_runtime.rows import count_of, values_of, values_of_many
from edge_runtime.settings import (
    DeviceSettings,
    demand_library,
    hold,
    kept_rollout,
    read_credentials,
    read_hash_key,
    read_settings,
    without_budgets,
)
from edge_runtime.shipper import ship
from edge_runtime.slots import Judgement, Slots
from edge_runtime.spool import Spool
from edge_runtime.trusted_time import TrustedTime
from edgeloop.clock import EPOCH_0, Clock, system_clock
from edgeloop.errors import DataError, EdgeloopError, RefusedError, StoreError
from edgeloop.layout import Layout
from edgeloop.status import STATUS_VERSION, DeviceStatus, UpdateState
from edgeloop.store import DeviceStore, open_store

if TYPE_CHECKING:
    from edge_runtime.rows import Reading, Readings

_MICROSECOND = timedelta(microseconds=1)


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one reading: class and its probability, both None if there is none, and the event's sequence number.

    `reason` says why there is none; it is empty if there is one.
    """

    label: str | None
    confidence: float | None
    seq: int
    reason: str = ""


class Device:
    """One device over its home directory; made by `Device.open`, for one process at a time."""

    def __init__(self, home: Path, settings: DeviceSettings, spool: Spool, clock: Clock) -> None:
        self.home, self.settings, self._spool, self._clock = home, settings, spool, clock
        self._store: DeviceStore | None = None
        self._trusted = TrustedTime(spool, clock)
        self._slots = Slots(spool, settings.section, self._trusted)
        self._history = History(spool, clock, first="has not polled yet")
        self._rollout = kept_rollout(home)
        self._tally = Tally()
        self._hash_key = b""
        self._width = len(settings.schema.features)
        self._encoder: Encoder  # from the start on: who only looks has no reading, and may have no key
        self._encoded: Release | None = None
        self._uploaded = int(spool.get("uploaded", "0"))
        self._downloaded = int(spool.get("downloaded", "0"))
        self._shipping = spool.get("shipping", "")
        self._budget = Budget(settings.section, spool.get("allowance", ""), clock())
        self._release: Release | None = None
        self._fault, self._carried = "", False
        self._lock = threading.RLock()

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
            device._recall()
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
            DataError: its state cannot be opened.
        """
        with cls._held(home, read_settings(home), store, clock) as device:
            device._start()
            try:
                yield device
            except (KeyboardInterrupt, SystemExit, EdgeloopError):
                device._slots.on_stop()
                raise
            device._slots.on_stop()

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
            device._recall()
            if judgement := device._slots.on_visit():
                device._history.say(judgement.state, judgement.reason, judgement.release)
            yield device

    @classmethod
    @contextmanager
    def _held(cls, home: Path, settings: DeviceSettings, store: DeviceStore | None, clock: Clock) -> Iterator[Device]:
        """The device in `home`, for this process alone."""
        demand_library(settings)
        with hold(home), closing(Spool(home / "state.sqlite", settings.section, clock())) as spool:
            device = cls(home, settings, spool, clock)
            device._store = store
            yield device

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
        with self._lock:
            return self._answer((ts - EPOCH_0) // _MICROSECOND, values, ts)

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
        times = self._times(count_of(readings), ts)
        values = values_of_many(readings, len(times), self._width)
        ats = [(time - EPOCH_0) // _MICROSECOND for time in times]
        with self._lock:
            if self._release is None or self._slots.staged or not values:
                return [self._answer(*found) for found in zip(ats, values, times, strict=True)]
            if self._encoded is not self._release:
                self._renew_encoder()
            return self._answer_many(self._release, ats, list(map(self._encoder.encode, values, times)))

    def _times(self, count: int, ts: datetime | Sequence[datetime] | None) -> Sequence[datetime]:
        if ts is None or isinstance(ts, datetime):
            return [ts or self._clock()] * count
        if len(ts) != count:
            raise DataError(
                f"expected one time or {count}, one for each reading; found {len(ts)}.", remedy="Give as many."
            )
        return ts

    def _renew_encoder(self) -> None:
        """Encode by the schema of the release that runs."""
        schema, release = self.settings.schema, self._release
        # What is recorded has this device's columns, so of a release's schema only the policies may be others.
        if release is not None and release.manifest.schema.digest == schema.digest:
            schema = release.manifest.schema
        self._encoder, self._encoded = Encoder(schema, self._hash_key, self._tally), release

    def _answer(self, at: int, values: Values, ts: datetime) -> Prediction:
        if self._encoded is not self._release:  # another runs than at the last reading
            self._renew_encoder()
        # A release that fails on probation is put back, and the one before may treat the reading otherwise; both count it.
        return self._predict(at, self._encoder.encode(values, ts)) or self._answer(at, values, ts)

    def _predict(self, at: int, inputs: Inputs) -> Prediction | None:
        """The answer; None if the release failed over it, and another runs now."""
        release, (row, kept, reason) = self._release, inputs
        if release is None or reason:
            return self._record_none(release, at, kept, reason or "there is no release yet")
        began = time.perf_counter()
        try:
            probabilities = release.model.probabilities(row)
        except Exception as error:  # a runtime's errors have no common base, and none of them may stop the device
            return self._blame(release, error, at, kept)
        latency = (time.perf_counter() - began) * 1e6
        if self._slots.staged:
            self._judge(self._slots.observe(probabilities, latency))
            if self._release is not release:  # put back: the committed one answers in its place
                return None
        return self._record(release, probabilities, latency, at, kept)

    def _answer_many(self, release: Release, ats: list[int], many: list[Inputs]) -> list[Prediction]:
        rows = [row for row, _, reason in many if not reason]
        began = time.perf_counter()
        try:
            batch = iter(release.model.probabilities_many(rows) if rows else ())
        except Exception:  # it may be one of the rows: each by itself, and what fails then is said
            return [found for at, inputs in zip(ats, many, strict=True) if (found := self._predict(at, inputs))]
        latency = (time.perf_counter() - began) * 1e6 / max(1, len(rows))
        return [
            self._record_none(release, at, kept, reason)
            if reason
            else self._record(release, next(batch), latency, at, kept)
            for at, (_, kept, reason) in zip(ats, many, strict=True)
        ]

    def _record(
        self, release: Release, probabilities: list[float], latency: float, at: int, kept: list[float]
    ) -> Prediction:
        confidence = max(probabilities)
        if confidence != confidence:
            return self._record_none(release, at, kept, "the model gave no number", latency)
        label = release.classes[probabilities.index(confidence)]
        return Prediction(label, confidence, self._spool.record(at, release.sha256, label, confidence, latency, kept))

    def _record_none(
        self, release: Release | None, at: int, kept: list[float], reason: str, latency: float | None = None
    ) -> Prediction:
        ran = release.sha256 if release else None
        return Prediction(None, None, self._spool.record(at, ran, None, None, latency, kept), reason)

    def _blame(self, release: Release, error: Exception, at: int, kept: list[float]) -> Prediction | None:
        """The model failed: on probation it is put back, and the committed one is to answer; else the event has no prediction."""
        reason = f"the model failed: {type(error).__name__}: {str(error)[:200]}"
        error.__traceback__ = None  # it holds the model in memory
        if self._slots.staged:
            self._judge(self._slots.roll_back(reason))
            return None
        self._fault = reason
        return self._record_none(release, at, kept, reason)

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
        return succeeded and self._history.last.state != "no-store"

    def ship(self) -> None:
        """Put what is spooled into the inbox, as far as the budgets allow. Raises as `shipper.ship`; what is not acknowledged stays."""
        self._spool.flush()
        try:
            for sent in ship(self._spool, self._open_store(), self.settings, self._budget, self._clock):
                self._uploaded += sent
            self._shipping = self._budget.closed(self._clock()) if self._spool.spooled else ""
        except EdgeloopError as error:
            self._shipping = error.message
            raise
        finally:
            self._spool.put(uploaded=self._uploaded, shipping=self._shipping)

    def poll(self, *, downloading: Callable[[], None] = lambda: None) -> None:
        """Ask which release to run; a new one is verified, self-tested and put on probation.

        Args:
            downloading: called before a download, which can be a long one; it may raise `StoreError`.
        """
        # Only here: python-tuf is a quarter of what a start takes, and the first answer needs none of it.
        from edge_runtime.updater import poll

        def say(state: str, reason: str, release: str) -> None:
            with self._lock:
                self._history.say(state, reason, release)
            if state == "downloading":
                with suppress(StoreError):  # it is told in vain, and goes on
                    downloading()

        now = self._trusted()
        found = poll(self.home, self._open_store(), self.settings, self._slots, now, say)
        self._downloaded += found.downloaded
        self._spool.put(downloaded=self._downloaded)
        with self._lock:
            if found.verified:
                self._trusted.verified(now)
                self._rollout = found.rollout
            if found.release is not None:
                self._activate(found.release)
            elif found.refuse:
                self._slots.refuse(found.about, found.reason)
            self._history.say(found.state, found.reason, found.about)
        if found.release is not None or found.refuse:
            self._clear()

    def way_back(self) -> Release:
        """The release that `roll_back` goes to, verified and loaded.

        Raises:
            RefusedError: there is none to go back to, it is damaged, or the rollout forbids it.
        """
        if not self._slots.way_back:
            raise RefusedError(
                "there is no release on this device to go back to.",
                remedy="At the centre, `edgeloop rollout abort` takes a candidate back; else publish a better release.",
            )
        try:
            release = self._load(self._slots.way_back).load()
        except EdgeloopError as error:
            raise RefusedError(
                f"the release to go back to cannot be run: {error.message}", remedy="Nothing was changed."
            ) from error
        if self._rollout and release.manifest.counter < self._rollout.floor:
            raise RefusedError(
                f"{release.manifest.id}, the release to go back to, is under the rollout's floor of {self._rollout.floor}.",
                remedy="Nothing was changed. Publish a release that may run.",
            )
        return release

    def roll_back(self, reason: str = "") -> None:
        """Leave the release that runs, for ever, for the one before it: by hand, and without a network.

        Raises:
            RefusedError: as `way_back`.
            DataError: the disk does not take it.
        """
        with self._lock:
            release = self.way_back()
            judgement = self._slots.leave(": ".join(filter(None, ("by hand", reason))))
            self._history.say(judgement.state, judgement.reason, judgement.release)
            self._release, self._fault = release, ""
        if self._spool.fault:
            raise DataError(self._spool.fault, remedy="Make room on the disk, and do it again.")
        self._clear()

    def _clear(self) -> None:
        """Remove what no slot holds, once that is on disk: what the disk still names is what the next start looks for."""
        with self._lock:
            held = {*self._slots.held}
        if self._spool.flush():
            keep_only(self.home / "models", held)

    def report(self) -> None:
        """Write the status object. Raises `StoreError`."""
        self._open_store().replace(Layout(self.settings.loop).status(self.settings.device), self.status().encode())

    def status(self) -> DeviceStatus:
        """What runs here, and the books as a power cut would leave them."""
        with self._lock:
            release, (produced, acked, shed) = self._release, self._spool.books
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
                on_probation=bool(self._slots.staged),
                update=self._update_and_faults(),
                refused=self._refused(),
                invalid=dict(self._tally.invalid),
                imputed=dict(self._tally.imputed),
                clamped=dict(self._tally.clamped),
                rejected=dict(self._tally.rejected),
                uploaded_bytes=self._uploaded,
                downloaded_bytes=self._downloaded,
                runtime=release.runtime if release else "",
                last_event=self._spool.last_event,
                steps=self._history.steps,
                verified_at=self._trusted.verified_at,
                stale=self._rollout is not None and self._trusted.over(self._rollout.max_offline_days),
                shipping=self._shipping,
                carried=self._carried,
            )

    @property
    def fault(self) -> str:
        """What keeps this device from its work: its model, its disk; empty if nothing does. Takes no lock."""
        return "; ".join(filter(None, (self._fault, self._spool.fault)))

    def _update_and_faults(self) -> UpdateState:
        last = self._history.last
        reasons = (last.reason, self.fault, self._spool.set_aside)
        return msgspec.structs.replace(last, reason="; ".join(filter(None, reasons)))

    def _refused(self) -> dict[str, str]:
        """The latest that are refused. No more releases of a loop can be rolled out, and a status has a bound."""
        return dict(list(self._slots.refusals.in_force(self._trusted()).items())[-20:])

    def _recall(self) -> None:
        """What runs here, as the process that ran the device left it."""
        self._release = self._load_running(forget=False)

    def _start(self) -> None:
        self._hash_key = read_hash_key(self.home, self.settings)
        self._renew_encoder()
        # Counted before anything is loaded: loading can end the process too.
        judgement = self._slots.on_start()
        self._history.note("idle", "just started")
        if judgement is not None:
            self._history.say(judgement.state, judgement.reason, judgement.release)
        self._release = self._load_running(forget=True)

    def _activate(self, release: Release) -> None:
        if release.sha256 in self._slots.proven:
            self._slots.return_to(release.sha256)
        else:
            self._slots.stage(release.sha256)
        self._release, self._fault = release, ""

    def _judge(self, judgement: Judgement | None) -> None:
        if judgement is None:
            return
        self._history.say(judgement.state, judgement.reason, judgement.release)
        if judgement.state == "rolled-back":
            if self._release is not None:
                self._release.unload()  # three models would be in memory, if another were being tested just now
            self._release = self._load_running(forget=True)

    def _load_running(self, *, forget: bool) -> Release | None:
        """The release in the running slot, re-hashed; if it is damaged the one in the next slot, or none.

        Args:
            forget: this process is to run it: have its model in memory, and empty the slots of what is damaged, so that it is
                fetched again.
        """
        for digest in self._slots.held:
            try:
                release = self._load(digest)
                return release.load() if forget else release
            except EdgeloopError as error:
                (self._history.say if forget else self._history.note)("refused-release", str(error), digest)
                if forget:
                    self._slots.forget(digest)
        return None

    def _load(self, digest: str) -> Release:
        return Release(self.home / "models" / digest, digest, self.settings.section.threads)

    def _open_store(self) -> DeviceStore:
        if self._store is None:
            self._store = open_store(
                self.settings.store, read_credentials(self.home), deadline=self.settings.section.request_deadline
            )
        return self._store
