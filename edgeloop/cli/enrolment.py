"""`edgeloop device enroll` and what belongs to it: who may be a device of a loop, decided at the centre."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.device import read_root_file
from edgeloop.cli.options import Json, LoopFile, StoreUrl
from edgeloop.cli.output import emit, err, say
from edgeloop.clock import system_clock
from edgeloop.config import read_loop
from edgeloop.errors import ConfigError
from edgeloop.store import Credentials, directory_of, open_store

if TYPE_CHECKING:
    from edge_runtime.bundle import Bundle
    from edge_runtime.settings import DeviceSettings
    from fleet.access import Access

Device = Annotated[str, typer.Argument(metavar="ID", help="The device's id.")]
Bundles = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the bundles go, ID.bundle each.")]


def enroll(
    loop: LoopFile,
    store: StoreUrl,
    root: Annotated[Path, typer.Option(help="The root that `edgeloop fleet init --root` wrote.")],
    devices: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The devices' ids.")] = None,
    table: Annotated[
        Path | None, typer.Option("--from", metavar="FILE.csv", help="Ids from the column `device` of a table, too.")
    ] = None,
    hash_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What the loop's hashed features are hashed with.")
    ] = None,
    out: Bundles = Path(),
    json: Json = False,
) -> None:
    """Enrol devices: a user each in MinIO, held to its own, and a bundle for `edgeloop device join`. May be repeated."""
    from rich.progress import track

    from edge_runtime.pseudonyms import check_key, read_key
    from edge_runtime.settings import settings_of
    from ingest.upkeep.tombstones import readmit

    config, trusted, key = read_loop(loop), read_root_file(root).decode(), read_key(hash_key) if hash_key else b""
    check_key(config.schema(), key)
    access, opened = _access(store), open_store(store)
    out.mkdir(parents=True, exist_ok=True)
    made, ids = [], list(dict.fromkeys([*(devices or ()), *_ids(table)]))
    if not ids:
        raise ConfigError("no device is named.", remedy="Give ids, or a table with the column `device` with --from.")
    for device in track(ids, "enrolling", console=err, disable=len(ids) < 2 or json):
        path = out / f"{device}.bundle"
        bundle = _bundle(path, settings_of(config, device, store), trusted, key, access)
        if access and bundle.credentials:
            access.enrol(device, config.name, bundle.credentials.secret_access_key)
        if readmit(opened, config.layout, device, system_clock()):
            say(f"{device} was forgotten: what it measures from now on is taken in, and nothing of before.")
        made.append(str(path))
    if not access:
        say("A directory keeps nobody out: whoever can write there can write as any device.")
    human = f"{len(made)} bundles in {out}. Bring each to its device: edgeloop device join HOME ID.bundle"
    emit({"bundles": made}, as_json=json, human=human)


def rotate(
    store: StoreUrl,
    device: Device,
    bundle: Annotated[Path, typer.Option(metavar="FILE", help="The device's bundle, which is written anew.")],
    json: Json = False,
) -> None:
    """Give a device a new secret; its old one is worth nothing from now on. Bring the bundle to it: edgeloop device join."""
    from edge_runtime.bundle import read_bundle, with_secret, write_bundle
    from fleet.access import new_secret, open_access

    access, old = open_access(store), read_bundle(bundle)
    if old.settings.device != device:
        raise ConfigError(f"{bundle} is the bundle of {old.settings.device}.", remedy=f"Name that of {device}.")
    secret = new_secret()
    write_bundle(bundle, with_secret(old, secret), replace=True)  # first, so that no secret is ever lost
    access.rotate(device, secret)
    emit({"device": device, "bundle": str(bundle)}, as_json=json, human=f"{device} has a new secret, in {bundle}.")


def revoke(store: StoreUrl, device: Device, json: Json = False) -> None:
    """Take a device's credentials away. What it has shipped stays."""
    from fleet.access import open_access

    open_access(store).revoke(device)
    emit({"device": device}, as_json=json, human=f"{device} can neither ship nor pull any more.")


def policy(loop: LoopFile, store: StoreUrl) -> None:
    """Print what a device of this loop may do, as an IAM policy, for a store without MinIO's administration."""
    import msgspec

    from fleet.access import device_policy
    from fleet.bucket import bucket_of

    print(msgspec.json.format(msgspec.json.encode(device_policy(*bucket_of(store), read_loop(loop).name))).decode())


def join(
    home: Annotated[Path, typer.Argument(metavar="HOME", help="The device's directory.")],
    bundle: Annotated[Path, typer.Argument(metavar="ID.bundle", help="What `edgeloop device enroll` wrote.")],
) -> None:
    """Set a device up from its bundle; where it is set up already, take its credentials anew."""
    from edge_runtime.bundle import unpack_bundle

    settings = unpack_bundle(bundle, home)
    say(f"{settings.device} is set up in {home}; remove {bundle} now, and run it with: edgeloop device run {home}")


def _access(store: str) -> Access | None:
    if directory_of(store) is not None:
        return None
    from fleet.access import open_access

    return open_access(store)


def _bundle(path: Path, settings: DeviceSettings, root: str, key: bytes, access: Access | None) -> Bundle:
    """The bundle at `path`, made if it is not there. Written before the device is enrolled, so that no secret is ever lost."""
    from edge_runtime.bundle import BUNDLE_VERSION, Bundle, write_bundle
    from edgeloop.layout import check_id
    from fleet.access import new_secret

    check_id("device id", settings.device)
    if path.exists():
        return _renewed(path, settings, root, key)
    if access and access.policies_of(settings.device):
        raise ConfigError(
            f"{settings.device} is enrolled already, and {path} is not there.",
            remedy="Use its bundle; or `edgeloop device revoke` it first.",
        )
    credentials = Credentials(
        os.environ.get("AWS_ENDPOINT_URL", ""),
        os.environ.get("AWS_REGION", "us-east-1"),
        settings.device,
        new_secret(),
    )
    bundle = Bundle(BUNDLE_VERSION, settings, root, credentials if access else None, key)
    write_bundle(path, bundle)
    return bundle


def _renewed(path: Path, settings: DeviceSettings, root: str, key: bytes) -> Bundle:
    """The bundle that is at `path` with these settings, and its own credentials."""
    import msgspec

    from edge_runtime.bundle import read_bundle, write_bundle

    old = read_bundle(path)
    there, wanted = ((s.device, s.loop, s.store) for s in (old.settings, settings))
    if there != wanted:
        raise ConfigError(
            f"{path} is for {there[0]} in {there[1]} at {there[2]}, not for {wanted[0]} in {wanted[1]} at {wanted[2]}.",
            remedy="Name another directory with --out.",
        )
    bundle = msgspec.structs.replace(old, settings=settings, root=root, hash_key=key)
    if bundle != old:
        write_bundle(path, bundle, replace=True)
    return bundle


def _ids(table: Path | None) -> Iterator[str]:
    if table is None:
        return
    with table.open(newline="") as file:
        rows = csv.DictReader(file)
        _demand_column(table, rows.fieldnames or ())
        yield from (row["device"].strip() for row in rows if row["device"])


def _demand_column(table: Path, columns: Sequence[str]) -> None:
    if "device" not in columns:
        raise ConfigError(
            f"{table} has no column `device`; it has {', '.join(columns) or 'none'}.", remedy="Add it, an id a row."
        )
