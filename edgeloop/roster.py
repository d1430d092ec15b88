"""The fleet as its devices report it: one status object each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from edgeloop.errors import DataError, NotFound
from edgeloop.layout import Layout
from edgeloop.status import DeviceStatus, decode_status
from edgeloop.store import Entry, Store

STATUS_BYTES = 64 * 1024
"""A status object is a few hundred bytes; a device that writes more than this is not listened to."""


@dataclass(frozen=True)
class Roster:
    """The statuses that could be read, by device id, and why the others could not.

    `slow` is by how many seconds a device's clock was behind the store's when it wrote its status; of one that came by a stick
    nobody knows.
    """

    devices: dict[str, DeviceStatus]
    unreadable: dict[str, str]
    slow: dict[str, float]

    def stale(self, now: datetime, max_offline_days: int) -> list[str]:
        """The devices that verified metadata longer ago than that: by their own word, or by their last one and the time since."""
        verified = {device: status.verified_at for device, status in self.devices.items()}
        overdue = {d for d, at in verified.items() if at and (now - at) / timedelta(days=1) > max_offline_days}
        return [device for device, status in self.devices.items() if status.stale or device in overdue]


def read_roster(store: Store, layout: Layout) -> Roster:
    """Read every status object of a loop; a bad one never hides the others."""
    devices: dict[str, DeviceStatus] = {}
    unreadable: dict[str, str] = {}
    slow: dict[str, float] = {}
    for entry in sorted(store.list(layout.statuses), key=lambda e: e.path):
        device = entry.path.rpartition("/")[2].removesuffix(".json")
        try:
            status = devices[device] = _read_status(store, entry, device)
            if not status.carried:
                slow[device] = (entry.modified - status.time).total_seconds()
        except (DataError, NotFound) as error:
            unreadable[device] = str(error)
    return Roster(devices, unreadable, slow)


def _read_status(store: Store, entry: Entry, device: str) -> DeviceStatus:
    if entry.size > STATUS_BYTES:
        raise DataError(f"the status of {device} has {entry.size} bytes, at most {STATUS_BYTES} are read.")
    status = decode_status(store.read(entry.path))
    if status.device != device:
        raise DataError(f"the status at {entry.path} says it is of {status.device!r}.", remedy="Find out who wrote it.")
    return status
