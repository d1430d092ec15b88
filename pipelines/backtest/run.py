"""The backtest: a history played through the real devices, the real store and the real assets.

Each tick: devices live (their own processes), what goes wrong on purpose goes wrong, labels that have become known are
put down, the centre runs its jobs. At the end a drain with every device online, then the books and the scores.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_bytes
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.trainings import read_training
from edge_runtime.settings import create_home, settings_of
from edgeloop.config import LoopConfig
from edgeloop.errors import ConfigError, DataError
from edgeloop.lake import Lake
from edgeloop.roster import mark_played
from edgeloop.sketches import AGGREGATES
from edgeloop.store import Store
from fleet.keys import create_keys
from fleet.releases import list_releases
from fleet.repository import initialise
from ingest.derived.completeness import completeness
from pipelines.backtest.centre import SimulatedCentre, dagster_home, insist
from pipelines.backtest.history import History, write_readings
from pipelines.backtest.scenario import Scenario, Tick, plan_scenario
from pipelines.backtest.scores import count_periods, read_labelled, score
from pipelines.backtest.story import Story, last_words, read_decisions, read_trainings
from pipelines.backtest.summary import Bytes, Details, EventBooks, Summary
from pipelines.backtest.workers import Fleet
from training.trainers import check_trainer


class Progress(Protocol):
    """Where a backtest says how far it is."""

    def stage(self, name: str, steps: int) -> None:
        """A new stage of `steps` steps begins."""

    def step(self, note: str) -> None:
        """One step is done."""


@dataclass(frozen=True)
class Outcome:
    """What a backtest found."""

    summary: Summary
    details: Details


def check_backtest(config: LoopConfig, history: History, store: Store | None, *, quick: bool = False) -> Scenario:
    """Everything that may be wrong, before anything is written; the timeline.

    Args:
        store: the user's own, whose part for the loop must be empty; None for a new one.

    Raises:
        ConfigError: the loop ships aggregates, the store is in use, the trainer is unknown, or the timeline does not fit the data.
    """
    if config.privacy.ship == AGGREGATES:
        raise ConfigError(
            "privacy.ship is 'aggregates', and a backtest trains on events and scores them.",
            remedy='Play the history with privacy.ship = "events"; it stays on this machine.',
        )
    if store is not None:
        _demand_empty(store, config)
    check_trainer(config.training)
    return plan_scenario(config, *history.span, history.devices, quick=quick)


def run_backtest(
    config: LoopConfig, history: History, scenario: Scenario, workdir: Path, store: Store, progress: Progress
) -> Outcome:
    """Play `history` through the loop.

    Args:
        scenario: what `check_backtest` gave.
        workdir: gets `keys/`, `devices/`, `dagster/`; must be new.
        store: must hold nothing of the loop and no releases.

    Raises:
        DataError: no release was ever published, or at the end the books do not balance.
    """
    began = time.monotonic()
    with dagster_home(workdir / "dagster") as instance:
        mark_played(store, config.layout, scenario.end + config.label.delay)
        keys = create_keys(workdir / "keys")
        root = insist(lambda: initialise(store, keys, scenario.start))
        centre = SimulatedCentre(config, store, keys, instance, scenario.start)
        play = Play(config, scenario, history, workdir, store, centre, progress)
        play.run(root)
        return _judge(play, began)


@dataclass
class Owed:
    """When to try again for a first release: after 1, 2, 4, … ticks, for what was lacking are mostly labels."""

    wait: int = 0
    left: int = 0

    def due(self) -> bool:
        """Whether to train at this tick, though none is planned."""
        self.left = max(0, self.left - 1)
        return self.wait > 0 and self.left == 0

    def trained(self, *, released: bool) -> None:
        """A training ended; `released` if there is a release now."""
        self.wait = 0 if released else max(1, 2 * self.wait)
        self.left = self.wait


class Play:
    """One backtest under way."""

    def __init__(
        self,
        config: LoopConfig,
        scenario: Scenario,
        history: History,
        workdir: Path,
        store: Store,
        centre: SimulatedCentre,
        progress: Progress,
    ) -> None:
        self.config, self.scenario, self.store, self.centre, self.progress = config, scenario, store, centre, progress
        self.history = history
        self.lake = Lake.of(store, config)
        self.story = Story()
        self._workdir = workdir
        self._hash_key = token_bytes(32) if config.schema().hashed else b""
        self._owed = Owed()
        self._labels = history.labels(config.label.delay)
        self._labels = self._labels.filter(pc.less(self._labels["ts"], pa.scalar(scenario.end)))
        self._labelled_until = datetime.min.replace(tzinfo=scenario.start.tzinfo)

    def run(self, root: bytes) -> None:
        """All ticks, then the drain."""
        readings = write_readings(self.history, self._workdir / "readings", self.scenario.joins, self.scenario.end)
        self.story.played = {device: pq.read_metadata(path).num_rows for device, path in readings.items()}
        homes = {device: self._make_home(device, root) for device in readings}
        ticks = self.scenario.ticks
        self.progress.stage("playing", len(ticks) + 1)
        with Fleet(homes, readings, self._workdir / "processes", self.scenario.start) as fleet:
            for tick in ticks:
                self._tick(fleet, tick)
                self.progress.step(f"{tick.end:%Y-%m-%d}")
            self._drain(fleet)
            self.progress.step("drained")
        self.story.kills = fleet.kills
        self.story.statuses = fleet.statuses

    def _make_home(self, device: str, root: bytes) -> Path:
        home = self._workdir / "devices" / device
        create_home(home, settings_of(self.config, device, self.store.url), root, self._hash_key)
        return home

    def _tick(self, fleet: Fleet, tick: Tick) -> None:
        self.centre.refresh_signatures(tick.start)
        fleet.advance(tick.start, tick.end, self._online(tick), tick.kill)
        for device in tick.corrupt:
            self.story.corrupted += damage_newest_batch(self.store, self.config, device)
        self._put_labels(tick.end)
        self.centre.run("intake", tick.end)
        if tick.train or self._owed.due():
            self.centre.run("aggregates", tick.end)
            self._train(tick.end)
        self._note(tick.end, fleet)

    def _train(self, now: datetime) -> None:
        """Train; a training that failed is only noted, the champion stays."""
        if failure := self.centre.retrain(now):
            self.story.failures.append(f"the training at {now:%Y-%m-%d} failed: {failure}")
        published = self.story.releases or list_releases(self.store, self.centre.centre.keys, self.config.name)
        self._owed.trained(released=bool(published))

    def _online(self, tick: Tick) -> set[str]:
        joined = (d for d in self.story.played if self.scenario.joins.get(d, tick.start) < tick.end)
        return {device for device in joined if device not in tick.offline}

    def _drain(self, fleet: Fleet) -> None:
        """Everybody ships what is left, and the last labels become known."""
        end = self.scenario.end + self.config.label.delay
        self.centre.refresh_signatures(self.scenario.end)
        fleet.advance(self.scenario.end, self.scenario.end, set(self.story.played))
        self._put_labels(end)
        self.centre.run("intake", end)
        self.centre.run("aggregates", end)
        self._note(end, fleet)

    def _note(self, at: datetime, fleet: Fleet) -> None:
        self.story.note(at, fleet.statuses, self.store, self.centre.centre.keys, self.config.name)

    def _put_labels(self, now: datetime) -> None:
        """Put down the labels that became known since the last time."""
        known = self._labels["known_at"]
        fresh = self._labels.filter(
            pc.and_(
                pc.greater(known, pa.scalar(self._labelled_until, known.type)),
                pc.less_equal(known, pa.scalar(now, known.type)),
            )
        )
        self._labelled_until = now
        if fresh.num_rows:
            content = pa.BufferOutputStream()
            pq.write_table(fresh, content, compression="zstd")
            self.store.create(
                self.config.layout.label_file("backtest", f"{now:%Y%m%dT%H%M%S}"), content.getvalue().to_pybytes()
            )


def damage_newest_batch(store: Store, config: LoopConfig, device: str) -> int:
    """Turn one byte in the middle of the device's newest waiting batch; return how many batches that were."""
    waiting = sorted(e.path for e in store.list(f"{config.layout.inbox}/{device}"))
    if not waiting:
        return 0
    content = bytearray(store.read(waiting[-1]))
    content[len(content) // 2] ^= 0xFF
    store.replace(waiting[-1], bytes(content))
    return 1


def _demand_empty(store: Store, config: LoopConfig) -> None:
    store.table_location(config.layout.root)  # a store in memory cannot hold the lake
    for folder in (config.layout.root, "releases"):
        if next(iter(store.list(folder)), None) is not None:
            raise ConfigError(
                f"the store {store.url} holds {folder} already.",
                remedy="A backtest starts from nothing: name an empty store with --store, or leave it out.",
            )


def _judge(play: Play, began: float) -> Outcome:
    config, lake, story = play.config, play.lake, play.story
    books = completeness(play.store, lake, config.layout)
    events = _balance(play, books)
    trainings, decisions = read_trainings(play.store, config), read_decisions(lake)
    releases = sorted(story.releases.values(), key=lambda release: release.id)
    if not releases:
        reasons = [*story.failures, *(f"{t.id}: {t.reason}" for t in trainings)]
        failed = "; ".join(reasons[-3:]) or "none was due, shorten backtest.seed"
        raise DataError(
            "no release was ever published, so there is nothing to compare.", remedy=f"The trainings: {failed}"
        )
    first = read_training(play.store, config.layout, int(releases[0].id[1:])).model
    play.progress.stage("scoring", count_periods(config, play.scenario))
    rows = read_labelled(lake, config)
    accuracy, macro_f1, periods = score(rows, config, play.scenario, first, lambda: play.progress.step(""))
    without = int(
        ((rows.loop < 0) & (rows.ts >= np.datetime64(play.scenario.seed_end.replace(tzinfo=None), "us"))).sum()
    )
    notes = [*play.history.notes, *story.failures]
    if without:
        notes.append(f"{without} labelled events after the seed period have no answer, and count as wrong")
    moved = story.statuses.values()
    summary = Summary(
        events=events,
        accuracy=accuracy,
        macro_f1=macro_f1,
        by_period=tuple(periods),
        releases=tuple(releases),
        rollouts=tuple(last_words(decisions)),
        moved=Bytes(sum(s.uploaded_bytes for s in moved), sum(s.downloaded_bytes for s in moved)),
        seconds=round(time.monotonic() - began, 1),
    )
    return Outcome(
        summary,
        story.details(config, play.scenario, notes, books, trainings, decisions),
    )


def _balance(play: Play, books: pa.Table) -> EventBooks:
    """The books, with `produced` counted apart from the devices: as rows handed to them."""
    produced = sum(play.story.played.values())
    counted = pc.sum(books["produced"]).as_py() or 0
    ingested, shed, missing = (int(pc.sum(books[c]).as_py() or 0) for c in ("ingested", "shed", "missing"))
    if produced != counted or produced != ingested + shed + missing:
        raise DataError(
            f"the books do not balance: {produced} readings were played, devices count {counted} events,"
            f" ingested {ingested} + shed {shed} + missing {missing}.",
            remedy="This is a fault in edgeloop; please report it with the work directory.",
        )
    return EventBooks(produced=produced, ingested=ingested, shed=shed, missing=missing)
