"""The real device under every order of releases and faults: it always has a model to run, and never one it must not.

What is real: the device over its home, the repository in a directory, all signatures, onnxruntime, SQLite. What is bent: the borders
at which a device can die or be refused something (`borders.py`), its clock, and the centre, which rolls out whatever it likes.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from edge_runtime.device import Device
from edgeloop.clock import SimulatedClock
from edgeloop.errors import RefusedError
from edgeloop.rollout import ReleaseRef
from edgeloop.roster import STATUS_BYTES
from edgeloop.status import decode_status
from edgeloop.store import open_store
from fleet.keys import Keys
from fleet.repository import blob_path, refresh
from tests.edge_runtime.borders import LINKS, BentLink, Borders, Died, Fault, bent
from tests.edge_runtime.catalogue import WRONG, Made, publish_catalogue, roll_out
from tests.site import LOOP, Site, make_site

REFUSE_FOR = timedelta(days=5)
CRASH_LIMIT = 3
PROBATION = 5
POLICY = """[device]
refuse_for = "5d"
latency_budget_ms = 10.0"""

GOOD = ("good", "good too", "good again")
BAD = (
    "wrong golden vectors",
    "cannot be loaded",
    "not a number",
    "raises",
    "slow",
    "kills",
    "kills in its self-test",
    "other features",
)
NEVER_STAGED = ("wrong golden vectors", "cannot be loaded", "kills in its self-test", "other features", "unsigned")

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""What a device loses is what `Fault` says: a disk that is waited for adds nothing but time."""

UNSIGNED = Made("unsigned", ReleaseRef("r0001", 1, "e" * 64), b"", b"")
"""What the rollout's key names, and the other did not sign."""

none = st.just(Fault())
deaths = st.builds(Fault, dies_after=st.integers(0, 25))
full_disks = st.just(Fault(disk_full=True))
links = st.builds(Fault, link=st.sampled_from(LINKS), requests=st.integers(0, 6))


@dataclass(frozen=True)
class OnDisk:
    """The slots as a power cut would leave them, read past the device."""

    staged: str = ""
    committed: str = ""
    previous: str = ""
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    verified_at: datetime | None = None

    @classmethod
    def of(cls, home: Path) -> OnDisk:
        with closing(sqlite3.connect(f"{(home / 'state.sqlite').as_uri()}?mode=ro", uri=True)) as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
        refused = json.loads(meta.get("refused", "{}"))
        for refusal in refused.values():
            refusal["at"] = datetime.fromisoformat(refusal["at"]) if "at" in refusal else None
            refusal.setdefault("count", 1)
        verified_at = datetime.fromisoformat(meta["verified_at"]) if "verified_at" in meta else None
        return cls(*(meta.get(slot, "") for slot in ("staged", "committed", "previous")), refused, verified_at)

    def refuses(self, digest: str, now: datetime) -> bool:
        refusal = self.refused.get(digest)
        if refusal is None or refusal["at"] is None:
            return refusal is not None
        return now - refusal["at"] < REFUSE_FOR * 2 ** (refusal["count"] - 1)  # type: ignore[no-any-return]

    def times_refused(self, digest: str) -> int:
        return self.refused[digest]["count"] if digest in self.refused else 0


class Fleet:
    """A site with all releases published and one device set up, to be copied for each run."""

    def __init__(self, directory: Path) -> None:
        self.site: Site = make_site(directory, LOOP.replace("[device]", POLICY))
        self.made = publish_catalogue(self.site)
        self.site.home("dev")

    def copy(self, directory: Path) -> Site:
        shutil.copytree(self.site.directory, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("lake"))
        store, clock = open_store(directory / "store"), SimulatedClock(self.site.clock.now)
        return Site(directory, self.site.config, store, Keys(directory / "keys"), clock, self.site.root)


class Updates(RuleBasedStateMachine):
    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self.directory = TemporaryDirectory(dir=MEMORY)
        self.site, self.made = fleet.copy(Path(self.directory.name)), fleet.made
        self.by_digest = {made.ref.sha256: made for made in fleet.made.values()}
        self.home, self.skew = self.site.directory / "devices/dev", timedelta(0)
        self.borders = Borders()
        self.bent = bent(self.borders, deadly=fleet.made["kills in its self-test"].ref.sha256)
        self.bent.__enter__()
        self.before, self.had_committed = OnDisk(), False
        self.rolled_out: Counter[str] = Counter()
        self.stagings: Counter[str] = Counter()
        self.killed, self.killed_in_self_tests = 0, 0
        self.by_hand: set[str] = set()
        self.start()

    def teardown(self) -> None:
        self.lose()
        self.bent.__exit__(None, None, None)
        self.directory.cleanup()

    # The device's process.

    def clock(self) -> datetime:
        return self.site.clock.now + self.skew

    def start(self) -> None:
        self.process = Device.open(self.home, clock=self.clock, store=BentLink(self.site.store, self.borders))
        self.device = self.process.__enter__()

    def stop(self) -> None:
        self.process.__exit__(None, None, None)

    def lose(self) -> None:
        """As after kill -9: what is not on disk is gone, and the lock with the process."""
        self.borders.dead = True
        with suppress(Died):
            self.process.gen.close()  # type: ignore[attr-defined]
        self.borders.meet(Fault())

    def live(self, step: Callable[[], object], fault: Fault = Fault()) -> None:  # noqa: B008
        """Take a step; should the process die in it, it is started anew."""
        self.borders.meet(fault)
        try:
            step()
        except Died as death:
            self.killed_in_self_tests += str(death) == "in the self-test"
            self.lose()
            self.start()
        self.borders.meet(Fault())

    # What the device does, and what is done to it.

    @initialize(proven=st.lists(st.sampled_from(GOOD), unique=True, max_size=2))
    def has_committed(self, proven: list[str]) -> None:
        for what in proven:
            self.roll_out(self.made[what])
            self.device.poll()
            self.predict(PROBATION)
            assert self.device.status().update.state == "committed"

    @rule(what=st.sampled_from((*GOOD, *BAD)), fault=none | none | none | deaths | links | full_disks)
    def is_offered(self, what: str, fault: Fault) -> None:
        self.roll_out(self.made[what])
        self.live(self.device.exchange, fault)

    @rule(fault=none | none | none | deaths | links | full_disks)
    def exchanges(self, fault: Fault) -> None:
        self.live(self.device.exchange, fault)

    @rule(count=st.sampled_from([1, 2, PROBATION, PROBATION]), fault=none | none | deaths | full_disks)
    def predicts(self, count: int, fault: Fault) -> None:
        self.live(lambda: self.predict(count), fault)

    def predict(self, count: int) -> None:
        for _ in range(count):
            if self.device.status().release == self.made["kills"].ref.sha256:
                self.killed += 1
                self.borders.die()
            had_one = bool(self.device.status().release)
            answer = self.device.predict(WRONG)
            assert (answer.label is not None) == (had_one and bool(self.device.status().release))

    @rule(fault=none | deaths)
    def crashes_and_starts(self, fault: Fault) -> None:
        self.lose()
        self.live(self.start, fault)

    @rule(fault=none | deaths | full_disks)
    def stops_and_starts(self, fault: Fault) -> None:
        self.live(self.stop, fault)
        self.lose()
        self.start()

    @rule(fault=none | deaths)
    def is_rolled_back_by_hand(self, fault: Fault) -> None:
        self.stop()
        self.borders.meet(fault)
        with suppress(Died, RefusedError), Device.visit(self.home, clock=self.clock) as visited:
            left, back = visited.status().release, visited._running.slots.way_back
            visited.roll_back("the test")
            assert (visited.status().release, left in visited.status().refused) == (back, True)
        self.borders.meet(Fault())
        self.start()

    # What the centre and the world do.

    @rule(what=st.sampled_from(GOOD), floor=st.sampled_from([0, 2]), paused=st.booleans())
    def is_kept_from(self, what: str, floor: int, paused: bool) -> None:
        self.roll_out(self.made[what], floor, paused)
        self.live(self.device.exchange)

    @rule()
    def is_offered_what_one_key_did_not_sign(self) -> None:
        self.roll_out(UNSIGNED)
        self.live(self.device.exchange)

    def roll_out(self, made: Made, floor: int = 0, paused: bool = False) -> None:
        roll_out(self.site, made.ref, floor, paused)
        self.rolled_out[made.ref.sha256] += 1

    @rule(what=st.sampled_from(GOOD), kept=st.none() | st.integers(0, 4000))
    def bytes_in_the_store_are_replaced_or_mended(self, what: str, kept: int | None) -> None:
        made = self.made[what]
        (artefact,) = msgspec.json.decode(made.manifest)["models"]
        content = made.model if kept is None else made.model[:kept] + b"x"
        self.site.store.replace(blob_path(artefact["target"], artefact["sha256"]), content)

    @rule(hours=st.integers(1, 300), renewed=st.sampled_from([True, True, False]))
    def time_passes(self, hours: int, renewed: bool) -> None:
        """Without the centre's renewal metadata expires."""
        self.site.clock.now += timedelta(hours=hours)
        if renewed:
            refresh(self.site.store, self.site.centre.keys, self.site.clock.now)

    @rule(days=st.sampled_from([-400, 400]))
    def its_clock_jumps(self, days: int) -> None:
        self.skew = timedelta(0) if self.skew else timedelta(days=days)

    # What always holds.

    @invariant()
    def what_runs_was_signed_by_both_keys_and_is_not_refused(self) -> None:
        status = self.device.status()
        if not status.release:
            assert not self.had_committed
            return
        made = self.by_digest[status.release]
        folder = self.home / "models" / status.release
        assert ((folder / "manifest.json").read_bytes(), (folder / "model.onnx").read_bytes()) == (
            made.manifest,
            made.model,
        )
        assert self.rolled_out[status.release]
        assert status.release not in status.refused
        assert status.release not in self.by_hand
        assert made.what not in NEVER_STAGED

    @invariant()
    def its_state_on_disk_is_one_that_it_can_go_on_from(self) -> None:
        now, before = OnDisk.of(self.home), self.before
        for digest in filter(None, (now.staged, now.committed, now.previous)):
            assert (self.home / "models" / digest / "manifest.json").exists()
            assert not now.refuses(digest, self.trusted(now)), "a slot holds a release that is refused"
        self.had_committed |= bool(now.committed)
        assert not self.had_committed or now.committed
        assert now.committed not in {made.ref.sha256 for made in self.made.values() if made.what in BAD}
        if now.staged != before.staged and now.staged:
            self.was_staged(now.staged, before)
        for digest, refusal in now.refused.items():
            assert now.times_refused(digest) <= before.times_refused(digest) + 1
            self.by_hand |= {digest} if refusal["why"].startswith("by hand") else set()
        self.before = now

    def was_staged(self, digest: str, before: OnDisk) -> None:
        """Only what is not refused, or not any more; and again only if it was rolled out again or its refusal ended."""
        assert digest not in self.by_hand
        assert not before.refuses(digest, self.trusted(before))
        if digest not in before.refused:
            self.stagings[digest] += 1
            assert self.stagings[digest] <= self.rolled_out[digest]
        self.killed = 0

    @invariant()
    def nothing_is_tried_over_and_over(self) -> None:
        refused = self.before.times_refused(self.made["kills in its self-test"].ref.sha256)
        assert self.killed_in_self_tests <= CRASH_LIMIT - 1 + refused
        assert self.killed <= CRASH_LIMIT + 1

    @invariant()
    def its_status_can_be_read(self) -> None:
        status = self.device.status()
        content = status.encode()
        assert decode_status(content) == status
        assert len(content) < STATUS_BYTES
        assert len(status.steps) <= 8

    def trusted(self, slots: OnDisk) -> datetime:
        return max(self.clock(), slots.verified_at or self.clock())


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


def test_it_has_a_model_to_run_and_never_one_that_it_must_not(fleet: Fleet) -> None:
    rules = settings(max_examples=60, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(lambda: Updates(fleet), settings=rules)
