"""The upkeep of a lake as Dagster runs it every night, and how its tables are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg

from assets.centre import Centre, asset_prefix, loop_owners
from assets.pins import find_pins, pinned_versions
from edgeloop.config import LoopConfig
from ingest.upkeep.health import TableHealth, lake_health
from ingest.upkeep.nightly import Tended, tend

MOST_DUE = 5_000
"""Files of a table that may wait for an upkeep: of a day of intakes, one every half minute, are 2,880."""


def upkeep_assets(config: LoopConfig) -> list[dg.AssetsDefinition]:
    """The upkeep of one loop's lake, and its health."""
    prefix = asset_prefix(config)
    owners = loop_owners(config)

    @dg.asset(
        key=[prefix, "lake_upkeep"],
        deps=[
            [prefix, name]
            for name in ("events", "batches", "labels", "device_hourly", "release_hourly", "feature_hourly")
        ],
        group_name="lake",
        kinds={"deltalake"},
        owners=owners,
        pool="delta_writer",
        description="Small files joined and sorted, files of versions that nobody keeps removed. No row changes.",
    )
    def lake_upkeep(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        done = tend_lake(centre, config)
        return dg.MaterializeResult(
            metadata={
                "files joined": sum(table.joined for table in done),
                "bytes freed": sum(table.freed for table in done),
                "tables": _records(done),
            }
        )

    @dg.asset(
        key=[prefix, "lake_health"],
        deps=[[prefix, "lake_upkeep"]],
        group_name="lake",
        kinds={"deltalake"},
        owners=owners,
        check_specs=[
            dg.AssetCheckSpec(
                "upkeep_keeps_up", asset=[prefix, "lake_health"], description="No table has many small files."
            )
        ],
        description="What the tables of the lake are made of, what waits for the upkeep, how far back they can be read.",
    )
    def health(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        found = lake_health(centre.store, config.layout, pinned_versions(find_pins(centre, config)), centre.clock())
        return dg.MaterializeResult(
            metadata={"bytes": sum(table.bytes + table.past for table in found), "tables": _records(found)},
            check_results=[_keeps_up(found)],
        )

    return [lake_upkeep, health]


def tend_lake(centre: Centre, config: LoopConfig, *, dry_run: bool = False) -> list[Tended]:
    """Compact and vacuum a loop's tables, all but what live releases were trained on."""
    pinned = pinned_versions(find_pins(centre, config))
    return tend(centre.store, config.layout, pinned, centre.clock(), dry_run=dry_run)


def _keeps_up(found: list[TableHealth]) -> dg.AssetCheckResult:
    behind = [table.table for table in found if table.due > MOST_DUE]
    return dg.AssetCheckResult(
        check_name="upkeep_keeps_up",
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        description="Look at the runs of the job `upkeep`, or run `edgeloop upkeep`." if behind else None,
        metadata={"behind": ", ".join(behind)},
    )


def _records(tables: Iterable[Any]) -> dg.TableMetadataValue:
    rows = [{name: _cell(value) for name, value in asdict(table).items()} for table in tables]
    columns = [
        dg.TableColumn(n, "int" if isinstance(v, int) else "string") for n, v in (rows[0] if rows else {}).items()
    ]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema=dg.TableSchema(columns))


def _cell(value: str | int | datetime | None) -> str | int | None:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value
