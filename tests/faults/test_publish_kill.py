"""kill -9 of each command that signs, at each of its calls to the store: devices see the old state or the new, and repeating it ends it."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile, Targets

import edgeloop.store
from edge_runtime.trust import refresh as client_refresh
from edgeloop.cli import main
from edgeloop.clock import system_clock
from edgeloop.store import Store, open_store
from fleet.keys import Keys, create_keys
from fleet.repository import initialise, publish, refresh
from fleet.rotation import trusted_keys
from tests.site import kill_self

VERBS = ("create", "replace", "replace_if", "read", "read_version", "size", "list", "delete", "copy")
PATH = "rollouts/pump.json"
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__, "edgeloop.cli.keys", "fleet.rotation"])  # so that a child is a fork, and quick


def dying(store: Store, calls: int) -> Store:
    """The store, in whose hands this process dies before it has done more than so many calls."""
    left = [calls]

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                kill_self()
            return method(*arguments, **options)

        return call

    for verb in VERBS:
        setattr(store, verb, counted(getattr(store, verb)))
    return store


def run(what: str, directory: Path, store: Store) -> None:
    """A command, or what a schedule does."""
    keys = Keys(directory / "keys")
    if what == "publish":
        publish(store, keys, "rollouts", add, {PATH: b"new"}, system_clock())
    elif what == "refresh":
        refresh(store, keys, system_clock())
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(edgeloop.store, "open_store", lambda _: store)
            patch.setattr(sys, "argv", command(what, directory))
            with pytest.raises(SystemExit, match="0"):
                main()


def command(what: str, directory: Path) -> list[str]:
    places = ["--store", str(directory / "store"), "--keys", str(directory / "keys")]
    return ["edgeloop", *what.split(), *places, *(["--unencrypted"] if "init" in what else [])]


def child(what: str, directory: Path, calls: int) -> None:
    run(what, directory, dying(open_store(directory / "store"), calls))


def add(targets: Targets) -> None:
    targets.targets[PATH] = TargetFile.from_data(PATH, b"new", ["sha256"])


def killed(what: str, directory: Path, calls: int) -> bool:
    """Run it in a process of its own; whether that was killed."""
    process = FORKS.Process(target=child, args=(what, directory, calls))
    process.start()
    process.join()
    assert process.exitcode in (0, -9)
    return process.exitcode == -9


def look(directory: Path, root: bytes, device: str) -> bool:
    """What a device finds, which must verify: whether the rollout is there."""
    home = directory / device
    home.mkdir(exist_ok=True)
    trusted = client_refresh(home, open_store(directory / "store"), root, system_clock())
    target = trusted.find(PATH)
    return target is not None and trusted.read(target, home / "rollout.json") == b"new"


def test_an_init_that_is_killed_anywhere_is_finished_by_another(tmp_path: Path) -> None:
    calls = 0
    while killed("fleet init", tmp_path / str(calls), calls):
        directory = tmp_path / str(calls)
        run("fleet init", directory, open_store(directory / "store"))
        look(directory, (directory / "keys/root.json").read_bytes(), "new")
        calls += 1
    assert calls > 7


@pytest.mark.parametrize(
    ("what", "replaced"),
    [
        ("publish", ()),
        ("refresh", ()),
        ("fleet renew", ()),
        (
            "fleet keys rotate rollouts snapshot timestamp targets root-1",
            ("rollouts", "snapshot", "timestamp", "targets", "root-1"),
        ),
    ],
)
def test_killed_anywhere_a_device_sees_the_old_state_or_the_new(
    tmp_path: Path, what: str, replaced: tuple[str, ...]
) -> None:
    begun = system_clock() - timedelta(days=200)
    before = tmp_path / "before"
    store, keys = open_store(before / "store"), create_keys(before / "keys")
    root = initialise(store, keys, begun)
    refresh(store, keys, system_clock() - timedelta(days=2))
    look(before, root, "old")
    old = {keys.public(name).keyid for name in replaced}
    calls, ends = 0, False
    while not ends:
        directory = tmp_path / str(calls)
        shutil.copytree(before, directory)
        ends = not killed(what, directory, calls)
        for device in ("old", "new"):
            look(directory, root, device)
        if not ends:
            run(what, directory, open_store(directory / "store"))
        assert look(directory, root, "old") == look(directory, root, "new") == (what == "publish")
        opened, ring = open_store(directory / "store"), Keys(directory / "keys")
        assert not old & {key.keyid for key in trusted_keys(opened, ring)}
        assert not old & {ring.public(name).keyid for name in ring.names()}
        publish(opened, ring, "rollouts", add, {PATH: b"new"}, system_clock())
        assert look(directory, root, "old")
        assert not (directory / "keys/draft.json").exists()
        shutil.rmtree(directory)
        calls += 1
    assert calls > 4
