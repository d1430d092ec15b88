"""How far the shares of bins have moved, and how far they would have by chance: events of one device depend on each other.

What is independent, near enough, is not the event but the block: a day of one device. So chance is read from how the blocks of each device
scattered about its own mean in the training, and neighbouring blocks may still resemble each other (Newey–West). Devices are the fleet,
not a sample of it: that one is warmer than another is no chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]

SMALLEST_SHARE = 1e-4
"""An empty bin counts as this share, or one would make the index infinite."""

RAREST = 0.01
"""That of one device: what is expected of it is a ratio of shares, and few blocks know none that are smaller."""


def stability_index(expected: Array, found: Array) -> Array:
    """PSI = Σ (found − expected) · ln(found / expected) over the last axis, of bins' shares; over 0.25 is commonly taken as a shift.

    Source: Siddiqi, “Credit Risk Scorecards” (2006); it is the symmetrised Kullback–Leibler divergence.
    """
    e, f = np.maximum(expected, SMALLEST_SHARE), np.maximum(found, SMALLEST_SHARE)
    return np.asarray(((f - e) * np.log(f / e)).sum(axis=-1))


@dataclass(frozen=True)
class Sample:
    """What blocks of devices say of one feature.

    `counts` (devices, blocks, bins) are sums of weights; `effective` (devices,) is (Σw)² / Σw², how many events without a weight say as
    much (Kish, “Survey Sampling”, 1965).
    """

    counts: Array
    effective: Array

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Sample:
        """The devices that are `chosen`."""
        return Sample(self.counts[chosen], self.effective[chosen])

    @cached_property
    def totals(self) -> Array:
        """Sums of weights (devices, bins)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def lags(self) -> int:
        return int(1.5 * np.sqrt(self.counts.shape[1]))

    @cached_property
    def blocks(self) -> Array:
        """How many blocks of each device have events."""
        return np.asarray((self.counts.sum(axis=2) > 0).sum(axis=1, dtype=np.float64))

    @property
    def freedom(self) -> Array:
        """Degrees of freedom (devices,) of what `scatter` says: with a Bartlett kernel some 3/2 · blocks / lags (Priestley, 1981)."""
        return np.asarray(np.maximum(self.blocks - 1, 0) / (1 + self.lags * 2 / 3))

    @cached_property
    def scatter(self) -> Array:
        """The covariance (devices, bins, bins) of `totals`, less what follows from how many events there were.

        Source: Newey and West, Econometrica 55 (1987), on the residuals of a ratio (Cochran, “Sampling Techniques”, 1977, 6.3).
        """
        per_block, totals = self.counts.sum(axis=2, keepdims=True), self.totals
        shares = totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-300)
        rest = self.counts - per_block * shares[:, None, :]
        n = self.counts.shape[1]
        kernel = np.maximum(0, 1 - np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / (self.lags + 1))
        there = (per_block[:, :, 0] > 0).astype(np.float64)
        # Of white noise, residuals about their own mean show this share.
        seen = 1 - ((there @ kernel) * there).sum(axis=1) / np.maximum(self.blocks, 1) ** 2
        return np.asarray(rest.transpose(0, 2, 1) @ (kernel @ rest) / np.where(self.blocks > 1, seen, 1)[:, None, None])


@dataclass(frozen=True)
class Trained:
    """How much a reference is of: blocks of devices, and events."""

    blocks: float
    events: float


@dataclass(frozen=True)
class Shift:
    """An index and how likely one as high is without drift; arrays of one shape."""

    psi: Array
    p: Array


def against_reference(expected: Array, trained: Trained, calm: Sample, window: Sample) -> Shift:
    """The fleet's shares in `window` against `expected` (bins,), those of what was trained on.

    How much chance there is, is read from `calm`, blocks from before: in the window a move would pass for chance.

    Under no drift PSI is near to Σ λ χ²₁, with λ the eigenvalues of the shares' covariance in its own metric; that is taken for a multiple
    of an F (Satterthwaite; Rao and Scott, JASA 76, 1981; for independent events, Yurdakul, “Statistical properties of PSI”, 2018).
    """
    found = window.totals.sum(axis=0) / window.totals.sum()
    blocks = 1 / (1 / window.blocks.sum() + 1 / trained.blocks)
    events = 1 / (1 / window.effective.sum() + 1 / trained.events)
    covariance = _Chance.of_all(calm).over(np.asarray(blocks), np.asarray(events), (found + expected) / 2)
    distance, noise, shape = _distance(expected, found, covariance)
    p = _p(distance, np.maximum(noise, (len(found) - 1) / events), shape, _joint_freedom(calm))
    return Shift(stability_index(expected, found), p)


@dataclass(frozen=True)
class _Chance:
    """What one block's shares scatter by: `covariance` (…, bins, bins), at so many `events` (…,) in a block."""

    covariance: Array
    events: Array

    @classmethod
    def of(cls, scatter: Array, totals: Array, blocks: Array, effective: Array) -> _Chance:
        wide = (blocks / np.maximum(totals**2, 1e-300))[..., None, None]
        return cls(scatter * wide, effective / np.maximum(blocks, 1))

    @classmethod
    def of_all(cls, sample: Sample) -> _Chance:
        """Of the fleet."""
        sums = (
            values.sum(axis=0)
            for values in (sample.scatter, sample.totals.sum(axis=1), sample.blocks, sample.effective)
        )
        return cls.of(*sums)

    @classmethod
    def of_each(cls, sample: Sample) -> _Chance:
        """Of each device."""
        return cls.of(sample.scatter, sample.totals.sum(axis=1), sample.blocks, sample.effective)

    @classmethod
    def of_others(cls, sample: Sample) -> _Chance:
        """Of each device's others."""
        return cls.of(*map(_rest, (sample.scatter, sample.totals.sum(axis=1), sample.blocks, sample.effective)))

    def over(self, blocks: Array, events: Array, shares: Array) -> Array:
        """The covariance of `shares` of so many blocks and events: what events add independently of each other goes by their number."""
        independent = shares[..., None] * np.eye(shares.shape[-1]) - _outer(shares)
        more = 1 / np.maximum(events, 1) - 1 / np.maximum(blocks * self.events, 1)
        return np.asarray(
            self.covariance / np.maximum(blocks, 1)[..., None, None] + independent * more[..., None, None]
        )


def _joint_freedom(sample: Sample) -> Array:
    """Degrees of freedom of the sum of all devices' scatter (Satterthwaite)."""
    size = np.einsum("dbb->d", sample.scatter)
    there = (size > 0) & (sample.freedom > 0)
    if not there.any():
        return np.asarray(sample.freedom.sum())
    return np.asarray(size[there].sum() ** 2 / (size[there] ** 2 / sample.freedom[there]).sum())


def against_peers(baseline: Sample, window: Sample) -> tuple[Array, Shift]:
    """Each device's shares in `window` against what they were in `baseline`, moved as all others' have meanwhile.

    What moves all of them, such as a season, moves none here. The devices of both are the same, in the same order. How much chance there
    is, is read from `baseline`.

    Returns:
        What was expected (devices, bins), and the shift from that, arrays (devices,).
    """
    own, others = _Chance.of_each(baseline), _Chance.of_others(baseline)
    g, f = _shares(baseline.totals), _shares(window.totals)
    expected, relative = g.copy(), np.zeros((len(g), g.shape[1], g.shape[1]))
    if len(g) > 1:
        others_g, others_f = _shares(_rest(baseline.totals)), _shares(_rest(window.totals))
        expected = g * others_f / others_g
        for side, shares in ((baseline, others_g), (window, others_f)):
            relative += others.over(_rest(side.blocks), _rest(side.effective), shares) / _outer(shares)
    expected = np.maximum(expected / expected.sum(axis=1, keepdims=True), RAREST)
    # The covariance of the logarithm of what was expected, from that of each of its factors.
    relative += own.over(baseline.blocks, baseline.effective, g) / _outer(g)
    covariance = own.over(window.blocks, window.effective, (f + expected) / 2) + relative * _outer(expected)
    distance, noise, shape = _distance(expected, f, covariance)
    least = (f.shape[1] - 1) * (1 / window.effective + 1 / baseline.effective)
    noise, freedom = moderate(np.maximum(noise / least, 1), baseline.freedom)
    return expected, Shift(stability_index(expected, f), _p(distance, noise * least, shape, freedom))


def _rest(values: Array) -> Array:
    """Of each device, the sum over all others."""
    return np.asarray(values.sum(axis=0) - values)


def moved_since(expected: Array, counts: Array) -> int:
    """The block from which on `counts` (blocks, bins) are nearer to where they have moved than to `expected` (bins,); 0 if all are.

    The largest sum of what the last blocks add to the index, less half of the mean: where one step is likeliest (Page, Biometrika 41,
    1954).
    """
    found = counts.sum(axis=0) / counts.sum()
    direction = np.log(np.maximum(found, SMALLEST_SHARE) / np.maximum(expected, SMALLEST_SHARE))
    events = counts.sum(axis=1)
    adds = counts @ direction - events * (expected @ direction)
    return int(np.cumsum((adds - events * adds.sum() / events.sum() / 2)[::-1])[::-1].argmax())


def _shares(totals: Array) -> Array:
    return np.asarray(np.maximum(totals / totals.sum(axis=1, keepdims=True), RAREST))


def _outer(shares: Array) -> Array:
    return np.asarray(shares[..., :, None] * shares[..., None, :])


def _distance(expected: Array, found: Array, covariance: Array) -> tuple[Array, Array, Array]:
    """A squared distance that is PSI where `found` is not rarer than `expected`, Σ λ, which it has on average by chance, and (Σ λ)² / Σ λ²,
    the degrees of freedom of its distribution.

    PSI is Σ (f − e)² / m exactly, with the logarithmic mean m of f and e, and so is a quadratic form. In a bin that has emptied m is less
    than e without bound, which would make much of little: there it is e, as in Pearson's χ².
    """
    e, f = np.maximum(expected, SMALLEST_SHARE), np.maximum(found, SMALLEST_SHARE)
    ratio = np.log(f / e)
    mean = np.where(np.abs(ratio) < 1e-6, e, (f - e) / np.where(ratio == 0, 1, ratio))
    weight = np.maximum(mean, e)
    metric = covariance / np.sqrt(_outer(weight))
    noise, squares = np.einsum("...bb->...", metric), (metric**2).sum(axis=(-1, -2))
    distance = ((f - e) ** 2 / weight).sum(axis=-1)
    return np.asarray(distance), np.asarray(noise), np.maximum(noise**2 / np.maximum(squares, 1e-300), 1)


def moderate(noise: Array, freedom: Array) -> tuple[Array, Array]:
    """Each device's `noise` (devices,), drawn to that of all as far as these are alike, and the degrees of freedom that it has then.

    A device alone has too few blocks to say how much chance there is; a fleet of like devices says it well.
    Source: Smyth, “Linear models and empirical Bayes”, Stat. Appl. Genet. Mol. Biol. 3 (2004), with trigamma(x) ≈ 1 / (x − 1/2).
    """
    known = freedom > 0
    if known.sum() < 3:
        return noise, freedom
    half = freedom[known] / 2
    logs = np.log(noise[known]) - special.digamma(half) + np.log(half)
    unlike = logs.var(ddof=1) - special.polygamma(1, half).mean()
    prior = 1 + 2 / unlike if unlike > 0 else 1e6
    common = np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2))
    return (prior * common + freedom * noise) / (prior + freedom), prior + freedom


def _p(distance: Array, noise: Array, shape: Array, freedom: Array) -> Array:
    usable = (freedom > 0) & (noise > 0)
    chance = stats.f.sf(distance / np.where(usable, noise, 1), shape, np.where(usable, freedom, 1))
    return np.where(usable, chance, 1.0)
