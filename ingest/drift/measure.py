"""Drift: how far the fleet's features have moved from what a release was trained on, and which device has moved unlike its peers.

What is an alarm must be large, by the index, and no chance, over all features and devices and all looks of a window (docs/loop.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from edgeloop.config import Drift
from edgeloop.lake import Lake
from edgeloop.manifest import ReleaseManifest
from ingest.drift.blocks import SAID, Asked, Bins, Counted, Period, Tally, baseline_of, count, window_before
from ingest.drift.joint import KEEP, JointDrift, tell_apart
from ingest.drift.stability import Array, Sample, Trained, against_peers, against_reference, moved_since

DEVICE_BINS = 5
"""Bins of a device: it has fewer independent blocks than the fleet, and a bin needs some."""

FAMILIES = 2
"""The fleet's tests and the devices' share the chance of a false alarm, half each."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How far one measure moved. `p` is the chance of an index as high without drift; `adjusted` bounds that of any as high among
    all tests, in as many looks as a window has blocks. `since` is when the move began, null if before the window."""

    feature: str
    psi: float
    p: float
    adjusted: float = 1.0
    alarm: bool = False
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureDrift(Moved):
    """A feature over the fleet, or `prediction` or `confidence` of the release (`said`), against the release's reference.

    `ks` is the largest distance between the two distribution functions (Kolmogorov–Smirnov), of values that are not missing; `missing_p`
    the chance of shares of missing values as far apart; medians are null where a side has no value.
    """

    said: bool
    events: int
    ks: float
    missing: float
    missing_before: float
    missing_p: float
    median: float | None
    median_before: float | None


@dataclass(frozen=True, kw_only=True)
class DeviceDrift(Moved):
    """A feature of one device, against its own past as all other devices' has moved since."""

    device: str


@dataclass(frozen=True)
class DriftReport:
    """One look: worst first. `new` are devices without a past in the training, which are not compared with it."""

    release: str
    period: Period
    features: tuple[FeatureDrift, ...]
    devices: tuple[DeviceDrift, ...]
    new: tuple[str, ...]
    joint: JointDrift

    @property
    def alarms(self) -> tuple[Moved, ...]:
        """What is an alarm, the fleet's first."""
        return tuple(found for found in (*self.features, *self.devices) if found.alarm)


def measure_drift(lake: Lake, manifest: ReleaseManifest, sha256: str, rule: Drift, now: datetime) -> DriftReport:
    """The window before `now` against what the release `manifest`, with the digest `sha256`, was trained on."""
    period, lineage = window_before(now, rule.window), manifest.lineage
    columns = {f.name: f.column for f in manifest.schema.features}
    measured = {columns[name]: Bins.of(r) for name, r in manifest.reference.items() if name in columns}
    said = {name: Bins.of(r) for name, r in manifest.said.items() if name in SAID}
    asked = Asked({**measured, **said}, sha256, manifest.classes, KEEP)
    window = count(lake, period, asked)
    before = baseline_of(lineage.trained_from, lineage.trained_until, period)
    baseline = count(lake, before, replace(asked, bins=measured)) if before else None
    names = {column: name for name, column in columns.items()}
    calm, trained = baseline.tallies if baseline else {}, _trained(manifest, period)
    features = [
        _feature(names.get(measure, measure), tally, calm.get(measure), period, trained, said=measure in said)
        for measure, tally in window.tallies.items()
        if tally.counts.any()
    ]
    pairs = _Pairs.of(baseline, window) if baseline else None
    devices = [d for column in measured for d in pairs.compare(column, names[column])] if pairs else []
    joint = tell_apart(baseline, window, rule.alarm)
    return _judged(manifest.id, period, features, devices, pairs.new if pairs else window.devices, joint, rule)


def _trained(manifest: ReleaseManifest, period: Period) -> Trained:
    """How much the reference is of, at most."""
    lineage = manifest.lineage
    spans = max(1.0, (lineage.trained_until - lineage.trained_from) / period.block)
    rows = max(1.0, lineage.rows)
    return Trained(max(1.0, min(rows, lineage.devices * spans)), rows)


def _feature(
    name: str, tally: Tally, before: Tally | None, period: Period, trained: Trained, *, said: bool
) -> FeatureDrift:
    """`before` is the training's; of what the release said, and of rows that are gone, there is none: chance is read from the window."""
    sample, expected = tally.sample, tally.bins.expected
    calm = before.sample if before is not None and before.counts.any() else sample
    shift = against_reference(expected, trained, calm, sample)
    of_missing = np.array([1 - expected[-1], expected[-1]])
    missing = against_reference(of_missing, trained, _missing(calm), _missing(sample))
    fine, events = tally.fine, tally.fine.sum()
    now, then = _cumulative(fine[:-1]), _cumulative(tally.bins.shares)
    return FeatureDrift(
        feature=name,
        psi=float(shift.psi),
        p=float(shift.p),
        since=_start(period, moved_since(expected, sample.counts.sum(axis=0))),
        said=said,
        events=round(events),
        ks=float(np.abs(now - then).max(initial=0.0)),
        missing=float(fine[-1] / events),
        missing_before=float(expected[-1]),
        missing_p=float(missing.p),
        median=_median(tally.bins.edges, now),
        median_before=_median(tally.bins.edges, then),
    )


def _merged(counts: Array) -> Array:
    """At most `DEVICE_BINS` neighbouring bins, and that of missing values as it is."""
    starts = np.unique(np.linspace(0, counts.shape[-1] - 1, DEVICE_BINS + 1).astype(np.int64))
    return np.asarray(np.add.reduceat(counts, starts, axis=-1))


def _missing(sample: Sample) -> Sample:
    """There, or missing."""
    counts = sample.counts
    return Sample(np.stack([counts[..., :-1].sum(axis=-1), counts[..., -1]], axis=-1), sample.effective)


def _cumulative(counts: Array) -> Array:
    """The distribution function at each edge."""
    return np.asarray(np.cumsum(counts)[:-1] / max(counts.sum(), 1e-300))


def _median(edges: NDArray[np.float32], cumulative: Array) -> float | None:
    """Where `cumulative` at the edges is a half: to the nearest edge."""
    return float(edges[np.abs(cumulative - 0.5).argmin()]) if cumulative.any() else None


def _start(period: Period, block: int) -> datetime | None:
    return period.start(block) if block else None


@dataclass(frozen=True)
class _Pairs:
    """Devices that are in both periods."""

    baseline: Counted
    window: Counted
    both: tuple[str, ...]
    new: tuple[str, ...]

    @classmethod
    def of(cls, baseline: Counted, window: Counted) -> _Pairs:
        past = set(baseline.devices)
        both = tuple(name for name in window.devices if name in past)
        return cls(baseline, window, both, tuple(name for name in window.devices if name not in past))

    def compare(self, column: str, feature: str) -> list[DeviceDrift]:
        """Each device's feature."""
        before, now = (self._sample(counted, column) for counted in (self.baseline, self.window))
        there = (before.totals.sum(axis=1) > 0) & (now.totals.sum(axis=1) > 0)
        if not there.any():
            return []
        before, now = before.of(there), now.of(there)
        expected, shift = against_peers(before, now)
        names = np.array(self.both)[there]
        return [
            DeviceDrift(
                device=str(name),
                feature=feature,
                psi=float(psi),
                p=float(p),
                since=_start(self.window.period, moved_since(e, counts)),
            )
            for name, psi, p, e, counts in zip(names, shift.psi, shift.p, expected, now.counts, strict=True)
        ]

    def _sample(self, counted: Counted, column: str) -> Sample:
        places = {name: i for i, name in enumerate(counted.devices)}
        sample = counted.tallies[column].sample.of(np.array([places[name] for name in self.both], np.int64))
        return Sample(_merged(sample.counts), sample.effective)


Test = TypeVar("Test", FeatureDrift, DeviceDrift)


def _judged(
    release: str,
    period: Period,
    features: Sequence[FeatureDrift],
    devices: Sequence[DeviceDrift],
    new: tuple[str, ...],
    joint: JointDrift,
    rule: Drift,
) -> DriftReport:
    tests = FAMILIES * period.blocks
    *of_features, of_joint = adjust([*(f.p for f in features), joint.p], tests)
    judged = (_judge(f, a, rule.alarm, rule) for f, a in zip(features, of_features, strict=True))
    of_devices = zip(devices, adjust([d.p for d in devices], tests), strict=True)
    alike = (_judge(d, a, rule.device_alarm, rule) for d, a in of_devices)
    together = replace(joint, adjusted=of_joint, alarm=joint.large and of_joint <= rule.false_alarms)
    return DriftReport(release, period, _worst_first(judged), _worst_first(alike), new, together)


def adjust(p: Sequence[float], tests: int) -> list[float]:
    """Each p over all of them (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 1995), and over as many `tests` of all (Bonferroni)."""
    if not p:
        return []
    return [min(1.0, float(a)) for a in stats.false_discovery_control(p) * tests]


def _judge(found: Test, adjusted: float, alarm: float, rule: Drift) -> Test:
    return replace(found, adjusted=adjusted, alarm=found.psi > alarm and adjusted <= rule.false_alarms)


def _worst_first(found: Iterable[Test]) -> tuple[Test, ...]:
    return tuple(sorted(found, key=lambda f: (not f.alarm, -f.psi)))
