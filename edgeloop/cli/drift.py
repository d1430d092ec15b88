"""`edgeloop fleet drift`: what has moved away from what the release in force was trained on."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.options import Json, KeysDirectory, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, table
from edgeloop.clock import system_clock
from edgeloop.config import read_loop

if TYPE_CHECKING:
    from rich.console import Group

    from ingest.drift.measure import DriftReport

MOST = 20
"""Rows about devices that are shown to a person, the worst; a program gets all of them."""


At = Annotated[datetime | None, typer.Option("--at", help="Look as if it were then, in UTC; by default, now.")]


def drift(loop: LoopFile, store: StoreUrl, keys: KeysDirectory, at: At = None, json: Json = False) -> None:
    """How far each feature has moved from what the release in force was trained on, and which device has moved unlike its peers."""
    from assets.centre import Centre
    from assets.drift import look
    from edgeloop.cli.passphrases import open_keys
    from edgeloop.store import open_store
    from ingest.drift.alarms import alarms_of

    config = read_loop(loop)
    clock = (lambda: at.replace(tzinfo=UTC)) if at else system_clock
    found = look(Centre(open_store(store), open_keys(keys), clock), config)
    if found is None:
        emit(
            {"drift": None, "alarms": []},
            as_json=json,
            human=f"No release of {config.name} is in force yet: there is nothing to drift from.",
        )
        return
    said = alarms_of(found)
    emit({"drift": found, "alarms": said}, as_json=json, human=_drawn(found))
    for sentence in said or [_calm(found)]:
        note(sentence)
    if found.joint.note:
        note(f"All features together were not looked at. {found.joint.note}")


def _calm(found: DriftReport) -> str:
    """That there is no alarm; where there was nothing to look at, that is no good news."""
    if found.features:
        return "No feature and no device moved far, other than by chance."
    return "No event of this time is in the lake: whether anything moved cannot be said. --at looks at another time."


def _drawn(found: DriftReport) -> Group:
    from rich.console import Group

    title = f"drift from {found.release}, {found.period.since:%F} to {found.period.until:%F}"
    columns = ("feature", "PSI", "KS", "adjusted p", "median", "was", "missing", "was", "")
    rows = [
        (
            *(
                f.feature,
                f"{f.psi:.3f}",
                f"{f.ks:.3f}",
                f"{f.adjusted:.2g}",
                _number(f.median),
                _number(f.median_before),
            ),
            *(f"{f.missing:.1%}", f"{f.missing_before:.1%}", "ALARM" if f.alarm else ""),
        )
        for f in found.features
    ]
    of_devices = [
        (d.device, d.feature, f"{d.psi:.3f}", f"{d.adjusted:.2g}", "ALARM" if d.alarm else "")
        for d in islice(found.devices, MOST)
    ]
    devices = table("devices against their peers", ("device", "feature", "PSI", "adjusted p", ""), of_devices)
    return Group(table(title, columns, rows), *([devices] if of_devices else []))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
