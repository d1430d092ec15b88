"""An exchange with the store: ship what waits, poll for a release, report.

Each of the three may fail for want of a link, which is recorded and stops neither the others nor inference.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_runtime.budget import Budget
from edge_runtime.running import Running
from edge_runtime.settings import DeviceSettings, kept_rollout, read_credentials
from edge_runtime.shipper import ship
from edge_runtime.spool import Spool
from edge_runtime.trusted_time import TrustedTime
from edgeloop.clock import Clock
from edgeloop.errors import EdgeloopError, StoreError
from edgeloop.layout import Layout
from edgeloop.rollout import RolloutDocument
from edgeloop.status import DeviceStatus
from edgeloop.store import DeviceStore, open_store


class Exchange:
    """What one device does with its store, and what it has moved.

    Args:
        trusted: the time that metadata is verified at.
        store: instead of the one in the settings.
    """

    def __init__(
        self,
        home: Path,
        settings: DeviceSettings,
        spool: Spool,
        running: Running,
        trusted: TrustedTime,
        clock: Clock,
        store: DeviceStore | None,
    ) -> None:
        self._home, self._settings, self._spool, self._running = home, settings, spool, running
        self._trusted, self._clock, self._store = trusted, clock, store
        self.rollout: RolloutDocument | None = kept_rollout(home)
        """The one that was verified last."""
        self._budget = Budget(settings.section, spool.get("allowance", ""), clock())
        self.uploaded = int(spool.get("uploaded", "0"))
        self.downloaded = int(spool.get("downloaded", "0"))
        self.shipping = spool.get("shipping", "")
        """Why what waits does not go up; empty if nothing keeps it."""

    @property
    def stale(self) -> bool:
        """Whether metadata was verified longer ago than the rollout allows."""
        return self.rollout is not None and self._trusted.over(self.rollout.max_offline_days)

    def ship(self) -> None:
        """Put what is spooled into the inbox, as far as the budgets allow. Raises as `shipper.ship`; what is not acknowledged stays."""
        self._spool.flush()
        try:
            for sent in ship(self._spool, self._open_store(), self._settings, self._budget, self._clock):
                self.uploaded += sent
            self.shipping = self._budget.closed(self._clock()) if self._spool.spooled else ""
        except EdgeloopError as error:
            self.shipping = error.message
            raise
        finally:
            self._spool.put(uploaded=self.uploaded, shipping=self.shipping)

    def poll(self, downloading: Callable[[], None]) -> None:
        """Ask which release to run; a new one is verified, self-tested and put on probation.

        Args:
            downloading: called before a download, which can be a long one; it may raise `StoreError`.
        """
        # Only here: python-tuf is a quarter of what a start takes, and the first answer needs none of it.
        from edge_runtime.updater import poll

        running, history = self._running, self._running.history

        def say(state: str, reason: str, release: str) -> None:
            with running.lock:
                history.say(state, reason, release)
            if state == "downloading":
                with suppress(StoreError):  # it is told in vain, and goes on
                    downloading()

        now = self._trusted()
        found = poll(self._home, self._open_store(), self._settings, running.slots, now, say)
        self.downloaded += found.downloaded
        self._spool.put_with_next(downloaded=self.downloaded)
        with running.lock:
            if found.verified:
                self._trusted.verified(now)
            # One that was withheld takes neither what it forbids nor `max_offline_days` away.
            if found.rollout is not None:
                self.rollout = found.rollout
            if found.release is not None:
                running.activate(found.release)
            elif found.refuse:
                running.slots.refuse(found.about, found.reason)
            history.say(found.state, found.reason, found.about)
        if found.release is not None or found.refuse:
            running.clear()

    def report(self, status: DeviceStatus) -> None:
        """Write the status object. Raises `StoreError`."""
        self._open_store().replace(Layout(self._settings.loop).status(self._settings.device), status.encode())

    def _open_store(self) -> DeviceStore:
        if self._store is None:
            self._store = open_store(
                self._settings.store, read_credentials(self._home), deadline=self._settings.section.request_deadline
            )
        return self._store
