"""A model that knows no missing value is given none: not published, not fetched; one that ran before that was asked for goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.model import runtimes_here
from edgeloop.errors import GateRefused
from tests.edge_runtime.releases import IMPUTED, release
from tests.site import LOOP, Site, make_site, pass_probation, readings

pytestmark = pytest.mark.skipif("tflite" not in runtimes_here(), reason="every other runtime here knows missing values")

OPEN = LOOP + "[features.missing]\na = 0.0\n"
"""Of its features b and mode may be missing, and a and hour are not."""


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A centre that publishes what it should not."""
    monkeypatch.setattr("fleet.releases._demand_values", lambda _: None)
    return make_site(tmp_path, OPEN)


@pytest.mark.parametrize("kind", ["tflite", "int8"])
def test_it_is_not_published_and_the_features_are_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(
        GateRefused, match=r"b, mode may be missing to models/pump/r0001\.tflite.*\[features\.missing\]"
    ):
        release(make_site(tmp_path / "open", OPEN), 8, kind)
    release(make_site(tmp_path / "imputed", IMPUTED), 8, kind)
    release(make_site(tmp_path / "onnx", OPEN), 8, "onnx")


def test_a_device_refuses_it_before_it_is_fetched_and_says_why(older: Site) -> None:
    digest = release(older, 8, "tflite")
    with older.open("dev") as device:
        device.poll()
        update = device.status().update
        assert (update.state, update.release) == ("refused-release", digest)
        assert "knows no missing value, and b, mode may be missing" in update.reason
        assert not [*device.home.glob("models/*/model.*"), *device.home.glob("models/*/*.part")]
        assert not device.status().refused  # a release is what it is: the next poll says the same


def test_one_that_ran_before_goes_on(older: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    release(older, 8, "tflite")
    with monkeypatch.context() as before:
        before.setattr("edgeloop.manifest.KNOW_MISSING", {"onnx", "tflite"})
        pass_probation(older)
    with older.open("dev") as device:
        device.exchange()
        assert (device.status().release_id, device.status().update.state) == ("r0001", "up-to-date")
        assert device.predict(readings(1)[0] | {"b": None}).label is not None
