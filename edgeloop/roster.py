"""The fleet as its devices report it: one status object each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from edgeloop.errors import DataError, NotFound
from edgeloop.layout import Layout
from edgeloop.status import DeviceStatus, decode_status
from edgeloop.store import Store

STATUS_BYTES = 64 * 1024
"""A status object is a few hundred bytes; a device that writes more than this is not listened to."""


@dataclass(frozen=True)
class Roster:
    """The statuses that could be read, by device id, and why the others could not."""

    devices: dict[str, DeviceStatus]
    unreadable: dict[str, str]

    def stale(self, now: datetime, max_offline_days: int) -> list[str]:
        """The devices that verified metadata longer ago than that: by their own word, or by their last one and the time since."""
        verified = {device: status.verified_at for device, status in self.devices.items()}
        overdue = {d for d, at in verified.items() if at and (now - at) / timedelta(days=1) > max_offline_days}
        return [device for device, status in self.devices.items() if status.stale or device in overdue]


def read_roster(store: Store, layout: Layout) -> Roster:
    """Read every status object of a loop; a bad one never hides the others."""
    devices: dict[str, DeviceStatus] = {}
    unreadable: dict[str, str] = {}
    for entry in sorted(store.list(layout.statuses), key=lambda e: e.path):
        device = entry.path.rpartition("/")[2].removesuffix(".json")
        try:
            devices[device] = _read_status(store, entry.path, entry.size, device)
        except (DataError, NotFound) as error:
            unreadable[device] = str(error)
    return Roster(devices, unreadable)


def _read_status(store: Store, path: str, size: int, device: str) -> DeviceStatus:
    if size > STATUS_BYTES:
        raise DataError(f"the status of {device} has {size} bytes, at most {STATUS_BYTES} are read.")
    status = decode_status(store.read(path))
    if status.device != device:
        raise DataError(f"the status at {path} says it is of {status.device!r}.", remedy="Find out who wrote it.")
    return status
