"""What leaves the lake for good, as Dagster sees to it every night: what is too old, and who is to be forgotten."""

from __future__ import annotations

import dagster as dg

from assets.centre import Centre, asset_prefix, loop_owners
from edgeloop.config import LoopConfig
from fleet.versions import open_versions
from ingest.upkeep.forgetting import forget
from ingest.upkeep.retention import Retained, retain
from ingest.upkeep.theirs import count_refused
from ingest.upkeep.tombstones import Proof, read_proofs, read_requests


def forgetting_assets(config: LoopConfig) -> list[dg.AssetsDefinition]:
    """The retention of one loop, and the requests to forget somebody."""
    prefix = asset_prefix(config)
    owners = loop_owners(config)

    @dg.asset(
        key=[prefix, "retention"],
        deps=[[prefix, name] for name in ("events", "labels", "device_hourly", "feature_hourly")],
        group_name="lake",
        kinds={"deltalake"},
        owners=owners,
        pool="delta_writer",
        description=f"Rows older than {config.privacy.retention} go for good (`privacy.retention`)."
        if config.privacy.retention
        else "Rows are kept for ever: the loop has no `privacy.retention`.",
    )
    def retention(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        done = retain(centre.store, centre.lake(config), config, centre.clock())
        return dg.MaterializeResult(metadata=_aged(done) if done else {"note": "kept for ever"})

    @dg.asset(
        key=[prefix, "forgotten"],
        deps=[[prefix, "retention"]],
        group_name="lake",
        kinds={"deltalake"},
        owners=owners,
        pool="delta_writer",
        check_specs=[
            dg.AssetCheckSpec(
                "nothing_came_back", asset=[prefix, "forgotten"], description="No table has rows of who was forgotten."
            )
        ],
        description="Who was forgotten, without a name. What `edgeloop forget` began and did not end is ended.",
    )
    def forgotten(centre: dg.ResourceParam[Centre]) -> dg.MaterializeResult:
        ended = finish_requests(centre, config)
        back = count_refused(centre.store, centre.lake(config), config.layout)
        proofs = list(read_proofs(centre.store, config.layout))
        return dg.MaterializeResult(
            metadata={"proofs": len(proofs), "ended now": ended, "newest": _proofs(proofs)},
            check_results=[
                dg.AssetCheckResult(
                    check_name="nothing_came_back",
                    passed=not back,
                    severity=dg.AssetCheckSeverity.ERROR,
                    description="`edgeloop forget` with their ids takes it out." if back else None,
                    metadata={f"rows of {table}": count for table, count in back.items()},
                )
            ],
        )

    return [retention, forgotten]


def finish_requests(centre: Centre, config: LoopConfig) -> int:
    """Go on with every request to forget somebody that is under way; how many there were."""
    requests = read_requests(centre.store, config.layout)
    old = open_versions(centre.store.url) if requests else None
    for request in requests:
        forget(centre.store, centre.lake(config), config, request, centre.clock(), old)
    return len(requests)


def _aged(done: Retained) -> dict[str, dg.MetadataValue | int | str]:
    rows: dict[str, dg.MetadataValue | int | str] = {f"rows of {name} that went": n for name, n in done.rows.items()}
    files = {"files that left quarantine": done.quarantined, "plans emptied": done.plans}
    return {"kept from": f"{done.since:%Y-%m-%d}", **rows, **files}


def _proofs(proofs: list[tuple[str, Proof]]) -> dg.TableMetadataValue:
    newest = sorted(proofs, key=lambda found: found[1].done, reverse=True)[:100]
    records = [
        dg.TableRecord(
            {
                "done": f"{proof.done:%Y-%m-%d %H:%M}",
                "devices": len(proof.devices),
                "span": "all" if proof.until is None else f"until {proof.until:%Y-%m-%d %H:%M}",
                "rows": sum(proof.rows.values()),
                "proof": digest,
            }
        )
        for digest, proof in newest
    ]
    columns = [
        dg.TableColumn(n, "int" if n in ("devices", "rows") else "string")
        for n in ("done", "devices", "span", "rows", "proof")
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))
