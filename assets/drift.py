"""Drift, as an asset with its check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dagster as dg
import pyarrow as pa

from assets.centre import Centre, asset_prefix, loop_owners
from assets.plots import bars
from assets.tables import show_table
from edgeloop.config import LoopConfig
from edgeloop.events import TIME
from fleet.releases import read_release
from fleet.rollouts import read_current
from ingest.drift.alarms import alarms_of
from ingest.drift.measure import DriftReport, Moved, measure_drift

NOTHING = "No event of the window is in the lake: whether anything moved cannot be said."
"""Of a check that passed because it had nothing to look at."""

_FEATURES = {
    "feature": pa.string(),
    **dict.fromkeys(("psi", "ks", "adjusted"), pa.float64()),
    "since": TIME,
    **dict.fromkeys(("median_before", "median", "missing_before", "missing", "missing_p"), pa.float64()),
    "events": pa.int64(),
}
_DEVICES = {
    "device": pa.string(),
    "feature": pa.string(),
    **dict.fromkeys(("psi", "p", "adjusted"), pa.float64()),
    "since": TIME,
}


def drift_asset(config: LoopConfig) -> dg.AssetsDefinition:
    """How far one loop has moved from what its release in force was trained on."""
    prefix = asset_prefix(config)

    @dg.asset(
        key=[prefix, "drift"],
        deps=[[prefix, "events"]],
        group_name="aggregates",
        kinds={"duckdb", "scikitlearn"},
        owners=loop_owners(config),
        check_specs=[
            dg.AssetCheckSpec(
                "no_drift",
                asset=[prefix, "drift"],
                description="No feature and no device moved far, other than by chance.",
            )
        ],
        description="How far each feature has moved from what the release in force was trained on, and each device from its peers.",
    )
    def drift(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        found = look(centre, config)
        if found is None:
            return dg.MaterializeResult(
                metadata={"note": "no release in force yet"},
                check_results=[dg.AssetCheckResult(check_name="no_drift", passed=True)],
            )
        said = alarms_of(found)
        return dg.MaterializeResult(
            metadata=dict(_metadata(found, config)),
            check_results=[
                dg.AssetCheckResult(
                    check_name="no_drift",
                    passed=not said,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=" ".join(said) or (None if found.features else NOTHING),
                    metadata={"over the alarm": ", ".join(f.feature for f in found.features if f.alarm)},
                )
            ],
        )

    return drift


def look(centre: Centre, config: LoopConfig) -> DriftReport | None:
    """Drift of the window before now, against the release in force; None without one."""
    current = read_current(centre.store, centre.keys, config.name)
    if current is None:
        return None
    release = read_release(centre.store, centre.keys, config.name, current.stable.id)
    return measure_drift(centre.lake(config), release.manifest, release.sha256, config.drift, centre.clock())


def _metadata(found: DriftReport, config: LoopConfig) -> Iterator[tuple[str, dg.MetadataValue]]:
    worst = max((f.psi for f in found.features), default=0.0)
    yield "largest PSI", dg.MetadataValue.float(worst)
    yield "features", show_table(_table(found.features, _FEATURES))
    yield "devices", show_table(_table(found.devices, _DEVICES))
    yield (
        "window",
        dg.MetadataValue.text(
            f"{found.period.since:%F %H:%M} to {found.period.until:%F %H:%M}, release {found.release}"
        ),
    )
    if found.joint.auc is not None:
        yield "all features together, AUC", dg.MetadataValue.float(found.joint.auc)
    if found.joint.note:
        yield "all features together", dg.MetadataValue.text(found.joint.note)
    names, values = [f.feature for f in found.features], [f.psi for f in found.features]
    yield "plot", bars("PSI by feature, alarm dashed", names, values, config.drift.alarm)


def _table(found: Sequence[Moved], columns: dict[str, pa.DataType]) -> pa.Table:
    rows = [{name: getattr(moved, name) for name in columns} for moved in found]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))
