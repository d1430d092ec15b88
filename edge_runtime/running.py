"""What runs on a device: the release of the running slot with its model in memory, and how another comes into its place.

One thread predicts by it while another exchanges: what runs, its slots and what is said of them change under `lock`, which is
held while a model is loaded and never during network.
"""

from __future__ import annotations

import threading
from pathlib import Path

from edge_runtime.history import History
from edge_runtime.releases import Release, keep_only
from edge_runtime.slots import Judgement, Slots
from edge_runtime.spool import Spool
from edgeloop.errors import DataError, EdgeloopError, RefusedError
from edgeloop.rollout import RolloutDocument


class Running:
    """The release that runs in `home`, beside its slots and the updater's history.

    Args:
        threads: that a model may use.
    """

    def __init__(self, home: Path, threads: int, spool: Spool, slots: Slots, history: History) -> None:
        self._home, self._threads, self._spool = home, threads, spool
        self.slots, self.history = slots, history
        self.lock = threading.RLock()
        self.release: Release | None = None
        self.fault = ""
        """What the committed model raised last; another in its place has none."""

    def recall(self) -> None:
        """What runs here, as the process that ran the device left it; its model is not loaded."""
        self.release = self._load_running(forget=False)

    def visit(self) -> None:
        """As `recall`, by a process that may change what runs."""
        self.recall()
        self._say(self.slots.on_visit())

    def start(self) -> None:
        """Load what is to run. The start is counted before, for loading can end the process too."""
        judgement = self.slots.on_start()
        self.history.note("idle", "just started")
        self._say(judgement)
        self.release = self._load_running(forget=True)

    def activate(self, release: Release) -> None:
        """Run `release`, which is loaded: on probation, unless it passed one here."""
        if release.sha256 in self.slots.proven:
            self.slots.return_to(release.sha256)
        else:
            self.slots.stage(release.sha256)
        self._give_up()
        self.release = release

    def observe(self, probabilities: list[float], latency: float) -> None:
        """Judge the release on probation by one more prediction."""
        if judgement := self.slots.observe(probabilities, latency):
            self._judge(judgement)

    def blame(self, reason: str) -> bool:
        """The model failed: on probation it is put back, else it is said; whether it was put back."""
        if not self.slots.staged:
            self.fault = reason
            return False
        self._judge(self.slots.roll_back(reason))
        return True

    def way_back(self, rollout: RolloutDocument | None) -> Release:
        """The release that `leave` goes to, verified and loaded.

        Args:
            rollout: that was verified last; it may forbid a release.

        Raises:
            RefusedError: there is none to go back to, it is damaged, or forbidden.
        """
        if not self.slots.way_back:
            raise RefusedError(
                "there is no release on this device to go back to.",
                remedy="At the centre, `edgeloop rollout abort` takes a candidate back; else publish a better release.",
            )
        try:
            release = self._open(self.slots.way_back).load()
        except EdgeloopError as error:
            raise RefusedError(
                f"the release to go back to cannot be run: {error.message}", remedy="Nothing was changed."
            ) from error
        if rollout is not None and (why := rollout.forbids(release.manifest.counter, release.sha256)):
            raise RefusedError(
                f"{release.manifest.id}, the release to go back to, {why}.",
                remedy="Nothing was changed. Publish a release that may run.",
            )
        return release

    def leave(self, reason: str, rollout: RolloutDocument | None) -> None:
        """Leave the release that runs, for ever, for the one before it: by hand.

        Raises:
            RefusedError: as `way_back`.
            DataError: the disk does not take it.
        """
        with self.lock:
            release = self.way_back(rollout)
            self._say(self.slots.leave(": ".join(filter(None, ("by hand", reason)))))
            self._give_up()
            self.release = release
        if self._spool.fault:
            raise DataError(self._spool.fault, remedy="Make room on the disk, and do it again.")
        self.clear()

    def clear(self) -> None:
        """Remove what no slot holds, once that is on disk: what the disk still names is what the next start looks for."""
        with self.lock:
            held = {*self.slots.held}
        if self._spool.flush():
            keep_only(self._home / "models", held)

    def _judge(self, judgement: Judgement) -> None:
        self._say(judgement)
        if judgement.state == "rolled-back":
            self._give_up()
            self.release = self._load_running(forget=True)

    def _give_up(self) -> None:
        """Another comes. Whoever still has this one has its model in memory no more: with one that is tested it would be three."""
        if self.release is not None:
            self.release.unload()
        self.release, self.fault = None, ""

    def _say(self, judgement: Judgement | None) -> None:
        if judgement is not None:
            self.history.say(judgement.state, judgement.reason, judgement.release)

    def _load_running(self, *, forget: bool) -> Release | None:
        """The release in the running slot, re-hashed; if it is damaged the one in the next slot, or none.

        Args:
            forget: this process is to run it: have its model in memory, and empty the slots of what is damaged, so that it is
                fetched again.
        """
        for digest in self.slots.held:
            try:
                release = self._open(digest)
                return release.load() if forget else release
            except EdgeloopError as error:
                (self.history.say if forget else self.history.note)("refused-release", str(error), digest)
                if forget:
                    self.slots.forget(digest)
        return None

    def _open(self, digest: str) -> Release:
        return Release(self._home / "models" / digest, digest, self._threads)
