"""`edgeloop upkeep`: what the nightly job does to a loop's lake, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeloop.cli.options import Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, table
from edgeloop.cli.passphrases import open_keys
from edgeloop.config import read_loop


def upkeep(
    loop: LoopFile,
    store: StoreUrl,
    keys: KeysDirectory,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is to do.")] = False,
    json: Json = False,
) -> None:
    """Join small files of the lake, and remove those of older versions: but for the last 7 days, and what live releases were trained on."""
    from assets.centre import Centre
    from assets.upkeep import tend_lake
    from edgeloop.store import open_store

    config = read_loop(loop)
    done = tend_lake(Centre(open_store(store), open_keys(keys)), config, dry_run=dry_run)
    columns = ("table", "files joined", "into", "files removed", "bytes freed", "of the log")
    rows = [(t.table, t.joined, t.into, t.removed, t.freed, t.log) for t in done]
    title = f"{'would be done to' if dry_run else 'upkeep of'} the lake of {config.name}"
    emit({"tables": done, "dry_run": dry_run}, as_json=json, human=table(title, columns, rows))
    for tended in done:
        if tended.put_off:
            note(f"{tended.put_off} The next upkeep looks again.")
