"""A reading may be a mapping or a row, and there may be many: the answers, the events and what is counted are the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from edge_runtime.device import Device, Prediction
from edgeloop.errors import DataError
from tests.edge_runtime.releases import release_to_everyone, site
from tests.site import START, Site, readings

__all__ = ["site"]

MODES = ("slow", "fast")


def matrix(rows: list[dict[str, object]], dtype: str = "float32") -> np.ndarray:
    """The same readings in the schema's order (a, b, hour, mode by whatever order it has), nothing where the time decides."""
    return np.array([[row["a"], row["b"], MODES.index(str(row["mode"])), math.nan] for row in rows], dtype)


def answers(found: list[Prediction]) -> list[tuple[str | None, float | None]]:
    return [(answer.label, answer.confidence) for answer in found]


def recorded(device: Device) -> list[tuple[int, list[float | None], str | None]]:
    device.flush()
    return [
        (e.seq, [None if v is None or v != v else v for v in e.inputs], e.prediction) for e in device._spool.oldest(999)
    ]


def test_rows_and_batches_are_answered_and_recorded_as_mappings_are(site: Site) -> None:
    rows, ts = readings(30), START + timedelta(hours=9, days=8)
    assert site.config.schema().names == ("a", "b", "mode", "hour")
    with site.open("dev") as device:
        device.exchange()
        one_by_one = [device.predict(row, ts=ts) for row in rows]
        events, first = recorded(device), one_by_one[0].seq
        device.ship()
        ways: list[Callable[[], list[Prediction]]] = [
            lambda: [device.predict(row, ts=ts) for row in matrix(rows, "float64")],
            lambda: device.predict_many(matrix(rows, "float64"), ts=ts),
            lambda: device.predict_many(rows, ts=[ts] * len(rows)),
            lambda: device.predict_many([rows[0], *matrix(rows[1:], "float64")], ts=ts),
        ]
        for number, way in enumerate(ways, start=1):
            found = way()
            assert [answer.seq for answer in found] == [first + number * len(rows) + i for i in range(len(rows))]
            assert answers(found) == [(label, pytest.approx(p, abs=1e-6)) for label, p in answers(one_by_one)]
            inputs = [(inputs, label) for _, inputs, label in recorded(device)]
            assert inputs == [(inputs, label) for _, inputs, label in events]
            device.ship()
        assert answers(device.predict_many(matrix(rows))) == [
            (a.label, pytest.approx(a.confidence)) for a in one_by_one
        ]
        assert device.predict_many([]) == device.predict_many(matrix([]).reshape(0, 4)) == []


def test_what_is_missing_or_no_value_is_counted_alike(site: Site) -> None:
    with site.open("dev") as device:
        device.predict({"a": math.inf, "b": math.nan, "mode": "none"})
        assert device.status().invalid == {"a": 1, "mode": 1}
        device.predict(np.array([-math.inf, math.nan, 2.0, 99.0]))
        device.predict_many(
            np.array([[1e39, math.nan, 0.5, math.inf], [1.0, 1.0, math.nan, 0.0], [1.0, 1.0, -1.0, 0.0]])
        )
        assert device.status().invalid == {"a": 3, "mode": 4}
        unknown = None if device.settings.schema.may_be_missing else 0.0
        assert [inputs[:3] for _, inputs, _ in recorded(device)[-2:]] == [[1.0, 1.0, unknown]] * 2


@pytest.mark.parametrize(
    ("reading", "found"),
    [
        (np.zeros(3), r"float64 of shape \(3,\)"),
        (np.zeros((4, 1)), r"float64 of shape \(4, 1\)"),
        (np.zeros(4, int), r"int64 of shape \(4,\)"),
        (np.array(["a"] * 4), r"<U1 of shape \(4,\)"),
        ([0.0] * 4, "found list"),
        (None, "found NoneType"),
    ],
)
def test_what_is_no_reading_is_said_with_what_was_expected(site: Site, reading: object, found: str) -> None:
    with site.open("dev") as device:
        before = device.predict({}).seq
        with pytest.raises(DataError, match=rf"of shape \(4,\), float32 or float64; .*{found}"):
            device.predict(reading)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="expected"):
            device.predict_many(reading)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="one time or 2"):
            device.predict_many([{}, {}], ts=[START])
        assert device.predict({}).seq == before + 1


def test_a_batch_is_one_call_and_one_bad_row_takes_no_other_with_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.open("dev") as device:
        assert device._running.release is not None
        model, calls = device._running.release.model, list[int]()
        one, many = model.probabilities, model.probabilities_many

        def counted(rows: list[list[float]]) -> list[list[float]]:
            calls.append(len(rows))
            if any(row[0] == 13 for row in rows):
                raise ValueError("unlucky")
            return many(rows)

        def picky(row: list[float]) -> list[float]:
            calls.append(1)
            if row[0] == 13:
                raise ValueError("unlucky")
            return one(row)

        monkeypatch.setattr(model, "probabilities_many", counted)
        monkeypatch.setattr(model, "probabilities", picky)
        assert None not in [answer.label for answer in device.predict_many(readings(7))]
        assert calls == ([7] if device._running.release.runtime == "onnx" else [7, *[1] * 7])
        found = device.predict_many([{"a": 1.0}, {"a": 13.0}, {"a": 2.0}])
        assert [answer.label is None for answer in found] == [False, True, False]
        assert "unlucky" in device.status().update.reason


def test_a_batch_on_probation_is_judged_row_by_row(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    release_to_everyone(site, 9)
    with site.open("dev") as device:
        device.poll()
        assert device._running.release is not None
        model, seen = device._running.release.model, list[float]()

        def breaks(row: list[float]) -> list[float]:
            seen.append(row[0])
            return [math.nan] * 2 if len(seen) == 3 else [0.5, 0.5]

        monkeypatch.setattr(model, "probabilities", breaks)
        found = device.predict_many(readings(9))
        assert device.status().update.state == "rolled-back"
        assert None not in [answer.label for answer in found]  # the committed one answers for the one that was put back
        assert {answer.confidence for answer in found[3:]} != {0.5}
