"""`edgeloop rollout`: who gets what, and a person's hand on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeloop.cli.options import Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, table
from edgeloop.cli.passphrases import open_keys
from edgeloop.clock import system_clock
from edgeloop.config import read_loop
from edgeloop.errors import DataError
from edgeloop.rollout import RolloutDocument

if TYPE_CHECKING:
    from datetime import datetime

app = typer.Typer(help="The rollout under way.", no_args_is_help=True)


@app.command()
def status(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """The rollout document in force."""
    from edgeloop.lake import Lake
    from edgeloop.store import open_store
    from fleet.rollouts import last_decision, read_current

    config, opened = read_loop(loop), open_store(store)
    document = read_current(opened, open_keys(keys), config.name)
    if document is None:
        raise _none(config.name)
    _show(document, json, last_decision(Lake(opened, config.layout), document))


@app.command()
def step(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """Start the rollout of a release that has none, or look at the one under way. Needs the key of `rollouts`, not of `releases`."""
    from assets.centre import Centre
    from assets.delivery import step_rollout
    from edgeloop.store import open_store

    config = read_loop(loop)
    document, _ = step_rollout(Centre(open_store(store), open_keys(keys)), config)
    if document is None:
        raise _none(config.name)
    _show(document, json)


@app.command()
def pause(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """Keep every device where it is until `resume`."""
    from fleet.rollouts import pause as paused

    _change(loop, store, keys, json, lambda document, now: paused(document, True, now))


@app.command()
def resume(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """Let a paused rollout go on."""
    from fleet.rollouts import pause as paused

    _change(loop, store, keys, json, lambda document, now: paused(document, False, now))


@app.command()
def abort(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """End the rollout: devices that have the candidate go back to the stable release at their next poll."""
    from fleet.gate import Decision
    from fleet.rollouts import conclude

    _change(
        loop, store, keys, json, lambda document, now: conclude(document, Decision("aborted", "aborted by hand"), now)
    )


def _change(
    loop: Path, store: str, keys: Path, json: bool, change: Callable[[RolloutDocument, datetime], RolloutDocument]
) -> None:
    from edgeloop.lake import Lake
    from edgeloop.store import open_store
    from fleet.gate import Decision
    from fleet.repository import in_turn
    from fleet.rollouts import publish_rollout, read_current, record_decision

    config, opened, ring = read_loop(loop), open_store(store), open_keys(keys)

    def attempt() -> RolloutDocument:
        now = system_clock()
        current = read_current(opened, ring, config.name)
        if current is None:
            raise _none(config.name)
        document = change(current, now)
        decision = Decision(document.verdict, document.reason)
        record_decision(Lake(opened, config.layout), current, decision, None, now)
        publish_rollout(opened, ring, document, now, based_on=current)
        return document

    _show(in_turn(attempt), json)


def _show(document: RolloutDocument, json: bool, last: str = "") -> None:
    wave = document.waves[document.wave]
    rows = [
        ("stable", f"{document.stable.id} ({document.stable.sha256[:12]})"),
        ("candidate", f"{document.candidate.id} ({document.candidate.sha256[:12]})" if document.candidate else "none"),
        ("wave", f"{wave / 100:g} % of devices" if document.candidate else "everyone is on stable"),
        ("verdict", f"{document.verdict}: {document.reason}"),
        ("paused", "yes" if document.paused else "no"),
        ("updated", f"{document.updated:%Y-%m-%d %H:%M} UTC"),
    ]
    rows += [("last look", last)] if last else []
    emit(document, as_json=json, human=table(f"rollout {document.number} of {document.loop}", ("", ""), rows))


def _none(loop: str) -> DataError:
    return DataError(f"loop {loop!r} has no rollout yet.", remedy="Publish a release: `edgeloop train --publish`.")
