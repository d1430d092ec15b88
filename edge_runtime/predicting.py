"""Predicting: from a reading to its answer, and to the event that is recorded of it.

Does no I/O but the grouped write of the spool, and raises for no fault of a model or a disk.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import isfinite

import msgspec

from edge_runtime.encoder import Encoder, Inputs, Tally, Values
from edge_runtime.releases import Release
from edge_runtime.running import Running
from edge_runtime.spool import Spool
from edgeloop.clock import EPOCH_0
from edgeloop.schema import FeatureSchema

_MICROSECOND = timedelta(microseconds=1)


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one reading: class and its probability, both None if there is none, and the event's sequence number.

    `reason` says why there is none; it is empty if there is one.
    """

    label: str | None
    confidence: float | None
    seq: int
    reason: str = ""


class Predictor:
    """Answers by whatever runs, and records in `spool`.

    Args:
        schema: the device's own features.
        hash_key: what features are hashed with; empty if none is.
        tally: where bad values are counted.
    """

    def __init__(self, running: Running, spool: Spool, schema: FeatureSchema, hash_key: bytes, tally: Tally) -> None:
        self._running, self._spool = running, spool
        self._lock, self._slots = running.lock, running.slots  # a step less at each reading
        self._schema, self._hash_key, self._tally = schema, hash_key, tally
        self._renew_encoder()

    def answer(self, values: Values, ts: datetime) -> Prediction:
        """The answer to one reading, as `rows.values_of` gives it, measured at `ts`."""
        at = (ts - EPOCH_0) // _MICROSECOND
        with self._lock:
            release = self._running.release
            if self._encoded is not release:  # another runs than at the last reading
                self._renew_encoder()
            # A release that fails on probation is put back, and the one before may treat the reading otherwise; both count it.
            return self._predict(release, at, self._encoder.encode(values, ts)) or self.answer(values, ts)

    def answer_many(self, many: Sequence[Values], times: Sequence[datetime]) -> list[Prediction]:
        """The answers to several, by one call of the runtime where that can be; on probation by one for each."""
        with self._lock:
            release = self._running.release
            if release is None or self._slots.staged or not many:
                return list(map(self.answer, many, times))
            if self._encoded is not release:
                self._renew_encoder()
            ats = [(time - EPOCH_0) // _MICROSECOND for time in times]
            return self._predict_many(release, ats, list(map(self._encoder.encode, many, times)))

    def _renew_encoder(self) -> None:
        """Encode by the schema of the release that runs."""
        schema, release = self._schema, self._running.release
        # What is recorded has this device's columns, so of a release's schema only the policies may be others.
        if release is not None and release.manifest.schema.digest == schema.digest:
            schema = release.manifest.schema
        self._encoder, self._encoded = Encoder(schema, self._hash_key, self._tally), release

    def _predict(self, release: Release | None, at: int, inputs: Inputs) -> Prediction | None:
        """The answer; None if the release failed over it, and another runs now."""
        row, kept, reason = inputs
        if release is None or reason:
            return self._record_none(release, at, kept, reason or "there is no release yet")
        began = time.perf_counter()
        try:
            probabilities = release.model.probabilities(row)
        except Exception as error:  # a runtime's errors have no common base, and none of them may stop the device
            reason = f"the model failed: {type(error).__name__}: {str(error)[:200]}"
            error.__traceback__ = None  # it holds the model in memory
            return None if self._running.blame(reason) else self._record_none(release, at, kept, reason)
        latency = (time.perf_counter() - began) * 1e6
        if self._slots.staged:
            self._running.observe(probabilities, latency)
            if self._running.release is not release:  # put back: the committed one answers in its place
                return None
        return self._record(release, probabilities, latency, at, kept)

    def _predict_many(self, release: Release, ats: list[int], many: list[Inputs]) -> list[Prediction]:
        rows = [row for row, _, reason in many if not reason]
        began = time.perf_counter()
        try:
            batch = iter(release.model.probabilities_many(rows) if rows else ())
        except Exception:  # it may be one of the rows: each by itself, and what fails then is said
            return [
                found for at, inputs in zip(ats, many, strict=True) if (found := self._predict(release, at, inputs))
            ]
        latency = (time.perf_counter() - began) * 1e6 / max(1, len(rows))
        return [
            self._record_none(release, at, kept, reason)
            if reason
            else self._record(release, next(batch), latency, at, kept)
            for at, (_, kept, reason) in zip(ats, many, strict=True)
        ]

    def _record(
        self, release: Release, probabilities: list[float], latency: float, at: int, kept: list[float]
    ) -> Prediction:
        if not isfinite(sum(probabilities)):  # of any class: the others are no answer
            return self._record_none(release, at, kept, "the model gave no number", latency)
        confidence = max(probabilities)
        label = release.classes[probabilities.index(confidence)]
        return Prediction(label, confidence, self._spool.record(at, release.sha256, label, confidence, latency, kept))

    def _record_none(
        self, release: Release | None, at: int, kept: list[float], reason: str, latency: float | None = None
    ) -> Prediction:
        ran = release.sha256 if release else None
        return Prediction(None, None, self._spool.record(at, ran, None, None, latency, kept), reason)
