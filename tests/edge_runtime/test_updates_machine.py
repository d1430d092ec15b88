"""The real device under every order of releases and faults: it always has a model to run, and never one it must not.

What is real: the device over its home, the repository in a directory, all signatures, onnxruntime, SQLite. What is bent: the borders
at which a device can die or be refused something (`borders.py`), its clock, and the centre, which rolls out whatever it likes. What
must hold of its disk from step to step is in `ledger.py`. What takes more than one step to show (a refusal that ends too early, a
crash loop) is a rule of several steps, or it would hardly ever be drawn.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

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
from tests.edge_runtime.ledger import Ledger, OnDisk
from tests.site import LOOP, Site, make_site

REFUSE_FOR = timedelta(days=1)
CRASH_LIMIT = 3
PROBATION = 5
POLICY = """[device]
refuse_for = "1d"
latency_budget_ms = 10.0"""

GOOD = ("good", "good too", "good again")
FAILING = ("not a number", "raises", "slow", "kills")
"""Put on probation, and found out by the first prediction or the first few."""
NEVER_STAGED = ("wrong golden vectors", "cannot be loaded", "kills in its self-test", "other features", "unsigned")
BAD = (*FAILING, *NEVER_STAGED[:-1])

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""What a device loses is what `Fault` says: a disk that is waited for adds nothing but time."""

UNSIGNED = Made("unsigned", ReleaseRef("r0001", 1, "e" * 64), b"", b"")
"""What the rollout's key names, and the other did not sign."""

none = st.just(Fault())
deaths = st.builds(Fault, dies_after=st.integers(0, 25))
full_disks = st.just(Fault(disk_full=True))
links = st.builds(Fault, link=st.sampled_from(LINKS), requests=st.integers(0, 6))
waits = st.lists(st.sampled_from([0.0, 0.0, 0.9, 1.1, 2.1]), max_size=4)
"""In lengths of the first refusal, which the second is twice of."""


class Fleet:
    """A site with all releases published and one device set up, to be copied for each run."""

    def __init__(self, directory: Path) -> None:
        self.site: Site = make_site(directory, LOOP.replace("[device]", POLICY))
        self.made = publish_catalogue(self.site) | {"unsigned": UNSIGNED}
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
        self.ledger = Ledger(self.digests(BAD), self.digests(NEVER_STAGED), REFUSE_FOR, CRASH_LIMIT)
        self.rolled_out, self.floor, self.paused, self.links_were_bad = UNSIGNED, 0, False, False
        self.borders = Borders()
        self.bent = bent(self.borders, deadly=self.digest("kills in its self-test"))
        self.bent.__enter__()
        self.start()

    def teardown(self) -> None:
        self.lose()
        self.bent.__exit__(None, None, None)
        self.directory.cleanup()

    def digest(self, what: str) -> str:
        return self.made[what].ref.sha256

    def digests(self, kinds: tuple[str, ...]) -> frozenset[str]:
        return frozenset(map(self.digest, kinds))

    # The device's process.

    def clock(self) -> datetime:
        return self.site.clock.now + self.skew

    def start(self) -> None:
        self.process = Device.open(self.home, clock=self.clock, store=BentLink(self.site.store, self.borders))
        self.device = self.process.__enter__()
        self.asked_with_a_full_disk = False

    def stop(self) -> None:
        self.process.__exit__(None, None, None)

    def lose(self) -> None:
        """As after kill -9: what is not on disk is gone, and the lock with the process."""
        self.borders.dead = True
        with suppress(Died):
            self.process.gen.close()  # type: ignore[attr-defined]
        self.borders.meet(Fault())

    def crash(self) -> None:
        self.ledger.ends += 1
        self.lose()
        self.start()

    def live(self, step: Callable[[], object], fault: Fault = Fault(), *, asked: bool = False) -> None:  # noqa: B008
        """Take a step; should the process die in it, it is started anew. Then its disk is looked at."""
        self.borders.meet(fault)
        self.links_were_bad |= bool(fault.link)
        try:
            step()
        except Died as death:
            if str(death) == "in the self-test":
                self.ledger.killed_by[self.digest("kills in its self-test")] += 1
            self.crash()
        self.borders.meet(Fault())
        self.look(asked=asked)

    def look(self, *, asked: bool = False, left_by_hand: str = "") -> None:
        now = OnDisk.of(self.home)
        if now.staged not in ("", self.ledger.disk.staged):
            self.may_be_staged(self.by_digest[now.staged])
        asked |= self.asked_with_a_full_disk  # what came of it may be written only now
        self.ledger.take(now, self.trusted(now), asked=asked, left_by_hand=left_by_hand)

    def may_be_staged(self, made: Made) -> None:
        """Only what is rolled out, and not under its floor, nor while it is paused, if anything ran."""
        assert made is self.rolled_out
        assert made.ref.counter >= self.floor
        assert not self.paused or not self.ledger.disk.running

    def trusted(self, slots: OnDisk) -> datetime:
        return max(self.clock(), slots.verified_at or self.clock())

    # What the device does, and what is done to it.

    @initialize(proven=st.sampled_from([(), GOOD[:1], GOOD[:2], GOOD[1:]]))
    def has_committed(self, proven: tuple[str, ...]) -> None:
        for what in proven:
            self.roll_out(self.made[what])
            self.exchange()
            self.live(lambda: self.predict(PROBATION))
            assert self.device.status().update.state == "committed"

    def exchange(self, fault: Fault = Fault()) -> None:  # noqa: B008
        self.asked_with_a_full_disk |= fault.disk_full
        self.live(self.device.exchange, fault, asked=True)
        status = self.device.status()
        assert status.update.state != "self-test-failed" or status.update.release in status.refused

    @rule(what=st.sampled_from((*GOOD, *NEVER_STAGED)), fault=none | none | none | deaths | links | full_disks)
    def is_offered(self, what: str, fault: Fault) -> None:
        self.roll_out(self.made[what])
        self.exchange(fault)

    @rule(
        what=st.sampled_from((*FAILING, "wrong golden vectors")), fault=none | none | deaths | full_disks, waits=waits
    )
    def is_offered_what_fails_and_asks_again_later(self, what: str, fault: Fault, waits: list[float]) -> None:
        self.roll_out(self.made[what])
        self.exchange()
        self.is_tried(fault)
        for wait in waits:
            self.pass_time(wait * REFUSE_FOR, renewed=True)
            may, tried = self.may_be_tried(), self.times_tried()
            self.exchange()
            assert not may or self.times_tried() > tried, "its refusal is over, and it is not tried again"
            self.is_tried(fault)

    @rule(waits=waits)
    def is_offered_what_ends_it_and_asks_again_later(self, waits: list[float]) -> None:
        self.is_offered_what_fails_and_asks_again_later("kills in its self-test", Fault(), waits)

    def is_tried(self, fault: Fault) -> None:
        """Until it has failed, if nothing else goes wrong."""
        for _ in range(CRASH_LIMIT - 1 if self.rolled_out is self.made["kills in its self-test"] else 0):
            self.exchange()
        for _ in range(CRASH_LIMIT + 1 if self.device.status().release == self.digest("kills") else 1):
            self.live(lambda: self.predict(PROBATION), fault)
        if fault == Fault():
            assert self.device.status().release not in self.digests(BAD)

    def may_be_tried(self) -> bool:
        """Whether this very poll must try what is rolled out, which failed before."""
        digest, disk = self.rolled_out.ref.sha256, self.ledger.disk
        failed = bool(self.ledger.failures[digest]) and not self.ledger.refuses(digest, self.trusted(disk))
        return failed and digest not in disk.held and not (self.paused or self.skew or self.links_were_bad)

    def times_tried(self) -> int:
        """How often what is rolled out was put on probation, or failed."""
        digest = self.rolled_out.ref.sha256
        return self.ledger.tried[digest] + len(self.ledger.failures[digest])

    @rule(fault=none | none | none | deaths | links | full_disks)
    def exchanges(self, fault: Fault) -> None:
        self.exchange(fault)

    @rule(count=st.sampled_from([1, 2, PROBATION, PROBATION]), fault=none | none | deaths | full_disks)
    def predicts(self, count: int, fault: Fault) -> None:
        self.live(lambda: self.predict(count), fault)

    def predict(self, count: int) -> None:
        for _ in range(count):
            if self.device.status().release == self.digest("kills"):
                self.ledger.killed_by[self.digest("kills")] += 1
                self.borders.die()
            had_one = bool(self.device.status().release)
            answer = self.device.predict(WRONG)
            assert (answer.label is not None) == (had_one and bool(self.device.status().release))

    @rule(times=st.integers(1, CRASH_LIMIT + 2), fault=none | deaths)
    def crashes_and_starts(self, times: int, fault: Fault) -> None:
        for _ in range(times):
            self.live(self.crash, fault)

    @rule(times=st.sampled_from([1, CRASH_LIMIT + 2]), fault=none | none | deaths | full_disks)
    def stops_and_starts(self, times: int, fault: Fault) -> None:
        for _ in range(times):
            self.live(self.stop, fault)
            self.ledger.ends += fault != Fault()
            self.lose()
            self.start()

    @precondition(lambda self: len(self.ledger.disk.held) > 1)
    @rule(fault=none | none | deaths, wait=st.sampled_from([2, 100]))
    def is_rolled_back_by_hand_and_offered_it_again(self, fault: Fault, wait: int) -> None:
        self.stop()
        self.look()
        left = self.ledger.disk.running
        self.borders.meet(fault)
        with suppress(Died, RefusedError), Device.visit(self.home, clock=self.clock) as visited:
            before = visited.status().release
            visited.roll_back("the test")
            assert visited.status().release != before
            assert before in visited.status().refused
        self.ledger.ends += fault != Fault()
        self.borders.meet(Fault())
        self.look(left_by_hand=left)
        self.start()
        self.pass_time(wait * REFUSE_FOR, renewed=True)
        if left:
            self.roll_out(self.by_digest[left])
            self.exchange()

    @precondition(lambda self: self.ledger.disk.committed)
    @rule(fault=none | deaths | full_disks | full_disks, crashed=st.booleans())
    def the_centre_takes_its_candidate_back(self, fault: Fault, crashed: bool) -> None:
        """With a disk that is full nothing of it is written, and the files of what the disk still names must stay."""
        champion = self.by_digest[self.ledger.disk.committed]
        others = (made for made in map(self.made.get, GOOD) if made and made.ref.sha256 not in self.ledger.disk.held)
        self.roll_out(next(others, champion))
        self.exchange()
        self.roll_out(champion)
        self.exchange(fault)
        if crashed:
            self.live(self.crash)

    @precondition(lambda self: self.ledger.disk.committed and self.ledger.disk.previous)
    @rule()
    def what_runs_is_damaged_here(self) -> None:
        self.stop()
        self.look()
        if self.ledger.disk.previous:  # no more may be damaged than there are
            running = self.ledger.disk.running
            (self.home / "models" / running / "model.onnx").write_bytes(b"x")
            self.ledger.offered[running] += 1
        self.start()
        self.look(asked=True)

    # What the centre and the world do.

    @rule(what=st.sampled_from(GOOD), floor=st.sampled_from([0, 2]), paused=st.booleans())
    def is_kept_from(self, what: str, floor: int, paused: bool) -> None:
        self.roll_out(self.made[what], floor, paused)
        self.exchange()

    def roll_out(self, made: Made, floor: int = 0, paused: bool = False) -> None:
        roll_out(self.site, made.ref, floor, paused)
        self.rolled_out, self.floor, self.paused = made, floor, paused
        self.ledger.offered[made.ref.sha256] += 1

    @rule(what=st.sampled_from(GOOD), kept=st.none() | st.integers(0, 4000))
    def bytes_in_the_store_are_replaced_or_mended(self, what: str, kept: int | None) -> None:
        made = self.made[what]
        (artefact,) = msgspec.json.decode(made.manifest)["models"]
        content = made.model if kept is None else made.model[:kept] + b"x"
        self.site.store.replace(blob_path(artefact["target"], artefact["sha256"]), content)

    @rule(hours=st.integers(1, 100), renewed=st.sampled_from([True, True, False]))
    def time_passes(self, hours: int, renewed: bool) -> None:
        """Without the centre's renewal metadata expires."""
        self.pass_time(timedelta(hours=hours), renewed=renewed)

    def pass_time(self, length: timedelta, *, renewed: bool) -> None:
        self.site.clock.now += length
        if renewed:
            refresh(self.site.store, self.site.centre.keys, self.site.clock.now)

    @rule(days=st.sampled_from([-400, 400]), for_long=st.sampled_from([False, False, True]))
    def its_clock_jumps_or_is_set_right(self, days: int, for_long: bool) -> None:
        self.skew = timedelta(0) if self.skew else timedelta(days=days)
        self.exchange()
        self.live(lambda: self.predict(PROBATION))
        if not for_long:
            self.skew = timedelta(0)

    # What always holds.

    @invariant()
    def what_runs_was_signed_by_both_keys_and_is_not_refused(self) -> None:
        status, disk = self.device.status(), self.ledger.disk
        assert status.release or not disk.committed
        for digest in filter(None, {status.release, *disk.held}):
            made, folder = self.by_digest[digest], self.home / "models" / digest
            assert (folder / "manifest.json").read_bytes() == made.manifest
            assert (folder / "model.onnx").read_bytes() == made.model
        if status.release:
            assert self.ledger.offered[status.release]
            assert status.release not in status.refused
            assert status.release not in self.ledger.by_hand
            assert status.release not in self.digests(NEVER_STAGED)

    @invariant()
    def its_status_can_be_read(self) -> None:
        status = self.device.status()
        content = status.encode()
        assert decode_status(content) == status
        assert len(content) < STATUS_BYTES
        assert len(status.steps) <= 8


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


def test_it_has_a_model_to_run_and_never_one_that_it_must_not(fleet: Fleet) -> None:
    rules = settings(max_examples=50, stateful_step_count=20, deadline=None)
    run_state_machine_as_test(lambda: Updates(fleet), settings=rules)
