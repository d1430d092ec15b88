"""The status object: what a device says of itself, overwritten in place at each exchange with the store."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from edgeloop.errors import DataError
from edgeloop.manifest import decode_document

STATUS_VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0, lt=10**12)]
"""Of events: a batch's name has twelve digits for one."""
Bytes = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class UpdateState(msgspec.Struct, frozen=True):
    """A step of the updater: `state` is one of the words in docs/updates.md, `reason` says why in a sentence, and `release` is the
    manifest digest of the one that it is about, empty if there is none."""

    state: str
    reason: str
    at: Moment
    release: str = ""


class DeviceStatus(msgspec.Struct, frozen=True):
    """What runs on a device, since when, and its books.

    In this epoch `produced` events got a sequence number; of these, `acked` are in the store, `shed` were dropped
    for want of disk and `spooled` wait; `shipping` says why, if that is for a budget or for a fault. `release` is a manifest
    digest, empty before the first release. `steps` are the updater's last ones, oldest first. `verified_at` is when metadata was
    verified last, and `stale` says that this is longer ago than the rollout allows. `carried` says
    that it was written to a stick.

    By feature, of values that came to the process that runs: `invalid`, which were none or out of range, whatever then became of
    them; `imputed` in their place or in that of missing ones, `clamped` into the range, `rejected` with their reading.
    """

    version: int
    loop: str
    device: str
    time: Moment
    epoch: Annotated[int, msgspec.Meta(ge=0, lt=10**6)]
    produced: Count
    acked: Count
    shed: Count
    spooled: Count
    release: str
    release_id: str
    on_probation: bool
    update: UpdateState
    refused: dict[str, str]
    invalid: dict[str, int]
    uploaded_bytes: Bytes
    downloaded_bytes: Bytes
    runtime: str
    last_event: Moment | None = None
    steps: tuple[UpdateState, ...] = ()
    verified_at: Moment | None = None
    stale: bool = False
    shipping: str = ""
    imputed: dict[str, int] = {}
    clamped: dict[str, int] = {}
    rejected: dict[str, int] = {}
    carried: bool = False

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def decode_status(content: bytes) -> DeviceStatus:
    """Read a status object. Raises `DataError` as `decode_document`, and if its books cannot be true."""
    status = decode_document(content, DeviceStatus, STATUS_VERSION, "device status")
    if status.acked + status.shed + status.spooled != status.produced:
        raise DataError(
            f"device status says {status.produced} produced = {status.acked} acknowledged + {status.shed} shed +"
            f" {status.spooled} waiting, which is not so.",
            remedy="Find out who wrote it.",
        )
    return status
