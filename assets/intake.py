"""Intake and what is computed from it: events, batches, labels, aggregates, completeness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.centre import Centre, asset_prefix, loop_asset, loop_owners
from assets.tables import show_table as _table
from edgeloop.config import LoopConfig
from edgeloop.events import TIME
from ingest.derived.aggregates import AGGREGATES, Made, update_aggregates
from ingest.derived.gaps import Gaps, find_gaps
from ingest.run import IngestReport, ingest

_TOTALS = ("produced", "ingested", "shed", "missing", "waiting")

RED = 0.1
"""The share of rejected files in a run from which on the check on them is an error."""


def intake_assets(config: LoopConfig) -> list[dg.AssetsDefinition]:
    """The assets of one loop's intake, in the order in which they depend on each other."""
    prefix = asset_prefix(config)
    owners = loop_owners(config)

    rejects = dg.AssetCheckSpec(
        "no_batch_rejected",
        asset=[prefix, "batches"],
        description="Nothing of this run went to quarantine; an error from a tenth of it on.",
    )

    @dg.multi_asset(
        name=f"{prefix}_take_in",
        specs=[
            loop_asset(
                config,
                "events",
                "intake",
                "Every event that devices sent, once. Delta, by month.",
                {"deltalake", "parquet"},
            ),
            loop_asset(config, "batches", "intake", "Every batch that came, with the verdict on it.", {"deltalake"}),
            loop_asset(config, "labels", "intake", "The truth for events, as it became known.", {"deltalake"}),
        ],
        check_specs=[rejects],
        pool="delta_writer",
    )
    def intake(centre: dg.ResourceParam[Centre]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        lake = centre.lake(config)
        report = ingest(centre.store, lake, config, centre.clock())
        yield dg.MaterializeResult(
            asset_key=[prefix, "events"],
            metadata={"dagster/row_count": _count(lake.table("events")), "new rows": report.rows},
        )
        yield dg.MaterializeResult(
            asset_key=[prefix, "batches"],
            metadata={
                "accepted": report.batches,
                "duplicates": report.duplicates,
                "rejected": report.rejected,
                "of forgotten devices": report.refused,
            },
        )
        yield dg.MaterializeResult(
            asset_key=[prefix, "labels"],
            metadata={"dagster/row_count": _count(lake.table("labels")), "new rows": report.labels},
        )
        yield _rejects([prefix, "batches"], report)

    @dg.multi_asset(
        name=f"{prefix}_aggregate",
        specs=[
            loop_asset(
                config,
                "device_hourly",
                "aggregates",
                "One row a device, hour and release.",
                {"duckdb", "deltalake"},
                ["events", "labels"],
            ),
            loop_asset(
                config,
                "release_hourly",
                "aggregates",
                "One row a release and hour, with histograms of confidence and latency.",
                {"duckdb", "deltalake"},
                ["events", "labels"],
            ),
            loop_asset(
                config,
                "feature_hourly",
                "aggregates",
                "One row a feature and hour.",
                {"duckdb", "deltalake"},
                ["events"],
            ),
        ],
        pool="delta_writer",
    )
    def aggregates(centre: dg.ResourceParam[Centre]) -> Iterator[dg.MaterializeResult]:
        found = update_aggregates(centre.lake(config))
        for aggregate in AGGREGATES:
            made = found.get(aggregate.name, Made())
            counts = {"rows made": made.rows, "of hours": made.hours, "files read": made.files, "of files": made.of}
            yield dg.MaterializeResult(asset_key=[prefix, aggregate.name], metadata=counts)

    complete = dg.AssetCheckSpec(
        "nothing_missing",
        asset=[prefix, "completeness"],
        description="Every produced event is ingested or declared shed.",
    )

    @dg.asset(
        key=[prefix, "completeness"],
        deps=[[prefix, "events"], [prefix, "batches"]],
        group_name="intake",
        kinds={"duckdb"},
        owners=owners,
        check_specs=[complete],
        description="Of each device: produced = ingested + shed + missing, by sequence number.",
    )
    def completeness_books(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        found = find_gaps(centre.store, centre.lake(config), config.layout)
        totals = {name: sum(getattr(books, name) for books in found) for name in _TOTALS}
        unexplained = totals["missing"] - totals["waiting"]
        return dg.MaterializeResult(
            metadata={**totals, "books": _table(_books(found)), "gaps": _table(_newest(found))},
            check_results=[
                dg.AssetCheckResult(
                    check_name="nothing_missing",
                    passed=unexplained <= 0,
                    severity=dg.AssetCheckSeverity.WARN,
                    description="`edgeloop fleet gaps` shows which." if unexplained > 0 else None,
                    metadata={"missing and not waiting on a device": unexplained},
                )
            ],
        )

    return [intake, aggregates, completeness_books]


def _books(found: list[Gaps]) -> pa.Table:
    names = ("device", "epoch", *_TOTALS, "quarantined")
    return pa.table({name: [getattr(books, name) for books in found] for name in names})


def _newest(found: list[Gaps]) -> pa.Table:
    """Every device's gaps, those that are known of latest first."""
    rows = [
        {"device": books.device, "epoch": books.epoch, "first": gap.first, "last": gap.last, "known": gap.known}
        for books in found
        for gap in books.gaps
    ]
    schema = pa.schema([("device", "string"), *((n, "int64") for n in ("epoch", "first", "last")), ("known", TIME)])
    return pa.Table.from_pylist(rows, schema=schema).sort_by([("known", "descending")])


def _rejects(batches: list[str], report: IngestReport) -> dg.AssetCheckResult:
    """One bad device is a warning; a tenth of what came is the loop's own trouble, or a bad release of everything that sends."""
    of = report.batches + report.label_files + report.rejected
    share = report.rejected / of if of else 0.0
    counts = {"by reason": report.reasons, "by sender": report.senders}
    tables: dict[str, dg.MetadataValue[Any]] = {
        name: _table(pa.table({"what": list(n), "files": list(n.values())})) for name, n in counts.items() if n
    }
    if report.hidden:  # by the name of a file in it: `edgeloop ingest` says what to do
        tables["cannot be listed"] = dg.MetadataValue.text(", ".join(report.hidden))
    return dg.AssetCheckResult(
        check_name="no_batch_rejected",
        asset_key=batches,
        passed=not report.rejected and not report.hidden,
        severity=dg.AssetCheckSeverity.ERROR if share >= RED else dg.AssetCheckSeverity.WARN,
        description="`edgeloop quarantine list` shows each with its reason." if report.rejected else None,
        metadata={"rejected": report.rejected, "of": of, "share": share, **tables},
    )


def _count(table: Any) -> int:
    return 0 if table is None else int(table.count())
