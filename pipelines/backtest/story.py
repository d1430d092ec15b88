"""What happened in a backtest, gathered for the report: bytes over time, releases, rollouts, trainings, the books."""

from __future__ import annotations

from collections.abc import Sequence
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
from fleet.releases import list_releases
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

Decisions = list[tuple[datetime, str, str, str]]
"""(when, release, verdict, reason), oldest first."""


@dataclass
class Story:
    """Kept while a backtest plays. `played` is readings by device; `kills` and `corrupted` count what was done on purpose."""

    played: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, DeviceStatus] = field(default_factory=dict)
    kills: int = 0
    corrupted: int = 0
    bytes: list[BytesAt] = field(default_factory=list)
    releases: dict[str, ReleaseRow] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, at: datetime, statuses: dict[str, DeviceStatus], store: Store, keys: Keys, loop: str) -> None:
        """Note how many bytes the fleet has moved by `at`, and which releases are live: the oldest do not stay so."""
        up = sum(s.uploaded_bytes for s in statuses.values())
        self.bytes.append(BytesAt(at, up, sum(s.downloaded_bytes for s in statuses.values())))
        for release in list_releases(store, keys, loop):
            manifest = release.manifest
            self.releases.setdefault(manifest.id, ReleaseRow(manifest.id, release.sha256, manifest.created))

    def details(
        self,
        config: LoopConfig,
        scenario: Scenario,
        notes: Sequence[str],
        books: pa.Table,
        trainings: list[TrainingRow],
        decisions: Decisions,
    ) -> Details:
        """Everything for the report."""
        return Details(
            loop=config.name,
            description=config.loop.description,
            start=scenario.start,
            seed_end=scenario.seed_end,
            end=scenario.end,
            shipped=sum(s.acked for s in self.statuses.values()),
            kills=self.kills,
            corrupted=self.corrupted,
            devices=tuple(self._device(row, scenario) for row in books.to_pylist()),
            faults=tuple(FaultRow(f.kind, f.device, f.start, f.end) for f in scenario.faults if f.start < scenario.end),
            trainings=tuple(trainings),
            bytes_over_time=tuple(self.bytes),
            decisions=tuple((at, release, verdict) for at, release, verdict, _ in decisions),
            notes=tuple(notes),
        )

    def _device(self, row: dict[str, int | str], scenario: Scenario) -> DeviceRow:
        device = str(row["device"])
        counts = {name: int(row[name]) for name in ("produced", "ingested", "shed", "missing", "quarantined")}
        release = self.statuses[device].release_id or "none"
        return DeviceRow(device=device, joined=scenario.joins.get(device, scenario.start), release=release, **counts)


def read_decisions(lake: Lake) -> Decisions:
    """Every decision on a rollout."""
    if lake.table("decisions") is None:
        return []
    # Within one instant a look, which has evidence, comes before what ended the rollout.
    query = "SELECT decided, release, verdict, reason FROM decisions ORDER BY decided, rollout, evidence = '{}'"
    return lake.connect(decisions=None).execute(query).fetchall()


def last_words(decisions: Decisions) -> list[RolloutRow]:
    """The last decision on each release, in the order in which they were started."""
    last: dict[str, RolloutRow] = {}
    for _, release, verdict, reason in decisions:
        last[release] = RolloutRow(release, verdict, reason)
    return list(last.values())


def read_trainings(store: Store, config: LoopConfig) -> list[TrainingRow]:
    """Every training that ended with a verdict, oldest first."""
    paths = (entry.path for entry in store.list(config.layout.trainings))
    numbers = sorted({int(path.split("/")[-2]) for path in paths})
    rows = []
    for number in numbers:
        try:
            training = read_training(store, config.layout, number)
        except NotFound:
            continue
        manifest, verdict = training.manifest, training.verdict
        checks = tuple(CheckRow(c.name, c.passed, c.sentence) for c in verdict.checks)
        rows.append(
            TrainingRow(manifest.id, manifest.created, manifest.lineage.rows, verdict.passed, verdict.reason, checks)
        )
    return rows
