"""A small deployment in a directory, made of real parts, and a store that can be bent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from edge_runtime.device import Device
from edge_runtime.settings import create_home, settings_of
from edgeloop.clock import SimulatedClock
from edgeloop.config import LoopConfig, parse_loop
from edgeloop.errors import StoreError
from edgeloop.events import LABELS, lake_schema
from edgeloop.store import Store, open_store
from fleet.keys import Keys, create_keys
from fleet.repository import initialise

if TYPE_CHECKING:
    from assets.centre import Centre
    from edgeloop.lake import Lake

START = datetime(2024, 1, 1, tzinfo=UTC)
HASH_KEY = b"the key of all devices of a loop"

LOOP = """
version = 1
[loop]
name = "pump"
[table]
device = "device"
time = "time"
[label]
column = "state"
classes = ["good", "bad"]
[features]
numbers = ["a", "b"]
from_time = ["hour"]
[features.categories]
mode = ["slow", "fast"]
[device]
batch_events = 50
probation_events = 5
[training]
validation = "2d"
[training.parameters]
trees = 8
leaves = 7
[gate]
min_rows = 50
[rollout]
min_labels = 50
[backtest]
seed = "6d"
tick = "2d"
period = "6d"
"""


@dataclass
class Site:
    """A store, its keys and a clock, for one loop."""

    directory: Path
    config: LoopConfig
    store: Store
    keys: Keys
    clock: SimulatedClock
    root: bytes

    @cached_property
    def centre(self) -> Centre:
        """The centre's side, which a test of a device goes without: where only a device is installed, there is none."""
        from assets.centre import Centre

        return Centre(self.store, self.keys, self.clock)

    @property
    def lake(self) -> Lake:
        return self.centre.lake(self.config)

    def home(self, device: str, store: str = "") -> Path:
        """The home of a device, set up."""
        home = self.directory / "devices" / device
        settings = settings_of(self.config, device, store or self.store.url)
        create_home(home, settings, self.root, HASH_KEY if settings.schema.hashed else b"")
        return home

    def open(self, device: str) -> Device:
        """A device's context manager, on the site's clock; set up if it is not yet."""
        home = self.directory / "devices" / device
        if not home.exists():
            self.home(device)
        return Device.open(home, clock=self.clock)


def make_site(directory: Path, loop: str = LOOP, store: Store | None = None) -> Site:
    """A fresh deployment; in a directory, if no `store` is given."""
    config = parse_loop(loop)
    store, clock = store or open_store(directory / "store"), SimulatedClock(START)
    keys = create_keys(directory / "keys")
    root = initialise(store, keys, START)
    return Site(directory, config, store, keys, clock, root)


def readings(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Readings whose state can be learned: bad when a + b is over zero."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(count, 2)).round(3)
    return [{"a": float(a), "b": float(b), "mode": "fast" if i % 3 else "slow"} for i, (a, b) in enumerate(values)]


def predict(device: Device, count: int) -> int:
    """Predict; how many answers were right. Every one must be an answer."""
    right = 0
    for reading in readings(count, seed=99):
        found = device.predict(reading)
        assert found.label is not None
        right += found.label == truth(reading)
    return right


def pass_probation(site: Site) -> None:
    """`dev` takes the release that is for it, predicts until that is committed, and reports it."""
    with site.open("dev") as device:
        device.exchange()
        predict(device, 10)
        assert device.status().update.state == "committed"
        device.report()


def truth(reading: dict[str, object]) -> str:
    return "bad" if float(reading["a"]) + float(reading["b"]) > 0 else "good"  # type: ignore[arg-type]


def fill_lake(site: Site, count: int, devices: int = 3, *, wrong: float = 0.0, since: datetime = START) -> None:
    """Labelled events straight into the lake, an hour apart; a share of `wrong` labels."""
    draw, rows, labels = np.random.default_rng(1), [], []
    schema = lake_schema(site.config.schema())
    for d in range(devices):
        for i, reading in enumerate(readings(count, seed=d)):
            ts = since + timedelta(hours=i)
            label = truth(reading)
            if draw.random() < wrong:
                label = "good" if label == "bad" else "bad"
            base = {
                "device": f"d{d}",
                "epoch": 1,
                "seq": i + 1,
                "ts": ts,
                "weight": 1.0,
                "batch": "x",
                "ingested_at": ts,
            }
            features = {"f_a": reading["a"], "f_b": reading["b"], "f_mode": float(i % 3 > 0), "f_hour": float(ts.hour)}
            rows.append({**base, **features, "month": f"{ts:%Y-%m}"})
            labels.append(
                {
                    "device": f"d{d}",
                    "ts": ts,
                    "label": label,
                    "known_at": ts + timedelta(hours=1),
                    "source": "t",
                    "ingested_at": ts,
                }
            )
    site.lake.append("events", pa.Table.from_pylist(rows, schema=schema), ["month"])
    label_schema = pa.schema([*LABELS, ("source", pa.string()), ("ingested_at", pa.timestamp("us", tz="UTC"))])
    site.lake.append("labels", pa.Table.from_pylist(labels, schema=label_schema))


class BentStore(Store):
    """A real store whose operations can be made to fail: `before` and `after` are called with the verb and the path."""

    def __init__(
        self,
        inner: Store,
        before: Callable[[str, str], None] = lambda *_: None,
        after: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        super().__init__(inner._backend, inner.url, inner.directory)
        self._before, self._after = before, after

    def create(self, path: str, content: bytes) -> None:
        self._before("create", path)
        super().create(path, content)
        self._after("create", path)

    def replace(self, path: str, content: bytes) -> None:
        self._before("replace", path)
        super().replace(path, content)
        self._after("replace", path)

    def copy(self, path: str, to: str) -> None:
        self._before("copy", to)
        super().copy(path, to)
        self._after("copy", to)

    def delete(self, path: str) -> None:
        self._before("delete", path)
        super().delete(path)
        self._after("delete", path)

    def delete_all(self, paths: Sequence[str]) -> None:
        for path in paths:
            self.delete(path)

    def read(self, path: str, at_most: int | None = None) -> bytes:
        self._before("read", path)
        return super().read(path, at_most)


def link_down(*_: str) -> None:
    """Use as `before` for no link, as `after` for a reply that was lost."""
    raise StoreError("the link is down")


def hear_ctrl_c() -> None:
    """Use as `preexec_fn`: what a shell runs in the background ignores Ctrl-C, and so would a process that a test starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kill_self(*_: str) -> None:
    """kill -9 this very process."""
    os.kill(os.getpid(), signal.SIGKILL)
