"""`edgeloop release`: what is published."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeloop.cli.options import Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, table
from edgeloop.cli.passphrases import open_keys
from edgeloop.config import read_loop

app = typer.Typer(help="Published releases.", no_args_is_help=True)


@app.command("list")
def list_(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """The live releases of a loop, oldest first."""
    from edgeloop.store import open_store
    from fleet.releases import list_releases

    config = read_loop(loop)
    releases = list_releases(open_store(store), open_keys(keys), config.name)
    found = {"releases": [{"id": r.manifest.id, "sha256": r.sha256, "created": r.manifest.created} for r in releases]}
    rows = [
        (
            r.manifest.id,
            r.sha256[:12],
            f"{r.manifest.created:%Y-%m-%d %H:%M}",
            f"{r.manifest.metrics.get('accuracy', 0):.3f}",
        )
        for r in releases
    ]
    emit(
        found,
        as_json=json,
        human=table(f"releases of {config.name}", ("release", "sha256", "created", "accuracy"), rows),
    )


@app.command()
def publish(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """Sign and publish the newest challenger that passed, unless it is published. Needs the key of `releases`, not of `rollouts`."""
    from assets.centre import Centre
    from assets.delivery import publish_newest
    from edgeloop.store import open_store

    training = publish_newest(Centre(open_store(store), open_keys(keys)), read_loop(loop))
    found = training.manifest.id if training else None
    emit({"release": found}, as_json=json, human=f"Published {found}." if found else "Nothing to publish.")


@app.command()
def revoke(
    loop: LoopFile,
    release: Annotated[str, typer.Argument(help="Its id, such as r0003, or the beginning of its digest.")],
    store: StoreUrl,
    keys: KeysDirectory,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the decision.")],
    to: Annotated[
        str, typer.Option(metavar="RELEASE", help="What to go back to, if everybody has it; else the last good one.")
    ] = "",
    json: Json = False,
) -> None:
    """Take a release out of the fleet for ever. Devices that run it leave it at their next poll; none takes it again, nor goes back to it.

    Does what the keys here reach: first where the `rollouts` key is, then where that of `releases` is.
    """
    from assets.centre import Centre
    from assets.delivery import revoke_release
    from edgeloop.store import open_store

    centre = Centre(open_store(store), open_keys(keys))
    document = revoke_release(centre, read_loop(loop), release, reason, to)
    human = f"{release} is revoked."
    if document is not None:
        human += f" The stable release is {document.stable.id}, the floor {document.floor}."
    emit(document, as_json=json, human=human)


@app.command("show")
def show(
    loop: LoopFile,
    release: Annotated[str, typer.Argument(help="Its id, such as r0003, or the beginning of its digest.")],
    store: StoreUrl,
    keys: KeysDirectory,
    json: Json = False,
) -> None:
    """One release: its lineage, metrics and files."""
    from edgeloop.lake import Lake
    from edgeloop.store import open_store
    from fleet.releases import read_release
    from ingest.upkeep.theirs import lost_rows

    config, opened = read_loop(loop), open_store(store)
    found = read_release(opened, open_keys(keys), config.name, release)
    manifest, lineage = found.manifest, found.manifest.lineage
    rows = [
        ("sha256", found.sha256),
        ("created", manifest.created.isoformat()),
        (
            "trained on",
            f"{lineage.rows:,} rows of {lineage.devices} devices, {lineage.trained_from:%Y-%m-%d} to {lineage.trained_until:%Y-%m-%d}",
        ),
        *(
            [("judged on", f"rows of {lineage.validated_from:%Y-%m-%d} to {lineage.validated_until:%Y-%m-%d}")]
            if lineage.validated_from and lineage.validated_until
            else []
        ),
        (
            "pinned",
            f"events version {lineage.events_version}, labels version {lineage.labels_version}, query {lineage.query_sha256[:12]}",
        ),
        *([("labels preferred", f"of {', '.join(lineage.label_sources)}")] if lineage.label_sources else []),
        ("trainer", f"{lineage.trainer} {lineage.parameters}, seed {lineage.seed}, edgeloop {lineage.code_version}"),
        *((name, f"{value:.4f}") for name, value in manifest.metrics.items()),
        *((a.runtime, f"{a.length:,} bytes, {a.sha256[:12]}") for a in manifest.models),
        *(
            ("cannot be trained again", why)
            for why in lost_rows(opened, Lake.of(opened, config), config.layout, manifest)
        ),
    ]
    emit(manifest, as_json=json, human=table(manifest.id, ("", ""), rows))
