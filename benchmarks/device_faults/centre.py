"""The centre's side of the campaign: a deployment with four releases, which it offers by turns, some of them spoiled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

from assets.delivery import publish_newest
from assets.learning import train_next
from benchmarks.device_faults.life import NOW
from edgeloop.rollout import ReleaseRef
from edgeloop.store import Store
from fleet.releases import list_releases
from fleet.repository import blob_path, refresh
from fleet.rollouts import publish_rollout, read_current, start
from ingest.run import ingest
from tests.site import Site, fill_lake, make_site

TURN = 0.15
"""Seconds that an offer stands; devices poll all the time."""

REST = 2.0
"""Seconds between two ingests."""


def prepare(directory: Path, store: Store | None = None) -> Site:
    """A deployment with four releases, trained, judged, signed and published as ever.

    Four, because a device keeps three: each is downloaded again each time it is its turn.
    """
    site = make_site(directory, store=store)
    fill_lake(site, 24 * 12)
    for days in (3, 2, 1, 0):
        site.clock.now = NOW - timedelta(days=days)
        refresh(site.store, site.centre.keys, site.clock.now)
        train_next(site.centre, site.config)
        assert publish_newest(site.centre, site.config) is not None
    return site


class Offers:
    """Releases rolled out by turns. Of every eight offers one has a byte of its model changed in the store, and one names a
    digest that `releases` never signed."""

    def __init__(self, site: Site, *, spoils: bool = True) -> None:
        self._site, self.made, self._spoils, self.last = site, 0, spoils, ""
        self._mend: Callable[[], None] = lambda: None
        self._releases = list_releases(site.store, site.centre.keys, site.config.name)
        models = (artefact.sha256 for release in self._releases for artefact in release.manifest.models)
        self.signed = {release.sha256 for release in self._releases}.union(models)

    def next(self) -> None:
        """Roll the next release out to everyone."""
        self._mend()
        self._mend = lambda: None
        release = self._releases[self.made % len(self._releases)]
        digest = release.sha256
        if self._spoils and self.made % 8 == 3:
            self._spoil(release.manifest.models[0].target, release.manifest.models[0].sha256)
        elif self._spoils and self.made % 8 == 7:
            digest = sha256(f"unsigned {self.made}".encode()).hexdigest()
        self.last = digest
        self._roll_out(ReleaseRef(release.manifest.id, release.manifest.counter, digest))
        self.made += 1

    def _spoil(self, target: str, digest: str) -> None:
        store, path = self._site.store, blob_path(target, digest)
        content = store.read(path)
        middle = len(content) // 2
        store.replace(path, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        self._mend = lambda: store.replace(path, content)

    def _roll_out(self, release: ReleaseRef) -> None:
        site, now = self._site, self._site.clock()
        current = read_current(site.store, site.centre.keys, site.config.name)
        if current is None:
            document = start(None, self._releases[0], site.config.rollout, [], now)
        else:
            document = msgspec.structs.replace(current, number=current.number + 1, stable=release)
        publish_rollout(site.store, site.centre.keys, document, now, based_on=current)


def offer(offers: Offers, done: threading.Event) -> None:
    """Offer one release after the other until it is `done`."""
    while not done.wait(TURN):
        offers.next()


def take_in(site: Site, done: threading.Event) -> None:
    """Ingest now and then until it is `done`. One ingest may be long: it ends when nothing waits."""
    while not done.wait(REST):
        ingest(site.store, site.lake, site.config, site.clock())
