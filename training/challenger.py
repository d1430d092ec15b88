"""A challenger, from the lake to a manifest with its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from edgeloop.config import LoopConfig
from edgeloop.errors import ConfigError, ModelError
from edgeloop.lake import Lake
from edgeloop.manifest import MANIFEST_VERSION, Golden, Lineage, Reference, ReleaseManifest
from edgeloop.verdict import Verdict
from training.evaluation import Metrics, evaluate
from training.footprint import artefact_of
from training.gates import judge
from training.parity import ParityProof, prove
from training.reference import make_reference, make_said
from training.rows import Rows, query_sha256
from training.scoring import OnnxScorer
from training.sets import TrainingSet, build_set
from training.trainers import all_parameters, find_trainer

GOLDEN_ROWS = 16
GOLDEN_TOLERANCE = 1e-4
"""Wider than parity's: another processor may round differently, a wrong or torn model is off by far more."""


@dataclass(frozen=True)
class Champion:
    """The release in force, to compare with."""

    manifest: ReleaseManifest
    model: bytes


@dataclass(frozen=True)
class Candidate:
    """What a training made. `importance` is gain by feature name; `champion_metrics` is on the same rows as `metrics`."""

    manifest: ReleaseManifest
    model: bytes
    verdict: Verdict
    parity: ParityProof
    metrics: Metrics
    champion_metrics: Metrics | None
    importance: dict[str, float]


def train_challenger(
    lake: Lake, config: LoopConfig, *, champion: Champion | None, as_of: datetime, number: int, code_version: str
) -> Candidate:
    """Train on every label known at `as_of`, convert, prove, and judge.

    Args:
        number: of this training; the release's counter, should it become one.
        code_version: goes into the lineage.

    Raises:
        DataError: there is too little to train on.
        ConfigError: the trainer or a parameter of it is unknown, or the champion is of other features or classes.
        ModelError: the trainer's ONNX model cannot be run, or is not of the loop's classes.
    """
    if champion is not None:
        _check_comparable(champion.manifest, config)
    rows = build_set(lake, config, as_of)
    train = find_trainer(config.training.trainer)
    trained = train(
        rows.train.X,
        rows.train.y,
        rows.train.weight,
        config.label.classes,
        config.training.parameters,
        config.training.seed,
    )
    model = trained.to_onnx()
    parity = prove(trained, model, rows.validation.X, config.gate.parity_tolerance)
    probabilities = OnnxScorer(model).probabilities(rows.validation.X)
    _check_classes(probabilities.shape, config)
    metrics = evaluate(rows.validation, probabilities)
    manifest = _manifest(config, rows, model, metrics, make_said(probabilities), number, code_version)
    champion_metrics = _judge_champion(champion, rows.validation)
    names, counts = np.unique(rows.validation.device, return_counts=True)
    device_rows = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    verdict = judge(
        manifest, metrics, champion_metrics, device_rows, parity, config.gate, config.device.model_mb, as_of
    )
    importance = dict(zip(config.schema().names, trained.importance().tolist(), strict=True))
    return Candidate(manifest, model, verdict, parity, metrics, champion_metrics, importance)


def _check_comparable(champion: ReleaseManifest, config: LoopConfig) -> None:
    # Its inputs and answers go by position: under another order it would be judged on the wrong ones, look bad, and the
    # gate against regression would let anything pass.
    for key, same in (
        ("[features]", champion.schema.digest == config.schema().digest),
        ("label.classes", champion.classes == config.label.classes),
    ):
        if not same:
            raise ConfigError(
                f"{key} is not what release {champion.id}, which is in force, was made for.",
                remedy="Put it back, or give the loop a new loop.name: that begins a new line of releases.",
            )


def _check_classes(shape: tuple[int, ...], config: LoopConfig) -> None:
    if shape[1:] != (len(config.label.classes),):
        raise ModelError(
            f"trainer {config.training.trainer!r} made a model that gives {shape[1:]} probabilities a row,"
            f" the loop has {len(config.label.classes)} classes.",
            remedy="A trainer gives one for each of label.classes, in that order, also for those that no row has.",
        )


def _judge_champion(champion: Champion | None, rows: Rows) -> Metrics | None:
    return None if champion is None else evaluate(rows, OnnxScorer(champion.model).probabilities(rows.X))


def _manifest(
    config: LoopConfig,
    rows: TrainingSet,
    model: bytes,
    metrics: Metrics,
    said: dict[str, Reference],
    number: int,
    code_version: str,
) -> ReleaseManifest:
    ident = f"r{number:04d}"
    golden = _golden_rows(rows.validation)
    return ReleaseManifest(
        version=MANIFEST_VERSION,
        loop=config.name,
        id=ident,
        counter=number,
        created=rows.as_of,
        schema=config.schema(),
        classes=config.label.classes,
        models=(artefact_of("onnx", f"models/{config.name}/{ident}.onnx", model, golden),),
        golden=_golden(golden, model),
        latency_budget_ms=config.device.latency_budget_ms,
        lineage=_lineage(config, rows, number, code_version),
        metrics={
            "accuracy": metrics.accuracy,
            "macro_f1": metrics.macro_f1,
            "log_loss": metrics.log_loss,
            "rows": float(metrics.rows),
        },
        reference=make_reference(rows.train.X, config.schema()),
        said=said,
    )


def _lineage(config: LoopConfig, rows: TrainingSet, number: int, code_version: str) -> Lineage:
    return Lineage(
        training=number,
        events_version=rows.pinned.events,
        labels_version=rows.pinned.labels,
        query_sha256=query_sha256(),
        rows_sha256=rows.train.sha256,
        rows=len(rows.train),
        devices=len(np.unique(rows.train.device)),
        trained_from=_utc(rows.train.ts[0]),
        trained_until=_utc(rows.train.ts[-1]),
        trainer=config.training.trainer,
        parameters=all_parameters(config.training),
        code_version=code_version,
        seed=config.training.seed,
        validated_from=_utc(rows.validation.ts[0]),
        validated_until=_utc(rows.validation.ts[-1]),
        label_sources=rows.pinned.label_sources or UNSET,
    )


def _golden_rows(rows: Rows) -> NDArray[np.float32]:
    """Rows spread over the validation window, the last with nothing but missing values."""
    chosen = np.linspace(0, len(rows) - 1, min(GOLDEN_ROWS - 1, len(rows))).astype(np.int64)
    return np.vstack([rows.X[chosen], np.full((1, rows.X.shape[1]), np.nan, np.float32)])


def _golden(X: NDArray[np.float32], model: bytes) -> Golden:
    probabilities = OnnxScorer(model).probabilities(X)
    inputs = tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in X)
    return Golden(inputs, tuple(tuple(float(p) for p in row) for row in probabilities), GOLDEN_TOLERANCE)


def _utc(moment: np.datetime64) -> datetime:
    found: datetime = moment.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)
