"""The status object: what a device says of itself, overwritten in place at each exchange with the store."""

from __future__ import annotations

from datetime import datetime

import msgspec

from edgeloop.manifest import decode_document

STATUS_VERSION = 1


class UpdateState(msgspec.Struct, frozen=True):
    """The last step of the updater: `state` is one of the words in docs/device.md, `reason` says why in a sentence."""

    state: str
    reason: str
    at: datetime
    release: str = ""


class DeviceStatus(msgspec.Struct, frozen=True):
    """What runs on a device, since when, and its books.

    In this epoch `produced` events got a sequence number; of these, `acked` are in the store, `shed` were dropped
    for want of disk and `spooled` wait. `release` is a manifest digest, empty before the first release.
    """

    version: int
    loop: str
    device: str
    time: datetime
    epoch: int
    produced: int
    acked: int
    shed: int
    spooled: int
    release: str
    release_id: str
    on_probation: bool
    update: UpdateState
    refused: dict[str, str]
    invalid: dict[str, int]
    uploaded_bytes: int
    downloaded_bytes: int
    runtime: str
    last_event: datetime | None = None

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def decode_status(content: bytes) -> DeviceStatus:
    """Read a status object. Raises `DataError` as `decode_document`."""
    return decode_document(content, DeviceStatus, STATUS_VERSION, "device status")
