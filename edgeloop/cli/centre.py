"""`edgeloop ingest` and `edgeloop train`: single stages of the centre, as the Dagster jobs run them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.options import Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, table
from edgeloop.cli.passphrases import open_keys
from edgeloop.clock import system_clock
from edgeloop.config import LoopConfig, read_loop
from edgeloop.errors import ConfigError
from edgeloop.store import Store

if TYPE_CHECKING:
    from ingest.run import IngestReport


def ingest(
    loop: LoopFile,
    store: StoreUrl,
    stick: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="First carry what is on the stick that is mounted there."),
    ] = None,
    move: Annotated[bool, typer.Option("--move", help="Remove from the stick what the centre then has.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be carried from the stick.")] = False,
    shard: Annotated[
        str,
        typer.Option(
            metavar="K/N", help="Only the devices of the K-th of N shards, for N ingests to run side by side."
        ),
    ] = "1/1",
    json: Json = False,
) -> None:
    """Take in the batches and labels that wait in the store, once; with --from also those on a stick, and its statuses."""
    from edgeloop.lake import Lake
    from edgeloop.store import open_store
    from ingest.lanes import WHOLE, parse_lane
    from ingest.run import ingest as run

    config, opened, lane = read_loop(loop), open_store(store), parse_lane(shard)
    if stick is not None:
        if lane != WHOLE:
            raise ConfigError("a stick is carried for all shards.", remedy="Leave out --shard or --from.")
        _ingest_stick(stick, opened, config, move, dry_run, json)
        return
    if move or dry_run:
        raise ConfigError(
            "--move and --dry-run are about a stick, and none is named.", remedy="Name it with --from DIR."
        )
    report = run(opened, Lake(opened, config.layout), config, system_clock(), lane)
    emit(report, as_json=json, human=table(f"ingested into {config.name}", ("what", "count"), _counts(report)))
    for folder in report.hidden:
        note(
            f"{folder} holds a name that cannot be listed, and nothing in it is taken: remove it with the store's own tools."
        )
    if report.refused:
        note(
            f"{report.refused} batches of devices that were forgotten were deleted unread: revoke those devices"
            " (`edgeloop device revoke`), or enrol them again (`edgeloop device enroll`)."
        )


def _ingest_stick(directory: Path, store: Store, config: LoopConfig, move: bool, dry_run: bool, json: bool) -> None:
    from edgeloop.lake import Lake
    from edgeloop.stick import open_stick
    from ingest.carry import carry, remove
    from ingest.run import ingest as run

    lake = Lake(store, config.layout)
    with open_stick(directory) as stick:
        carried = carry(stick, store, lake, config, system_clock(), dry_run=dry_run)
        report = None if dry_run else run(store, lake, config, system_clock())
        if move and not dry_run:
            remove(stick, carried)
    found = {name: len(getattr(carried, name)) for name in ("batches", "labels", "statuses", "known", "refused")}
    rows = [(f"{name} on the stick", count) for name, count in found.items()]
    title = f"would be carried to {config.name}" if report is None else f"carried to {config.name} and ingested"
    emit(
        {"carried": carried, "ingested": report},
        as_json=json,
        human=table(title, ("what", "count"), rows + (_counts(report) if report else [])),
    )
    for path, why in carried.refused.items():
        note(f"{path} stays on the stick: {why}")
    if not any(found.values()):
        note(f"there is nothing of loop {config.name} on the stick.")


def _counts(report: IngestReport) -> list[tuple[str, int]]:
    return [(name, getattr(report, name)) for name in ("batches", "rows", "duplicates", "rejected", "labels")]


def train(
    loop: LoopFile,
    store: StoreUrl,
    keys: KeysDirectory,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish the challenger and begin its rollout if it passes.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a challenger on every label known now, and judge it. Exits with 5 if it fails its gates."""
    from assets.centre import Centre
    from assets.delivery import publish_newest, step_rollout
    from assets.learning import train_next
    from edgeloop.store import open_store

    config = read_loop(loop)
    centre = Centre(open_store(store), open_keys(keys))
    candidate = train_next(centre, config)
    verdict = candidate.verdict
    rows = [("pass" if c.passed else "FAIL", c.name, c.sentence) for c in verdict.checks]
    human = table(f"{candidate.manifest.id}: {'passed' if verdict.passed else 'failed'}", ("", "gate", "says"), rows)
    if publish and verdict.passed:
        publish_newest(centre, config)
        step_rollout(centre, config)
    found = {
        "release": candidate.manifest.id,
        "sha256": candidate.manifest.sha256,
        "verdict": verdict,
        "metrics": candidate.manifest.metrics,
    }
    emit(found, as_json=json, human=human)
    if not verdict.passed:
        raise typer.Exit(5)
