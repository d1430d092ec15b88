"""The fleet as its devices report it: one status object each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from edgeloop.errors import DataError, NotFound
from edgeloop.layout import Layout
from edgeloop.manifest import decode_document
from edgeloop.status import DeviceStatus, decode_status
from edgeloop.store import Entry, Store

STATUS_BYTES = 64 * 1024
"""A status object is a few hundred bytes; a device that writes more than this is not listened to."""


PLAYED_VERSION = 1


class Played(msgspec.Struct, frozen=True):
    """A backtest played this loop in this store; its own clock ended at `until`."""

    version: int
    until: datetime


@dataclass(frozen=True)
class Roster:
    """The statuses that could be read, by device id, and why the others could not.

    `slow` is by how many seconds a device's clock was behind the store's when it wrote its status; of one that came by a stick, or
    that last ran on a backtest's clock, nobody knows. `played_until` is when that clock ended, if there was a backtest.
    """

    devices: dict[str, DeviceStatus]
    unreadable: dict[str, str]
    slow: dict[str, float]
    played_until: datetime | None = None

    @property
    def simulated(self) -> list[str]:
        """The devices whose last word is by a backtest's clock."""
        return [d for d, status in self.devices.items() if _simulated(status, self.played_until)]

    def stale(self, now: datetime, max_offline_days: int) -> list[str]:
        """The devices that verified metadata longer ago than that: by their own word, or by their last one and the time since.

        On a backtest's clock no time has gone by since it ended.
        """
        verified = {d: s.verified_at for d, s in self.devices.items() if not _simulated(s, self.played_until)}
        overdue = {d for d, at in verified.items() if at and (now - at) / timedelta(days=1) > max_offline_days}
        return [device for device, status in self.devices.items() if status.stale or device in overdue]


def read_roster(store: Store, layout: Layout) -> Roster:
    """Read every status object of a loop; a bad one never hides the others."""
    devices: dict[str, DeviceStatus] = {}
    unreadable: dict[str, str] = {}
    slow: dict[str, float] = {}
    played_until = _played_until(store, layout)
    for entry in sorted(store.list(layout.statuses), key=lambda e: e.path):
        device = entry.path.rpartition("/")[2].removesuffix(".json")
        try:
            status = devices[device] = _read_status(store, entry, device)
            if not (status.carried or _simulated(status, played_until)):
                slow[device] = (entry.modified - status.time).total_seconds()
        except (DataError, NotFound) as error:
            unreadable[device] = str(error)
    return Roster(devices, unreadable, slow, played_until)


def mark_played(store: Store, layout: Layout, until: datetime) -> None:
    """Say in the store that a backtest plays the loop there, and when its clock will end."""
    store.create(layout.played, msgspec.json.encode(Played(PLAYED_VERSION, until)))


def _played_until(store: Store, layout: Layout) -> datetime | None:
    try:
        return decode_document(store.read(layout.played), Played, PLAYED_VERSION, layout.played).until
    except NotFound:
        return None


def _simulated(status: DeviceStatus, played_until: datetime | None) -> bool:
    # Of a device that has run since on a clock of its own, that is what counts.
    return played_until is not None and status.time <= played_until


def _read_status(store: Store, entry: Entry, device: str) -> DeviceStatus:
    if entry.size > STATUS_BYTES:
        raise DataError(f"the status of {device} has {entry.size} bytes, at most {STATUS_BYTES} are read.")
    status = decode_status(store.read(entry.path, STATUS_BYTES))
    if status.device != device:
        raise DataError(f"the status at {entry.path} says it is of {status.device!r}.", remedy="Find out who wrote it.")
    return status
