"""From events to the bytes of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from edge_runtime.groups import Event
from edge_runtime.parquet import Column, write_parquet
from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import SealedBatch
from edgeloop.layout import BatchName
from edgeloop.schema import EVENT_SCHEMA, FeatureSchema


def seal_batch(events: Sequence[Event], settings: DeviceSettings, epoch: int, shed: int, now: datetime) -> SealedBatch:
    """Make the Parquet file of `events` (at least one, by sequence number), and name it by its digest.

    Args:
        shed: how many events of this epoch were shed so far; travels with the batch so that the books close without a status.
    """
    content = write_parquet(_columns(events, settings.schema), describe(settings, epoch, shed, now))
    name = BatchName(epoch, events[0].seq, sha256(content).hexdigest())
    return SealedBatch(str(name), len(events), content)


def describe(settings: DeviceSettings, epoch: int, shed: int, now: datetime) -> dict[str, str]:
    """What a batch, of whichever kind, says of itself in its metadata."""
    return {
        "edgeloop.schema": str(EVENT_SCHEMA),
        "loop": settings.loop,
        "device": settings.device,
        "epoch": str(epoch),
        "features": settings.schema.digest,
        "shed": str(shed),
        "sealed_at": now.isoformat(),
    }


def _columns(events: Sequence[Event], features: FeatureSchema) -> list[Column]:
    """The columns of `edgeloop.events.batch_schema`, which is said in Arrow and so not for a device."""
    return [
        Column("seq", "int64", [e.seq for e in events]),
        Column("ts", "time", [e.ts for e in events]),
        Column("release", "text", [e.release for e in events]),
        Column("prediction", "text", [e.prediction for e in events]),
        Column("confidence", "float32", [_rounded(e.confidence, 4) for e in events]),
        Column("latency_us", "float32", [_rounded(_measured(e.latency_us), 1) for e in events]),
        Column("weight", "float32", [e.weight for e in events]),
        *(Column(name, "float32", [_present(e.inputs[i]) for e in events]) for i, name in enumerate(features.columns)),
    ]


def _measured(latency: float | None) -> float | None:
    """To three digits: what is behind them is noise, and noise is what a batch is made of."""
    return None if latency is None else float(f"{latency:.3g}")


def _rounded(value: float | None, decimals: int) -> float | None:
    """To so many decimals; what is finer no reader asks for."""
    return None if value is None else round(value, decimals)


def _present(value: float | None) -> float | None:
    return None if value is None or value != value else value
