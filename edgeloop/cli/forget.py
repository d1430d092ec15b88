"""`edgeloop forget`: everything that the centre has of a device, or of a span of its time, goes for good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.options import Json, LoopFile, StoreUrl
from edgeloop.cli.output import emit, err, note, out, table
from edgeloop.clock import system_clock
from edgeloop.config import LoopConfig, read_loop
from edgeloop.errors import ConfigError, DataError
from edgeloop.store import Store, open_store

if TYPE_CHECKING:
    from rich.table import Table

    from ingest.upkeep.forgetting import Found
    from ingest.upkeep.tombstones import Proof, Request, TrainedOn
    from ingest.upkeep.traces import OldVersions

Time = Annotated[datetime | None, typer.Option(metavar="TIME", help="UTC, such as 2026-03-01 or 2026-03-01T14:30:00.")]


def forget(
    loop: LoopFile,
    devices: Annotated[list[str], typer.Argument(metavar="DEVICE...", help="Ids; a person can be several devices.")],
    store: StoreUrl,
    since: Time = None,
    until: Time = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is of them.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only search the whole store for them; exits with 3 if there is anything.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it.")] = False,
    json: Json = False,
) -> None:
    """Delete everything of devices for good, or what they measured from --since until before --until, and prove it.

    Nothing of them is taken in afterwards, unless they are enrolled again. A command that was killed is typed again.
    """
    from edgeloop.lake import Lake
    from fleet.versions import open_versions
    from ingest.upkeep import forgetting

    if dry_run and verify:
        raise ConfigError("--dry-run and --verify are two questions.", remedy="Ask one.")
    config, opened = read_loop(loop), open_store(store)
    lake, old = Lake.of(opened, config), open_versions(store)
    request = forgetting.make_request(config, devices, _utc(since), _utc(until), system_clock())
    if verify:
        _verify(opened, config, request, old, json)
        return
    found = forgetting.find(opened, lake, config, request)
    if dry_run or not yes:
        human = _counts("what there is of them", found.rows, _folders(config, found))
        if dry_run:
            emit({"dry_run": True, "found": found}, as_json=json, human=human)
        else:
            (err if json else out).print(human)
        _say_trained(found.trained)
    if found.nothing and not forgetting.is_known(opened, config, request, old):
        # With --yes too: an id that is mistyped would cost the tables all of their older versions.
        nobody, remedy = "There is nothing of them in the store", "look whether the ids are right, to the letter."
        if not dry_run:
            raise DataError(f"{nobody}.", remedy=remedy.capitalize())
        note(f"{nobody}: {remedy}")
    if not dry_run:
        if not yes:
            typer.confirm("Delete this for good?", abort=True, err=True)
        request = forgetting.ask(opened, config.layout, request)
        digest, proof = forgetting.forget(opened, lake, config, request, system_clock(), old)
        _show(config, digest, proof, json)


def _show(config: LoopConfig, digest: str, proof: Proof, json: bool) -> None:
    human = _counts("forgotten", proof.rows, {**proof.objects, "old versions": proof.old_versions})
    emit({"sha256": digest, "proof": proof}, as_json=json, human=human)
    note(f"The proof is {config.layout.forgotten}/{digest}.json; {proof.searched:,} objects were searched after it.")
    _say_trained(proof.trained)
    for path in proof.left:
        note(f"{path} is signed, names one of them, and stays: publish another in its place, then delete it.")
    note(
        "Not in the store: their credentials (`edgeloop device revoke`), their own disks, sticks, backups, Dagster's runs."
    )


def _say_trained(trained: tuple[TrainedOn, ...]) -> None:
    for training in trained:
        of = "some may be" if training.forgotten is None else f"at most {training.forgotten:,} of them"
        note(
            f"{training.release} cannot be trained again to the byte: the {training.rows:,} rows it was trained on cannot"
            f" be read again; {of} of those who are forgotten."
        )


def _verify(opened: Store, config: LoopConfig, request: Request, old: OldVersions | None, json: bool) -> None:
    from ingest.upkeep.forgetting import subject_of
    from ingest.upkeep.tombstones import digest_of, loop_salt, read_proofs
    from ingest.upkeep.traces import find_traces

    found = find_traces(opened, config.layout, subject_of(config, request), old)
    salt = loop_salt(opened, config.layout)
    theirs = {digest_of(salt, device) for device in request.devices}
    proofs = [digest for digest, proof in read_proofs(opened, config.layout) if theirs & set(proof.devices)]
    places = [*found.objects, *(f"{path} (an old version)" for path in found.old), *found.hidden]
    human = table(f"{found.searched:,} objects searched", ("there is something of them in",), [(p,) for p in places])
    clean = f"Nothing of them is in {found.searched:,} objects. Proofs: {', '.join(p[:12] for p in proofs) or 'none'}."
    emit(
        {"found": places, "searched": found.searched, "proofs": proofs}, as_json=json, human=human if places else clean
    )
    if places:
        raise DataError(
            f"{len(places)} objects tell of them.", remedy="`edgeloop forget` without --verify forgets them."
        )


def _counts(title: str, rows: dict[str, int], objects: dict[str, int]) -> Table:
    counts = [(f"rows of {name}", count) for name, count in rows.items()]
    return table(title, ("what", "count"), counts + [(f"objects in {name}", count) for name, count in objects.items()])


def _folders(config: LoopConfig, found: Found) -> dict[str, int]:
    from ingest.upkeep.forgetting import by_folder

    return by_folder(config.layout, found)


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None
