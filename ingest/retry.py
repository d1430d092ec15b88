"""From quarantine back to where a file came from, for ingest to judge again: after an upgrade, a change of `loop.toml`, a set clock.

Rules:
1. A file goes by way of `retries/`: it is copied there, taken out of quarantine, put back create-only under the name that it had, and
   removed from there. It is always in one of the three; a kill leaves it where `finish` takes it from. Straight from one to the
   other would lose it: an ingest can reject it again before it is taken out, and then it would be taken out of quarantine anew.
2. What the lake has by now is not put back: it came a second time, or an ingest was faster than a retry that was killed. A label
   file has no digest in the lake, so its rows tell.
3. What no ingest can take stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgeloop.config import LoopConfig
from edgeloop.errors import AlreadyExists, DataError, NotFound
from edgeloop.lake import Lake
from edgeloop.store import Store
from ingest.checks.check import MAX_BYTES, batch_place, check_batch, check_labels, label_source
from ingest.known import demand_fresh_sequence, known_batches, knows_labels
from ingest.quarantine import Held, held_at, release


@dataclass(frozen=True)
class Retried:
    """What becomes of a file: it `waits` for the next ingest, is `known` to the lake, is `gone`, or `stays`; `why` is a sentence."""

    path: str
    outcome: str
    why: str


class Retry:
    """Sends files back. `now` is what an ingest of this moment would judge by."""

    def __init__(self, store: Store, lake: Lake, config: LoopConfig, now: datetime) -> None:
        self._store, self._lake, self._config, self._now = store, lake, config, now
        self._known = known_batches(lake)

    def under_way(self) -> list[str]:
        """The paths of those that an interrupted retry took out of quarantine and has not put back, or so it may be."""
        layout = self._config.layout
        found = (entry.path.removeprefix(f"{layout.retries}/") for entry in self._store.list(layout.retries))
        return sorted(f"{layout.root}/{inside}" for inside in found)

    def foretell(self, held: Held) -> Retried:
        """What would become of a file. Changes nothing."""
        try:
            content = self._read(held)
        except NotFound:
            return Retried(held.path, "gone", "only its reason is left.")
        except DataError as error:
            return Retried(held.path, "stays", str(error))
        return self._outcome(held.path, content)

    def send_back(self, held: Held) -> Retried:
        """Have ingest judge a file again. Raises `StoreError`; `finish`, then do it again."""
        found = self.foretell(held)
        if found.outcome == "stays":
            return found
        if found.outcome == "waits":
            self._store.copy(held_at(self._config.layout, held.place), self._station(held.path))
        release(self._store, self._config.layout, held)
        return self.finish(held.path) if found.outcome == "waits" else found

    def finish(self, path: str) -> Retried:
        """Put back what is under way to `path`. May be repeated."""
        try:
            content = self._store.read(self._station(path), MAX_BYTES)
        except NotFound:
            return Retried(path, "gone", "another retry has put it back.")
        found = self._outcome(path, content)
        if found.outcome == "waits" and not self._put_back(path, content):
            return Retried(path, "stays", "another file waits there: let an ingest take that, then retry again.")
        self._store.delete(self._station(path))
        return found

    def _station(self, path: str) -> str:
        layout = self._config.layout
        return f"{layout.retries}/{path.removeprefix(f'{layout.root}/')}"

    def _read(self, held: Held) -> bytes:
        if held.size is None:
            raise NotFound(f"there is no {held.place} in quarantine any more.")
        if not held.path:
            raise DataError("nobody knows where it came from.", remedy="Drop it.")
        if not 0 < held.size <= MAX_BYTES:
            raise DataError(f"it has {held.size} bytes, 1 to {MAX_BYTES} are taken.", remedy="Drop it.")
        return self._store.read(held_at(self._config.layout, held.place), MAX_BYTES)

    def _outcome(self, path: str, content: bytes) -> Retried:
        labels = path.startswith(f"{self._config.layout.labels}/")
        try:
            known = self._knows_labels(path, content) if labels else self._knows_batch(path, content)
        except DataError as error:
            return Retried(path, "waits", f"as it is now, it is rejected again: {error}")
        return (
            Retried(path, "known", "the lake has it already.")
            if known
            else Retried(path, "waits", "it would be taken.")
        )

    def _knows_labels(self, path: str, content: bytes) -> bool:
        rows, source = check_labels(content, self._config, self._now), label_source(path, self._config)
        return knows_labels(self._lake, rows, source)

    def _knows_batch(self, path: str, content: bytes) -> bool:
        device, name = batch_place(path, self._config)
        others = self._known.get((device, name.epoch), [])
        if any(digest == name.sha256 for _, _, digest in others):
            return True
        demand_fresh_sequence(check_batch(path, content, self._config, self._now), others)
        return False

    def _put_back(self, path: str, content: bytes) -> bool:
        """Whether it is there then; not if another file has that name."""
        try:
            self._store.create(path, content)
        except AlreadyExists:
            return self._store.read(path, MAX_BYTES + 1) == content
        return True
