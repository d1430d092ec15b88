"""What chance does to an index, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.drift.measure import FAMILIES, adjust
from ingest.drift.stability import Sample, Trained, against_peers, against_reference, moved_since, stability_index

DEVICES, DAYS, FEATURES, LOOKS, TRAINED = 50, 30, 20, 500, 90
FALSE_ALARMS = 0.05


def test_the_index_is_zero_for_the_same_and_known_for_a_shift() -> None:
    same = np.full(4, 0.25)
    assert stability_index(same, same) == 0
    # (0.7 - 0.5) ln(0.7 / 0.5) + (0.3 - 0.5) ln(0.3 / 0.5), by hand
    found = stability_index(np.array([0.5, 0.5]), np.array([0.7, 0.3]))
    assert found == pytest.approx(0.2 * np.log(1.4) - 0.2 * np.log(0.6))
    assert np.isfinite(stability_index(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


def test_of_independent_events_the_index_has_the_distribution_that_is_known() -> None:
    draw = np.random.default_rng(5)
    shares, p = np.full(10, 0.1), []
    calm = Sample(draw.multinomial(100, shares, size=(20, 30)).astype(np.float64), np.full(20, 3000.0))
    for _ in range(200):
        counts = draw.multinomial(100, shares, size=(20, 30)).astype(np.float64)
        p.append(float(against_reference(shares, Trained(1e9, 1e9), calm, Sample(counts, np.full(20, 3000.0))).p))
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.06)


def test_three_events_alike_and_events_of_one_block_are_no_evidence() -> None:
    shares = np.full(4, 0.25)
    alone = Sample(np.array([[[500.0, 0, 0, 0]]]), np.array([500.0]))
    assert against_reference(shares, Trained(10, 5000), alone, alone).p == 1
    few = Sample(np.array([[[1.0, 0, 0, 0]] * 3]), np.array([3.0]))
    assert against_reference(shares, Trained(10, 5000), few, few).p > 0.05


def test_events_that_stand_for_many_say_less() -> None:
    draw = np.random.default_rng(6)
    counts = draw.multinomial(10, [0.4, 0.2, 0.2, 0.2], size=(5, 30)).astype(np.float64)
    shares = np.full(4, 0.25)
    plain, thinned = (Sample(counts, np.full(5, n)) for n in (300.0, 10.0))
    assert against_reference(shares, Trained(150, 1500), plain, plain).p < 1e-6
    assert against_reference(shares, Trained(150, 1500), thinned, thinned).p > 0.05


def walk(phi: float, steps: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """An AR(1) on each device, with a standard deviation of 1 about a mean of its own (steps, devices)."""
    values = np.empty((steps, DEVICES), np.float32)
    values[0] = draw.normal(size=DEVICES)
    for i, step in enumerate(draw.normal(0, np.sqrt(1 - phi**2), (steps - 1, DEVICES)).astype(np.float32)):
        values[i + 1] = phi * values[i] + step
    return values + draw.normal(0, 0.5, DEVICES).astype(np.float32)


def binned(values: NDArray[np.float32], a_day: int) -> NDArray[np.float64]:
    """Counts (devices, days, bins), by the deciles of the training."""
    edges = np.quantile(values[: a_day * TRAINED], np.linspace(0, 1, 11)[1:-1])
    found = np.searchsorted(edges, values).reshape(-1, a_day, DEVICES)
    return np.stack([(found == k).sum(axis=1).T for k in range(10)], axis=-1).astype(np.float64)


def pairs(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts[..., ::2] + counts[..., 1::2]


def sample(counts: NDArray[np.float64]) -> Sample:
    return Sample(counts, counts.sum(axis=(1, 2)))


def test_without_drift_false_alarms_keep_to_their_rate_over_features_devices_and_looks() -> None:
    draw, of_fleet, of_devices = np.random.default_rng(3), [], []
    of_training = Trained(DEVICES * TRAINED, DEVICES * TRAINED * 24)
    for _ in range(FEATURES):
        counts = binned(walk(0.8, 24 * (TRAINED + LOOKS + DAYS), draw), 24)
        expected = counts[:, :TRAINED].mean(axis=(0, 1)) / 24
        calm = sample(counts[:, TRAINED - DAYS : TRAINED])
        before = sample(pairs(calm.counts))
        windows = [counts[:, day : day + DAYS] for day in range(TRAINED, TRAINED + LOOKS)]
        of_fleet.append([float(against_reference(expected, of_training, calm, sample(w)).p) for w in windows])
        of_devices.append([against_peers(before, sample(pairs(w)))[1].p for w in windows])
    alarms = np.zeros(LOOKS, bool)
    for i in range(LOOKS):
        p = [f[i] for f in of_fleet], np.concatenate([d[i] for d in of_devices]).tolist()
        alarms[i] = min(a for family in p for a in adjust(family, FAMILIES * DAYS)) <= FALSE_ALARMS
    # The chance is of one in as long as a window, of which these are 16: less than one of them has any.
    windows_with_alarms = alarms[: LOOKS // DAYS * DAYS].reshape(-1, DAYS).any(axis=1)
    assert windows_with_alarms.mean() <= FALSE_ALARMS
    # It is no test of one that never speaks: a single test is not far under its rate.
    assert 0.01 < np.mean(np.array(of_fleet) < 0.05) < 0.1
    assert 0.01 < np.mean(np.array(of_devices) < 0.05) < 0.1


def test_half_a_standard_deviation_on_a_fifth_of_the_devices_is_noticed_within_a_window() -> None:
    draw, a_day = np.random.default_rng(4), 96
    values = walk(0.8, a_day * (TRAINED + DAYS), draw)
    moved = values.copy()
    moved[a_day * TRAINED :, : DEVICES // 5] += 0.5
    others = draw.random((FEATURES - 1) * DEVICES).tolist()  # the p-values of all other features, which did not move

    def alarms(values: NDArray[np.float32]) -> NDArray[np.bool_]:
        counts = pairs(binned(values, a_day))
        _, shift = against_peers(sample(counts[:, TRAINED - DAYS : TRAINED]), sample(counts[:, TRAINED:]))
        adjusted = np.array(adjust([*shift.p.tolist(), *others], FAMILIES * DAYS)[:DEVICES])
        return (shift.psi > 0.1) & (adjusted <= FALSE_ALARMS)

    assert not alarms(values).any()
    found = alarms(moved)
    assert found[: DEVICES // 5].sum() >= 2
    assert not found[DEVICES // 5 :].any()


def test_the_block_of_a_step_is_found() -> None:
    draw = np.random.default_rng(8)
    shares = np.full(5, 0.2)
    counts = draw.multinomial(50, shares, size=30).astype(np.float64)
    counts[21:] = draw.multinomial(50, [0.05, 0.05, 0.1, 0.3, 0.5], size=9)
    assert moved_since(shares, counts) == 21
    assert moved_since(shares, counts[21:]) == 0
