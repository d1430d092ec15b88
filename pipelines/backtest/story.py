"""What happened in a backtest, gathered for the report: bytes over time, releases, rollouts, trainings, the books."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from assets.trainings import read_training
from edgeloop.config import LoopConfig
from edgeloop.errors import NotFound
from edgeloop.lake import Lake
from edgeloop.status import DeviceStatus
from edgeloop.store import Store
from fleet.keys import Keys
from fleet.rollouts import read_current
from pipelines.backtest.scenario import Scenario
from pipelines.backtest.summary import (
    BytesAt,
    CheckRow,
    Details,
    DeviceRow,
    FaultRow,
    ReleaseRow,
    RolloutRow,
    TrainingRow,
)


@dataclass
class Story:
    """Kept while a backtest plays. `played` is readings by device; `kills` and `corrupted` count what was done on purpose."""

    played: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, DeviceStatus] = field(default_factory=dict)
    kills: int = 0
    corrupted: int = 0
    bytes: list[BytesAt] = field(default_factory=list)

    def note_bytes(self, at: datetime, statuses: dict[str, DeviceStatus]) -> None:
        """Note how many bytes the fleet has moved by `at`."""
        up = sum(s.uploaded_bytes for s in statuses.values())
        self.bytes.append(BytesAt(at, up, sum(s.downloaded_bytes for s in statuses.values())))
