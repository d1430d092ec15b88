"""Policies on a device: a release brings them, a rollback takes them back, and a rejected reading costs no other its answer."""

from __future__ import annotations

import math
from collections import Counter

import msgspec
import numpy as np
import pytest

from edge_runtime.device import Device
from edgeloop.config import parse_loop
from tests.edge_runtime.releases import release_to_everyone, site
from tests.site import LOOP, Site, predict

__all__ = ["site"]

GOOD = {"a": 1.0, "b": -2.0, "mode": "slow"}
BARE = {"b": None, "mode": "slow"}
HALF = {"a": 1.0, "mode": "slow"}


def bring_policies(site: Site) -> str:
    """A release that rejects a reading without `a` or with an endless `b`, and imputes a `b` that is missing; its digest."""
    policies = 'missing = {a = "reject", b = 0.5, mode = "slow"}\noutside = {b = "reject"}\n[features.categories]'
    site.config = parse_loop(LOOP.replace("[features.categories]", policies))
    return release_to_everyone(site, 9)


def last(device: Device) -> tuple[str | None, str | None, list[float | None]]:
    """Of the newest event: its release, its prediction, and a, b and mode."""
    device.flush()
    event = device._spool.oldest(10_000)[-1]
    return event.release, event.prediction, [None if v is None or math.isnan(v) else v for v in event.inputs[:3]]


def fail(*_: object) -> list[float]:
    raise RuntimeError("the runtime is out of order")


def test_a_rollout_brings_policies_to_a_device_that_nobody_visits(site: Site) -> None:
    with site.open("dev") as device:
        assert device.predict(BARE).label is not None  # r0001 rejects nothing
        imputed = Counter(device.status().imputed)
        digest = bring_policies(site)
        device.poll()
        found = device.predict(BARE)
        assert (found.label, found.confidence) == (None, None)
        assert found.reason == "rejected: a is missing"
        assert last(device) == (digest, None, [None, 0.5, 0.0])
        assert device.predict({**GOOD, "b": math.inf}).reason == "rejected: b is out of range"
        assert last(device) == (digest, None, [1.0, None, 0.0])
        found = device.predict(HALF)
        assert last(device) == (digest, found.label, [1.0, 0.5, 0.0])
        assert device.status().on_probation  # what is rejected says nothing of a release
        predict(device, 4)
        assert device.status().update.state == "committed"
        status = device.status()
        assert Counter(status.imputed) - imputed == {"b": 2}
        assert (status.rejected, status.invalid) == ({"a": 1, "b": 1}, {"b": 1})
    with site.open("dev") as device:
        assert device.predict(BARE).reason == "rejected: a is missing"
        assert b'"reason"' not in msgspec.json.encode(device.predict(GOOD))


def test_before_the_first_release_the_settings_say_it(site: Site) -> None:
    bring_policies(site)
    with site.open("new") as device:
        assert device.predict(GOOD).reason == "there is no release yet"
        assert device.predict(BARE).reason == "rejected: a is missing"
        assert last(device) == (None, None, [None, 0.5, 0.0])


def test_a_rollback_brings_the_old_policies_back_for_the_reading_at_hand_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.open("dev") as device:
        old, unknown = device.status().release, None if site.config.schema().may_be_missing else 0.0
        bring_policies(site)
        device.poll()
        assert device._running.release is not None
        monkeypatch.setattr(device._running.release, "model", type("Broken", (), {"probabilities": fail})())
        found = device.predict(HALF)
        assert device.status().update.state == "rolled-back"
        assert last(device) == (old, found.label, [1.0, unknown, 0.0])
        assert found.label is not None
        assert device.predict(BARE).label is not None


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("broken", [False, True])
def test_of_a_batch_all_but_the_rejected_are_predicted(
    site: Site, monkeypatch: pytest.MonkeyPatch, staged: bool, broken: bool
) -> None:
    bring_policies(site)
    with site.open("dev") as device:
        device.poll()
        if not staged:
            predict(device, 5)
        assert device._running.release is not None
        if broken:  # as a batch, so that each is tried by itself
            monkeypatch.setattr(device._running.release.model, "probabilities_many", fail)
        alone = [device.predict(reading) for reading in (GOOD, HALF)]
        found = device.predict_many([BARE, GOOD, BARE, HALF])
        assert [p.reason for p in found] == ["rejected: a is missing", "", "rejected: a is missing", ""]
        assert [p.confidence for p in found[1::2]] == pytest.approx([p.confidence for p in alone])
        assert [p.seq for p in found] == [found[0].seq + i for i in range(4)]
        before = device.status().rejected["a"]
        rows = np.array([[math.nan, 0, 0, 0], [1, 0, 0, 0]], np.float32)
        assert [p.label is None for p in device.predict_many(rows)] == [True, False]
        assert [p.label for p in device.predict_many(rows[:1])] == [None]
        assert device.status().rejected["a"] == before + 2
