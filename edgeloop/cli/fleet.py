"""`edgeloop fleet`: keys and the release repository, and every device as it reports itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.drift import drift
from edgeloop.cli.gaps import gaps
from edgeloop.cli.keys import Unencrypted, create_some
from edgeloop.cli.keys import app as keys_app
from edgeloop.cli.labels import labels
from edgeloop.cli.options import Endpoint, Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, table
from edgeloop.cli.passphrases import ask_twice, open_keys
from edgeloop.cli.provision import demand_allowed, provision_store, show_steps
from edgeloop.clock import system_clock
from edgeloop.config import read_loop
from edgeloop.duration import Duration
from edgeloop.errors import ConfigError

if TYPE_CHECKING:
    from edgeloop.store import Store

LONGEST = timedelta(days=180)
"""How long a stick may be good for: targets and root are signed anew when half of their year is over."""

WRONG_CLOCK = 60.0
"""Seconds between a device's clock and the store's from which on it is said to be wrong."""

app = typer.Typer(help="Keys, devices, the fleet.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.command()(gaps)
app.command()(labels)
app.command()(drift)


@app.command()
def init(
    store: StoreUrl,
    keys: KeysDirectory,
    loops: Annotated[
        list[Path] | None, typer.Argument(metavar="LOOP.toml...", help="Loops to provide for in a bucket.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Also write the root that devices are born with to this file.")
    ] = None,
    draft: Annotated[
        Path | None,
        typer.Option(
            help="The first root and targets, signed elsewhere (`fleet keys draft`): no offline key is made here."
        ),
    ] = None,
    unencrypted: Unencrypted = False,
    endpoint: Endpoint = "",  # noqa: ARG001 - its callback puts it where every store looks
    quota_gb: Annotated[float | None, typer.Option(min=0.001, help="The most that the bucket may hold.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Provide the bucket, the signing keys and the release repository. What is there already is left as it is."""
    from rich.console import Group

    steps = provision_store(store, loops or [], quota_gb, dry_run=dry_run)
    made = draft is None and not open_keys(keys).exist()
    found = {"steps": steps, "keys": str(keys), "made": made}
    human = f"Keys {'would be made ' if made and dry_run else ''}in {keys}."
    if not dry_run:
        found["made"], content = _initialise(store, keys, draft, unencrypted=unencrypted)
        found["root_bytes"] = len(content)
        if draft is None:
            human += f" Carry {keys / 'offline'} away: it is not needed to publish, and who has it owns the fleet."
        if root is not None:
            root.write_bytes(content)
    drawn = Group(show_steps(steps, dry_run=dry_run), "", human) if steps else human
    emit(found, as_json=json, human=drawn)
    demand_allowed(steps)


def _initialise(store: str, directory: Path, draft: Path | None, *, unencrypted: bool) -> tuple[bool, bytes]:
    """The repository begun, or as it is: whether keys were made, and its first root."""
    from edgeloop.promises import demand_promises
    from edgeloop.store import open_store
    from fleet.ceremony import decode_draft
    from fleet.repository import initialise

    opened = open_store(store)
    demand_promises(opened)
    made = draft is None and _make_keys(opened, directory, unencrypted=unencrypted)
    drawn = decode_draft(draft.read_bytes()) if draft else None
    return made, initialise(opened, open_keys(directory), system_clock(), drawn)


def _make_keys(store: Store, directory: Path, *, unencrypted: bool) -> bool:
    """Make all keys, or the rest of what was begun here, for a store that has no repository yet. Whether any were."""
    from fleet.keys import OFFLINE, ONLINE, Keys
    from fleet.repository import initialised

    ring = Keys(directory, ask_twice)
    missing = [name for name in (*OFFLINE, *ONLINE) if name not in ring.names()]
    begun = not ring.exist() or ring.holds(OFFLINE[0])
    if not missing or not begun or initialised(store):
        return False
    create_some(ring, missing, unencrypted=unencrypted)
    return True


@app.command()
def check_store(store: StoreUrl, json: Json = False) -> None:
    """Try on the store what a loop relies on: conditional writes, listings, reads of parts. `fleet init` does so by itself."""
    from edgeloop.promises import refuse_broken, try_promises
    from edgeloop.store import open_store

    promises = try_promises(open_store(store))
    rows = [("holds" if not p.found else "BROKEN" if p.needed else "no", p.name, p.found) for p in promises]
    emit({"promises": promises}, as_json=json, human=table(store, ("", "promise", "found"), rows))
    refuse_broken(store, promises)


@app.command()
def refresh(store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """Sign timestamp anew, and snapshot, rollouts and releases where half of their life is over: what the job `signatures` does."""
    from edgeloop.store import open_store
    from fleet.repository import in_turn
    from fleet.repository import refresh as sign_again

    opened, ring = open_store(store), open_keys(keys)
    in_turn(lambda: sign_again(opened, ring, system_clock()))
    emit({"refreshed": True}, as_json=json, human="Signed anew. `edgeloop fleet keys list` says until when that holds.")


@app.command()
def renew(
    store: StoreUrl,
    keys: KeysDirectory,
    draft: Annotated[
        Path | None, typer.Option(help="Write what is to be signed here, if offline keys are elsewhere.")
    ] = None,
    json: Json = False,
) -> None:
    """Sign root and targets for another year, once half of theirs is over. Needs the offline keys; run it twice a year."""
    from edgeloop.store import open_store
    from fleet.ceremony import draft_next
    from fleet.repository import in_turn, renew_offline_roles

    opened, ring = open_store(store), open_keys(keys)
    if draft is not None:
        drawn = draft_next(opened, ring, {}, system_clock())
        renewed = drawn.root is not None or drawn.targets is not None
        if renewed:
            draft.write_bytes(drawn.encode())
        human = f"Carry {draft} to the holders of the offline keys: `edgeloop fleet keys sign-root`."
    else:
        renewed = in_turn(lambda: renew_offline_roles(opened, ring, system_clock()))
        human = "Signed for another year."
    emit(
        {"renewed": renewed},
        as_json=json,
        human=human if renewed else "Nothing to renew: more than half a year is left.",
    )


@app.command()
def status(loop: LoopFile, store: StoreUrl, json: Json = False) -> None:
    """Every device as it reports itself."""
    from edgeloop.roster import read_roster
    from edgeloop.store import open_store

    config = read_loop(loop)
    roster = read_roster(open_store(store), config.layout)
    stale = roster.stale(system_clock(), config.rollout.max_offline_days)
    said = {s.device: f"{s.update.state}{', stale' if s.device in stale else ''}" for s in roster.devices.values()}
    rows = [
        (
            *(s.device, s.release_id or "none", said[s.device], s.produced, s.spooled, s.shed),
            f"{s.time:%Y-%m-%d %H:%M}",
            "simulated" if s.device in roster.simulated else _clock(roster.slow.get(s.device)),
        )
        for s in roster.devices.values()
    ]
    columns = ("device", "release", "update", "produced", "spooled", "shed", "seen", "clock")
    emit(
        {
            "devices": roster.devices,
            "clock_slow_seconds": roster.slow,
            "unreadable": roster.unreadable,
            "stale": stale,
            "simulated": roster.simulated,
        },
        as_json=json,
        human=table(f"fleet of {config.name}", columns, rows),
    )
    if roster.simulated:
        note(
            f"A backtest played this loop here, on a clock of its own that ended at {roster.played_until:%F %H:%M} UTC."
        )
    for device, why in roster.unreadable.items():
        note(f"{device}: {why}")


def _clock(slow: float | None) -> str:
    """By how much a device's clock is wrong; a status is some seconds under way, so a minute and more is worth a word."""
    if slow is None:
        return "unknown"
    unit, seconds = next(
        (u, s) for u, s in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if abs(slow) >= s or s == 1
    )
    wrong = f"{abs(slow) / seconds:,.0f}{unit} {'slow' if slow >= 0 else 'fast'}"
    return f"WRONG {wrong}" if abs(slow) > WRONG_CLOCK else wrong


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory that the stick is mounted at.")],
    store: StoreUrl,
    good_for: Annotated[
        str, typer.Option(metavar="LENGTH", help="How long it will be under way, such as 30d; needs --keys.")
    ] = "",
    keys: Annotated[Path | None, typer.Option(envvar="EDGELOOP_KEYS", metavar="DIR", help="With --good-for.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    json: Json = False,
) -> None:
    """Put the releases onto a stick, for `edgeloop device import`. May be repeated at any time."""
    from edgeloop.stick import open_stick
    from edgeloop.store import open_store
    from fleet.carry import export_releases

    opened = open_store(store)
    with open_stick(directory) as stick, _signed_for(opened, good_for, keys, dry_run):
        found = export_releases(opened, stick, dry_run=dry_run)
    human = (
        f"{found.files} files, {found.bytes:,} bytes {'would be' if dry_run else 'were'} written."
        f" Devices take them until {found.expires:%Y-%m-%d %H:%M} UTC."
    )
    emit(found, as_json=json, human=human)


@contextmanager
def _signed_for(store: Store, good_for: str, keys: Path | None, dry_run: bool) -> Iterator[None]:
    """The release metadata signed for `good_for` meanwhile, and as ever after that: what is online need not trust it so long."""
    from fleet.repository import in_turn, refresh

    if not good_for:
        yield
        return
    length = Duration.parse(good_for)
    if keys is None:
        raise ConfigError("--good-for signs the releases anew.", remedy="Name the signing keys with --keys.")
    if length > LONGEST:
        raise ConfigError(
            f"--good-for {good_for} is too long; {LONGEST.days}d at the most.",
            remedy="Until then a device could be kept from every newer release.",
        )
    ring = open_keys(keys)
    if not dry_run:
        in_turn(lambda: refresh(store, ring, system_clock(), good_for=length))
    yield
    if not dry_run:
        in_turn(lambda: refresh(store, ring, system_clock()))
