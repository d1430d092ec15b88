"""What the parent knows of its devices, held against what the centre has of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from benchmarks.device_faults.diary import ACTIVATED, BARE
from benchmarks.device_faults.life import number_of
from benchmarks.device_faults.victim import Victim
from ingest.derived.completeness import completeness
from tests.site import Site


@dataclass
class Findings:
    """What a campaign found; all that `never` names is to be 0."""

    seconds: float
    offers: int
    kills: int = 0
    answered: int = 0
    counted: int = 0
    lost_within_window: int = 0
    lost_beyond_window: int = 0
    doubled: int = 0
    missing: int = 0
    quarantined: int = 0
    without_model: int = 0
    unsigned: int = 0
    activations: int = 0
    fell: Counter[str] = field(default_factory=Counter)

    @property
    def never(self) -> dict[str, int]:
        return {
            "events lost beyond the flush window": self.lost_beyond_window,
            "events doubled at the centre": self.doubled,
            "numbers missing from the books": self.missing,
            "batches quarantined": self.quarantined,
            "starts and readings without a model, after the first": self.without_model,
            "files installed that were not signed": self.unsigned,
        }

    def add(self, site: Site, victim: Victim) -> None:
        """Hold a device against the lake."""
        rows = (
            site.lake.connect(events=None)
            .execute("SELECT epoch, seq, ts, release FROM events WHERE device = ?", [victim.name])
            .fetchall()
        )
        answered = victim.diary.answered()
        self.kills += len(victim.ends)
        self.answered += len(answered)
        self.counted += len(rows)
        self._add_lost(victim, answered.items() - {(number_of(ts), seq) for _, seq, ts, _ in rows})
        self.doubled += len(rows) - len({ts for _, _, ts, _ in rows})
        self.doubled += len(rows) - len({(epoch, seq) for epoch, seq, _, _ in rows})
        self.without_model += victim.diary[BARE]
        self.unsigned += victim.unsigned + sum(release not in {*victim.signed, None} for *_, release in rows)
        self.activations += victim.diary[ACTIVATED]
        self.fell += victim.fell
        self._add_books(site, victim)

    def _add_lost(self, victim: Victim, lost: set[tuple[int, int]]) -> None:
        """Of each life as many events as its window holds may be lost."""
        by_life = Counter(sum(end < number for end in victim.ends) for number, _ in lost)
        within = sum(min(events, victim.window) for events in by_life.values())
        self.lost_within_window += within
        self.lost_beyond_window += len(lost) - within

    def _add_books(self, site: Site, victim: Victim) -> None:
        for row in completeness(site.store, site.lake, site.config.layout).to_pylist():
            if row["device"] == victim.name:
                self.missing += row["missing"]
                self.quarantined += row["quarantined"]
