"""Publishing, cut off at every put: a client sees the old state or the new one, and a repeat succeeds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile, Targets

from edge_runtime.trust import refresh as client_refresh
from edgeloop.errors import StoreError, TrustError
from edgeloop.store import Store, open_store
from fleet.ceremony import publish_draft, sign_draft
from fleet.keys import Keys, create_keys
from fleet.metadata import TIMESTAMP
from fleet.repository import initialise, publish, read_role, refresh, renew_offline_roles
from fleet.rotation import draft_rotation, forget_replaced
from tests.site import START, BentStore

DAY = timedelta(days=1)


class CutOff(BentStore):
    """Lets so many writes through, then none: as for a process that was killed there."""

    def __init__(self, inner: Store, writes: int) -> None:
        super().__init__(inner, before=self._check, after=self._count)
        self._left = writes

    def replace_if(self, path: str, content: bytes, version: str | None) -> None:
        self._check("replace", path)
        super().replace_if(path, content, version)
        self._count("replace", path)

    def _check(self, verb: str, path: str) -> None:
        if verb != "read" and self._left <= 0:
            raise StoreError(f"cut off before {path}")

    def _count(self, *_: str) -> None:
        self._left -= 1


@pytest.mark.parametrize("writes", range(6))
def test_an_initialisation_that_was_cut_off_is_finished(tmp_path: Path, writes: int) -> None:
    store, keys = open_store(tmp_path / "store"), create_keys(tmp_path / "keys")
    with pytest.raises(StoreError):
        initialise(CutOff(store, writes), keys, START)
    if writes:
        with pytest.raises(TrustError, match="not signed by our"):
            initialise(store, create_keys(tmp_path / "other"), START)
    root = initialise(store, keys, START + DAY)
    assert initialise(store, Keys(tmp_path / "none"), START) == root  # finished: needs no key
    client_refresh(home(tmp_path, "device"), store, root, START + DAY)


@pytest.mark.parametrize("what", ["publish", "refresh", "renew"])
def test_whatever_is_cut_off_a_client_sees_the_old_state_or_the_new(tmp_path: Path, what: str) -> None:
    store, keys = open_store(tmp_path / "store"), create_keys(tmp_path / "keys")
    root = initialise(store, keys, START)

    def change(targets: Targets) -> None:
        targets.targets["rollouts/pump.json"] = TargetFile.from_data("rollouts/pump.json", b"new", ["sha256"])

    def work(cut: CutOff, day: float) -> None:
        now = START + day * DAY
        if what == "publish":
            publish(cut, keys, "rollouts", change, {"rollouts/pump.json": b"new"}, now)
        elif what == "refresh":
            refresh(cut, keys, now)
        else:
            renew_offline_roles(cut, keys, now)

    day, writes, done = {"publish": 1.0, "refresh": 2.5, "renew": 200.0}[what], 0, False
    if what == "renew":
        refresh(store, keys, START + 199 * DAY)
    device = home(tmp_path, "device")
    while not done:
        try:
            work(CutOff(store, writes), day)
            done = True
        except StoreError:
            writes += 1
        trusted = client_refresh(device, store, root, START + day * DAY)
        target = trusted.find("rollouts/pump.json")
        assert target is None or trusted.read(target, device / "rollout.json") == b"new"
    assert writes >= 1
    if what == "renew":  # both offline roles hold for another year, however often it was cut off
        refresh(store, keys, START + 500 * DAY)
        client_refresh(device, store, root, START + 500 * DAY)
    assert (trusted.find("rollouts/pump.json") is not None) == (what == "publish")


def test_nobody_makes_a_publisher_sign_anew_what_is_old(tmp_path: Path) -> None:
    """Who can write to the bucket puts the timestamp before an abort back. Signed on from there, that would be news to a device."""
    store, keys = open_store(tmp_path / "store"), create_keys(tmp_path / "keys")
    initialise(store, keys, START)

    def say(text: bytes) -> Callable[[Targets], None]:
        return lambda targets: targets.targets.update(
            {"rollouts/pump.json": TargetFile.from_data("rollouts/pump.json", text, ["sha256"])}
        )

    publish(store, keys, "rollouts", say(b"bad"), {}, START)
    old = store.read(TIMESTAMP)
    publish(store, keys, "rollouts", say(b"aborted"), {}, START)
    newest = store.read(TIMESTAMP)
    store.replace(TIMESTAMP, old)
    for _ in range(2):
        with pytest.raises(TrustError, match=r"is version 2, and 3 was published before"):
            refresh(store, keys, START + 6 * DAY)
    other = Keys(tmp_path / "another")  # who has seen nothing yet cannot know, nor sign what only the first can
    assert read_role(store, other, "rollouts").version == 2
    store.replace(TIMESTAMP, newest)
    refresh(store, keys, START + 6 * DAY)
    assert read_role(store, keys, "rollouts").version == 4

    store.replace(TIMESTAMP, old)  # the newest is gone for good: under other keys they begin anew from what there is
    draft = sign_draft(draft_rotation(store, keys, ("snapshot", "timestamp"), START), keys)
    publish_draft(store, keys, draft, START)
    forget_replaced(keys, draft)
    refresh(store, keys, START)


def home(directory: Path, name: str) -> Path:
    found = directory / name
    found.mkdir(exist_ok=True)
    return found
