"""`edgeloop ingest` and `edgeloop train`: single stages of the centre, as the Dagster jobs run them."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeloop.cli.options import Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, table
from edgeloop.clock import system_clock
from edgeloop.config import read_loop


def ingest(loop: LoopFile, store: StoreUrl, json: Json = False) -> None:
    """Take in the batches and labels that wait in the store, once."""
    from edgeloop.lake import Lake
    from edgeloop.store import open_store
    from ingest.run import ingest as run

    config, opened = read_loop(loop), open_store(store)
    report = run(opened, Lake(opened, config.layout), config, system_clock())
    rows = [(name, getattr(report, name)) for name in ("batches", "rows", "duplicates", "rejected", "labels")]
    emit(report, as_json=json, human=table(f"ingested into {config.name}", ("what", "count"), rows))


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
    from fleet.keys import Keys

    config = read_loop(loop)
    centre = Centre(open_store(store), Keys(keys))
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
