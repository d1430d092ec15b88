"""How labels come, as an asset: how late, of how many events, and whether they still come and meet their events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import dagster as dg

from assets.centre import Centre, asset_prefix, loop_owners
from assets.plots import lines
from edgeloop.config import LoopConfig
from ingest.derived.labels import Delay, Meeting, connect_labels, label_delays, label_meetings


def label_assets(config: LoopConfig) -> list[dg.AssetsDefinition]:
    """The asset that shows one loop's labels as they come."""
    prefix = asset_prefix(config)
    key = [prefix, "label_delay"]

    @dg.asset(
        key=key,
        deps=[[prefix, "events"], [prefix, "labels"]],
        group_name="aggregates",
        kinds={"duckdb"},
        owners=loop_owners(config),
        check_specs=[
            dg.AssetCheckSpec("labels_come", asset=key, description="No source of labels has stopped."),
            dg.AssetCheckSpec("labels_meet_events", asset=key, description="Most new labels meet an event."),
        ],
        description="By source: how late labels are, of how many events, and whether they meet any.",
    )
    def label_delay(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        connection, now = connect_labels(centre.lake(config)), centre.clock()
        delays, meetings = label_delays(connection, now), label_meetings(connection)
        whole = [delay for delay in delays if delay.week is None]
        return dg.MaterializeResult(
            metadata={**_tables(whole, meetings), **_plots([delay for delay in delays if delay.week])},
            check_results=[
                _check("labels_come", [delay.silence(now) for delay in whole if delay.stopped(now)]),
                _check("labels_meet_events", [meeting.sentence for meeting in meetings if meeting.astray]),
            ],
        )

    return [label_delay]


def _check(name: str, complaints: Sequence[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=not complaints,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(complaints) or None,
    )


def _tables(whole: Sequence[Delay], meetings: Sequence[Meeting]) -> dict[str, dg.MetadataValue]:
    found: dict[str, Sequence[Delay | Meeting]] = {"sources": whole, "the newest labels": meetings}
    return {name: dg.MetadataValue.table([_record(row) for row in rows]) for name, rows in found.items() if rows}


def _record(row: Delay | Meeting) -> dg.TableRecord:
    return dg.TableRecord({name: str(v) if isinstance(v, datetime) else v for name, v in asdict(row).items()})


def _plots(weeks: Sequence[Delay]) -> dict[str, dg.MetadataValue]:
    """By week of becoming known, a line for each source."""
    sources = sorted({delay.source for delay in weeks})
    mine = {source: [delay for delay in weeks if delay.source == source] for source in sources}
    if not weeks:
        return {}
    return {
        "delay": lines(
            "Delay of labels, median, in hours, by week",
            {s: ([d.week for d in mine[s]], [d.delay_median / 3600 for d in mine[s]]) for s in sources},
        ),
        "labels by week": lines(
            "Labels that became known, by week",
            {s: ([d.week for d in mine[s]], [d.labels for d in mine[s]]) for s in sources},
        ),
    }
