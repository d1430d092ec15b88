"""`edgeloop fleet`: keys and the release repository, and every device as it reports itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.cli.options import Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, table
from edgeloop.clock import system_clock
from edgeloop.config import read_loop

app = typer.Typer(help="Keys, devices, the fleet.", no_args_is_help=True)


@app.command()
def init(
    store: StoreUrl,
    keys: KeysDirectory,
    root: Annotated[
        Path | None, typer.Option(help="Also write the root that devices are born with to this file.")
    ] = None,
    json: Json = False,
) -> None:
    """Make the signing keys and the release repository. What is there already is left as it is."""
    from edgeloop.store import open_store
    from fleet.keys import Keys, create_keys
    from fleet.repository import initialise

    made = not Keys(keys).exist()
    ring = create_keys(keys) if made else Keys(keys)
    content = initialise(open_store(store), ring, system_clock())
    if root is not None:
        root.write_bytes(content)
    found = {"keys": str(keys), "made": made, "root_bytes": len(content)}
    human = (
        f"Keys in {keys}. Carry {keys / 'offline'} away: it is not needed to publish, and who has it owns the fleet."
    )
    emit(found, as_json=json, human=human)


@app.command()
def renew(store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """Sign root and targets for another year, once half of theirs is over. Needs the offline keys; run it twice a year."""
    from edgeloop.store import open_store
    from fleet.keys import Keys
    from fleet.repository import in_turn, renew_offline_roles

    opened, ring = open_store(store), Keys(keys)
    renewed = in_turn(lambda: renew_offline_roles(opened, ring, system_clock()))
    human = "Signed for another year." if renewed else "Nothing to renew: more than half a year is left."
    emit({"renewed": renewed}, as_json=json, human=human)


@app.command()
def status(loop: LoopFile, store: StoreUrl, json: Json = False) -> None:
    """Every device as it reports itself."""
    from edgeloop.roster import read_roster
    from edgeloop.store import open_store

    config = read_loop(loop)
    roster = read_roster(open_store(store), config.layout)
    rows = [
        (s.device, s.release_id or "none", s.update.state, s.produced, s.spooled, s.shed, f"{s.time:%Y-%m-%d %H:%M}")
        for s in roster.devices.values()
    ]
    columns = ("device", "release", "update", "produced", "spooled", "shed", "seen")
    emit(
        {"devices": roster.devices, "unreadable": roster.unreadable},
        as_json=json,
        human=table(f"fleet of {config.name}", columns, rows),
    )
    for device, why in roster.unreadable.items():
        note(f"{device}: {why}")


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory that the stick is mounted at.")],
    store: StoreUrl,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    json: Json = False,
) -> None:
    """Put the releases onto a stick, for `edgeloop device import`. May be repeated at any time."""
    from edgeloop.stick import open_stick
    from edgeloop.store import open_store
    from fleet.carry import export_releases

    with open_stick(directory) as stick:
        found = export_releases(open_store(store), stick, dry_run=dry_run)
    human = (
        f"{found.files} files, {found.bytes:,} bytes {'would be' if dry_run else 'were'} written."
        f" Devices take them until {found.expires:%Y-%m-%d %H:%M} UTC."
    )
    emit(found, as_json=json, human=human)
