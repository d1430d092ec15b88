"""A device: predict, record, and at times exchange with the store.

    with Device.open(home) as device:
        answer = device.predict({"temp": 21.5})
        device.exchange()

`predict` does no I/O but the grouped write of the spool. `exchange` ships, polls and reports; each of the three may fail for
want of a link, which is recorded and stops neither the others nor inference.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge_runtime.releases import Release, keep_only
from edge_runtime.settings import DeviceSettings, read_settings
from edge_runtime.shipper import ship
from edge_runtime.slots import Judgement, Slots
from edge_runtime.spool import Spool
from edge_runtime.updater import poll
from edgeloop.clock import Clock, system_clock
from edgeloop.errors import EdgeloopError, ModelError, TrustError
from edgeloop.layout import Layout
from edgeloop.status import STATUS_VERSION, DeviceStatus, UpdateState
from edgeloop.store import Store, open_store

_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one reading: class and its probability (None while there is no release), and the event's sequence number."""

    label: str | None
    confidence: float | None
    seq: int


class Device:
    """One device over its home directory; made by `Device.open`. For one thread and one process at a time."""

    def __init__(self, home: Path, settings: DeviceSettings, spool: Spool, clock: Clock) -> None:
        self.home, self.settings, self._spool, self._clock = home, settings, spool, clock
        self._store: Store | None = None
        section = settings.section
        self._slots = Slots(spool, section.probation_events, section.crash_limit, section.latency_budget_ms * 1000)
        self._encoder = settings.schema.encoder()
        self._update = UpdateState("idle", spool.set_aside or "just started", clock())
        self._uploaded = int(spool.get("uploaded", "0"))
        self._downloaded = int(spool.get("downloaded", "0"))
        self._release: Release | None = None

    @classmethod
    @contextmanager
    def inspect(cls, home: Path, *, clock: Clock = system_clock) -> Iterator[Device]:
        """The device in `home` to look at: nothing runs on it, and no start is counted. Raises as `open`."""
        settings = read_settings(home)
        device = cls(home, settings, Spool(home / "state.sqlite", settings.section, clock()), clock)
        device._release = device._load_running()
        try:
            yield device
        finally:
            device.close()

    @classmethod
    @contextmanager
    def open(cls, home: Path, *, clock: Clock = system_clock, store: Store | None = None) -> Iterator[Device]:
        """Open the device in `home`, and close it at the end; needs no network.

        Args:
            store: instead of the one in the settings.

        Raises:
            ConfigError: there is no device in `home`.
        """
        with cls.inspect(home, clock=clock) as device:
            device._store = store
            device._judge(device._slots.on_start())
            yield device

    @property
    def last_event(self) -> datetime | None:
        """The time of the last event recorded."""
        return self._spool.last_event

    def predict(self, reading: Mapping[str, Any], *, ts: datetime | None = None) -> Prediction:
        """Classify one reading and record the event.

        Args:
            reading: values by feature name; what is missing, of a wrong kind or out of range is given to the model as missing,
                and counted.
            ts: when it was measured; now, if not given. Must carry a time zone.
        """
        ts = self._clock() if ts is None else ts
        row = self._encoder.encode(reading, ts)
        at = (ts - _EPOCH_0) // _MICROSECOND
        release = self._release
        if release is None:
            return Prediction(None, None, self._spool.record(at, None, None, None, None, row))
        began = time.perf_counter()
        probabilities = release.model.probabilities(row)
        latency = (time.perf_counter() - began) * 1e6
        confidence = max(probabilities)
        if self._slots.staged:
            self._judge(self._slots.observe(probabilities, latency))
        if confidence != confidence:
            return Prediction(None, None, self._spool.record(at, release.sha256, None, None, latency, row))
        label = release.classes[probabilities.index(confidence)]
        return Prediction(label, confidence, self._spool.record(at, release.sha256, label, confidence, latency, row))

    def flush(self) -> None:
        """Make every event recorded so far survive a power cut."""
        self._spool.flush()

    def exchange(self) -> None:
        """Flush, ship, poll, report."""
        self.flush()
        for step in (self.ship, self.poll, self.report):
            with contextlib.suppress(EdgeloopError):
                step()

    def ship(self) -> None:
        """Put everything spooled into the inbox. Raises `StoreError`; what is not acknowledged stays."""
        self._spool.flush()
        try:
            self._uploaded += ship(self._spool, self._open_store(), self.settings, self._clock())
        finally:
            self._spool.put(uploaded=self._uploaded)

    def poll(self) -> None:
        """Ask which release to run; a new one is verified, self-tested and put on probation."""
        now = self._trusted_now()
        found = poll(self.home, self._open_store(), self.settings, self._slots, now)
        self._downloaded += found.downloaded
        self._spool.put(downloaded=self._downloaded)
        if found.state not in ("no-store", "refused-metadata"):
            self._spool.put(verified_at=now.isoformat())
        self._update = UpdateState(found.state, found.reason, self._clock())
        if found.release is not None:
            self._activate(found.release)

    def report(self) -> None:
        """Write the status object. Raises `StoreError`."""
        self._open_store().replace(Layout(self.settings.loop).status(self.settings.device), self.status().encode())

    def status(self) -> DeviceStatus:
        """What runs here, and the books."""
        release, spool = self._release, self._spool
        return DeviceStatus(
            version=STATUS_VERSION,
            loop=self.settings.loop,
            device=self.settings.device,
            time=self._clock(),
            epoch=spool.epoch,
            produced=spool.produced,
            acked=spool.acked,
            shed=spool.shed,
            spooled=spool.spooled,
            release=release.sha256 if release else "",
            release_id=release.manifest.id if release else "",
            on_probation=bool(self._slots.staged),
            update=self._update,
            refused=self._slots.refused,
            invalid=self._encoder.invalid,
            uploaded_bytes=self._uploaded,
            downloaded_bytes=self._downloaded,
            runtime=release.runtime if release else "",
            last_event=spool.last_event,
        )

    def close(self) -> None:
        """Flush and close."""
        self._spool.close()

    def _activate(self, release: Release) -> None:
        if release.sha256 == self._slots.committed:
            self._slots.return_to(release.sha256)
            self._update = UpdateState(
                "rolled-back", "the centre took its candidate back", self._clock(), release.sha256
            )
        else:
            self._slots.stage(release.sha256)
        self._release = release
        keep_only(self.home / "models", {self._slots.running, self._slots.committed})

    def _judge(self, judgement: Judgement | None) -> None:
        if judgement is None:
            return
        self._update = UpdateState(judgement.state, judgement.reason, self._clock(), self._slots.running)
        if judgement.state == "rolled-back":
            self._release = self._load_running()

    def _load_running(self) -> Release | None:
        """The release in the running slot, re-hashed; back to the committed one, or to none, if it is damaged."""
        for digest in dict.fromkeys((self._slots.staged, self._slots.committed)):
            if not digest:
                continue
            try:
                return Release(self.home / "models" / digest, digest, self.settings.section.threads)
            except (TrustError, ModelError) as error:
                self._update = UpdateState("refused-release", str(error), self._clock(), digest)
                self._slots.forget(digest)
        return None

    def _trusted_now(self) -> datetime:
        """The clock, but never earlier than a time at which metadata was verified before."""
        verified = self._spool.get("verified_at", "")
        return max(self._clock(), datetime.fromisoformat(verified)) if verified else self._clock()

    def _open_store(self) -> Store:
        if self._store is None:
            self._store = open_store(self.settings.store)
        return self._store
