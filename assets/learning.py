"""Learning: the training set, the challenger and its validation, as one step with three assets.

One step, because all three are functions of the same rows: cut apart they would read them from the lake three times.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from assets.centre import Centre, asset_prefix, loop_asset, source_version
from assets.plots import bars, paired_bars
from assets.trainings import next_training, write_training
from edgeloop.config import LoopConfig
from fleet.releases import read_model, read_release
from fleet.rollouts import read_current
from training.challenger import Candidate, Champion, train_challenger


def learning_assets(config: LoopConfig) -> list[dg.AssetsDefinition]:
    """The assets of one loop's learning half."""
    prefix = asset_prefix(config)

    gates = dg.AssetCheckSpec(
        "gates", asset=[prefix, "validation"], description="The challenger passed every gate; only then it is released."
    )

    @dg.multi_asset(
        name=f"{prefix}_learn",
        specs=[
            loop_asset(
                config,
                "training_set",
                "training",
                "Labelled rows as known then, pinned by table versions.",
                {"duckdb", "deltalake"},
                ["events", "labels"],
            ),
            loop_asset(
                config,
                "challenger",
                "training",
                "The model that wants to be: trained, converted, proven equal.",
                {"lightgbm", "onnx"},
                ["training_set"],
            ),
            loop_asset(
                config,
                "validation",
                "training",
                "Challenger against champion on a later window than either saw.",
                {"onnx"},
                ["challenger"],
            ),
        ],
        check_specs=[gates],
        can_subset=False,
    )
    def learning(centre: dg.ResourceParam[Centre]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        yield from _results(prefix, train_next(centre, config))

    return [learning]


def train_next(centre: Centre, config: LoopConfig) -> Candidate:
    """Train a challenger on every label known now, judge it, and write its files to the store."""
    number = next_training(centre.store, config.layout)
    candidate = train_challenger(
        centre.lake(config),
        config,
        champion=_champion(centre, config),
        as_of=centre.clock(),
        number=number,
        code_version=source_version(),
    )
    manifest, verdict = candidate.manifest.encode(), candidate.verdict.encode()
    write_training(centre.store, config.layout, number, manifest, candidate.model, verdict)
    return candidate


def _champion(centre: Centre, config: LoopConfig) -> Champion | None:
    current = read_current(centre.store, centre.keys, config.name)
    if current is None:
        return None
    release = read_release(centre.store, centre.keys, config.name, current.stable.id)
    return Champion(release.manifest, read_model(centre.store, release.manifest))


def _results(prefix: str, candidate: Candidate) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    lineage, metrics, verdict = candidate.manifest.lineage, candidate.metrics, candidate.verdict
    yield dg.MaterializeResult(
        asset_key=[prefix, "training_set"],
        metadata={
            "dagster/row_count": lineage.rows,
            "devices": lineage.devices,
            "from": lineage.trained_from.isoformat(),
            "until": lineage.trained_until.isoformat(),
            "events version": lineage.events_version,
            "labels version": lineage.labels_version,
            "rows sha256": lineage.rows_sha256,
        },
    )
    yield dg.MaterializeResult(
        asset_key=[prefix, "challenger"],
        metadata={
            "release id": candidate.manifest.id,
            "manifest sha256": candidate.manifest.sha256,
            "model bytes": len(candidate.model),
            "parity, largest difference": candidate.parity.largest_difference,
            "parity, rows": candidate.parity.rows,
            "importance": bars("Gain by feature", list(candidate.importance), list(candidate.importance.values())),
        },
    )
    champion = candidate.champion_metrics
    names = sorted(metrics.by_device)
    yield dg.MaterializeResult(
        asset_key=[prefix, "validation"],
        metadata={
            "accuracy": metrics.accuracy,
            "macro F1": metrics.macro_f1,
            "champion accuracy": champion.accuracy if champion else 0.0,
            "champion macro F1": champion.macro_f1 if champion else 0.0,
            "rows": metrics.rows,
            "verdict": "pass" if verdict.passed else "fail",
            "gates": dg.MetadataValue.table(
                [dg.TableRecord({"gate": c.name, "passed": c.passed, "says": c.sentence}) for c in verdict.checks]
            ),
            "by device": paired_bars(
                "Accuracy by device on the validation window",
                names[:25],
                [champion.by_device.get(n, 0.0) if champion else 0.0 for n in names[:25]],
                [metrics.by_device[n] for n in names[:25]],
                ("champion", "challenger"),
            ),
        },
    )
    yield dg.AssetCheckResult(
        check_name="gates",
        asset_key=[prefix, "validation"],
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"reason": verdict.reason},
    )
