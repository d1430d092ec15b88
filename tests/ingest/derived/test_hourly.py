"""The queries of the aggregates against plain Python on the same events: by weight, exact by the device, within 1 % by the release."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.config import parse_loop
from edgeloop.events import lake_schema
from edgeloop.lake import open_duckdb, run_sql
from edgeloop.truth import add_truth
from ingest.derived.aggregates import AGGREGATES
from ingest.tables import LABEL_ROWS, SKETCHES
from tests.site import LOOP, START

SCHEMA = lake_schema(parse_loop(LOOP).schema())
Row = dict[str, Any]
HEAVY = st.sampled_from([1.0, 1.0, 2.0, 3.5, 10.0])


def floats(least: float, greatest: float) -> st.SearchStrategy[float]:
    return st.floats(float(np.float32(least)), float(np.float32(greatest)), width=32)


@st.composite
def rows(draw: st.DrawFn, weight: st.SearchStrategy[float] = HEAVY) -> list[Row]:
    """Events of two devices and hours, some of them labelled."""
    one = st.fixed_dictionaries(
        {
            "device": st.sampled_from(["d1", "d2"]),
            "minutes": st.integers(0, 119),
            "release": st.sampled_from([None, "r"]),
            "prediction": st.sampled_from(["good", "bad", None]),
            "confidence": st.none() | floats(0, 1),
            "latency_us": st.none() | floats(0.01, 1e7),
            "weight": weight,
            "f_a": st.none() | floats(-1e6, 1e6),
            "label": st.sampled_from(["good", "bad", None]),
        }
    )
    found = draw(st.lists(one, min_size=1, max_size=60))
    for i, row in enumerate(found):
        ts = START + timedelta(minutes=row.pop("minutes"), microseconds=i)
        row |= {"ts": ts, "epoch": 1, "seq": i, "batch": "x", "ingested_at": ts, "month": f"{ts:%Y-%m}"}
    return found


def asked(name: str, events: list[Row]) -> list[Row]:
    """What the query of an aggregate gives of `events`."""
    (aggregate,) = (a for a in AGGREGATES if a.name == name)
    told = [
        {"known_at": e["ts"], "source": "t", **{k: e[k] for k in ("device", "ts", "label", "ingested_at")}}
        for e in events
        if e["label"]
    ]
    connection = open_duckdb()
    connection.register("events", pa.Table.from_pylist(events, schema=SCHEMA))
    connection.register("labels", pa.Table.from_pylist(told, schema=LABEL_ROWS))
    connection.register("sketches", SKETCHES.empty_table())
    add_truth(connection, ())
    connection.register("sketched", aggregate.sketched(connection))
    found: list[Row] = run_sql(connection, aggregate.query).to_pylist()
    return found


def groups(events: list[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    found = defaultdict(list)
    for event in events:
        event = {**event, "hour": event["ts"].replace(minute=0, second=0, microsecond=0)}
        found[tuple(event[key] for key in keys)].append(event)
    return found


def quantile(events: Iterable[Row], column: str, share: float) -> float | None:
    """The least value that such a share of the weight does not exceed."""
    values = sorted((e[column], e["weight"]) for e in events if e[column] is not None)
    total, sofar = sum(w for _, w in values), 0.0
    for value, weight in values:
        sofar += weight
        if sofar / total >= share:
            return float(value)
    return None


def counts(events: list[Row]) -> Row:
    told = [e for e in events if e["label"]]
    right = [e for e in told if e["label"] == e["prediction"]]
    weighed = {"weighted": events, "weighted_labelled": told, "weighted_correct": right}
    return {
        "events": len(events),
        "labelled": len(told),
        "correct": len(right),
        **{name: sum(e["weight"] for e in some) for name, some in weighed.items()},
    }


@settings(max_examples=25, deadline=None)
@given(rows())
def test_a_devices_hour_is_exact(events: list[Row]) -> None:
    expected = groups(events, "device", "hour", "release")
    found = {(row["device"], row["hour"], row["release"]): row for row in asked("device_hourly", events)}
    assert found.keys() == expected.keys()
    for key, of_it in expected.items():
        row = found[key]
        assert {name: row[name] for name in counts(of_it)} == counts(of_it)
        for name, share in (("confidence", 0.05), ("confidence", 0.5), ("latency_us", 0.5), ("latency_us", 0.99)):
            assert row[f"{name}_p{share * 100:02.0f}"] == quantile(of_it, name, share)
        sure = [(e["confidence"] * e["weight"], e["weight"]) for e in of_it if e["confidence"] is not None]
        mean = sum(part for part, _ in sure) / sum(weight for _, weight in sure) if sure else None
        assert row["mean_confidence"] == pytest.approx(mean, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(rows())
def test_a_features_hour_is_exact(events: list[Row]) -> None:
    expected = {
        key[0]: of_it for key, of_it in groups(events, "hour").items() if any(e["f_a"] is not None for e in of_it)
    }
    found = {row["hour"]: row for row in asked("feature_hourly", events) if row["feature"] == "f_a"}
    assert found.keys() == expected.keys()
    for hour, of_it in expected.items():
        row = found[hour]
        present = [(e["f_a"], e["weight"]) for e in of_it if e["f_a"] is not None]
        values, weights = (np.array(part) for part in zip(*present, strict=True))
        mean = np.average(values, weights=weights)
        assert (row["events"], row["missing"]) == (len(of_it), len(of_it) - len(present))
        assert (row["minimum"], row["maximum"]) == (values.min(), values.max())
        assert row["mean"] == pytest.approx(mean, abs=1e-6)
        if weights.sum() > 1:
            spread = (weights * (values - mean) ** 2).sum() / (weights.sum() - 1)
            assert row["stddev"] == pytest.approx(np.sqrt(spread), abs=1e-3)
        for share in (0.01, 0.05, 0.5, 0.95, 0.99):
            assert row[f"p{share * 100:02.0f}"] == quantile(of_it, "f_a", share)


def within(found: float | None, true: float | None, is_near: Callable[[float, float], bool]) -> bool:
    return found is true is None or (found is not None and true is not None and is_near(found, true))


def quantile_of(bins: Iterable[Row], share: float) -> float | None:
    """The bin in which a quantile is, of histograms that may be several."""
    weights: dict[int, float] = defaultdict(float)
    for one in bins:
        weights[one["bin"]] += one["weight"]
    return quantile([{"bin": k, "weight": weight} for k, weight in weights.items()], "bin", share)


@settings(max_examples=25, deadline=None)
@given(rows())
def test_a_releases_hour_is_within_its_bins_and_so_is_the_sum_of_hours(events: list[Row]) -> None:
    expected = groups(events, "release", "hour")
    found = {(row["release"], row["hour"]): row for row in asked("release_hourly", events)}
    assert found.keys() == expected.keys()
    for key, of_it in expected.items():
        row = found[key]
        assert {name: row[name] for name in counts(of_it)} == counts(of_it)
        for share in (0.5, 0.99):
            true = quantile(of_it, "latency_us", share)
            assert within(row[f"latency_us_p{share * 100:.0f}"], true, lambda a, b: abs(a / b - 1) <= 0.01)
        for share in (0.05, 0.5):
            true = quantile(of_it, "confidence", share)
            assert within(row[f"confidence_p{share * 100:02.0f}"], true, lambda a, b: abs(a - b) <= 0.00251)
    together = [one for row in found.values() for one in row["latency_us_bins"] or ()]
    middle = quantile_of(together, 0.5)
    near = None if middle is None else 2 / 2.02 * 1.02**middle
    assert within(near, quantile(events, "latency_us", 0.5), lambda a, b: abs(a / b - 1) <= 0.01)


@settings(max_examples=15, deadline=None)
@given(rows(weight=st.just(1.0)))
def test_events_of_one_weight_give_what_they_give_without(events: list[Row]) -> None:
    """One path is for hours in which all weigh 1, the other for the rest; there must be no seam between them."""
    for name in ("device_hourly", "feature_hourly"):
        plain = asked(name, events)
        doubled = asked(name, [{**event, "weight": 2.0} for event in events])
        for one, two in zip(plain, doubled, strict=True):
            same = [
                k
                for k in one
                if k.startswith(("p", "latency", "confidence", "minimum", "maximum", "events", "missing"))
            ]
            assert {k: one[k] for k in same} == {k: two[k] for k in same}
