"""What every asset is handed: the store, the keys and the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import dagster as dg

import edgeloop
import ingest
import training
from edgeloop.clock import Clock, system_clock
from edgeloop.config import LoopConfig
from edgeloop.lake import Lake
from edgeloop.store import Store
from fleet.keys import Keys


@dataclass(frozen=True)
class Centre:
    """The centre's side of one deployment; a Dagster resource called `centre`."""

    store: Store
    keys: Keys
    clock: Clock = system_clock

    def lake(self, config: LoopConfig) -> Lake:
        """The lake of one loop."""
        return Lake.of(self.store, config)


@cache
def source_version() -> str:
    """This edgeloop's version, and the first 12 hex digits of a SHA-256 over the source that makes a release."""
    digest = sha256()
    for package in (edgeloop, ingest, training):
        folder = Path(package.__path__[0])
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".sql")):
            digest.update(f"{path.relative_to(folder.parent).as_posix()}\0".encode() + path.read_bytes())
    return f"{edgeloop.__version__}+{digest.hexdigest()[:12]}"


def asset_prefix(config: LoopConfig) -> str:
    """The loop's name as Dagster allows it in an asset key: letters, digits and underscores."""
    return config.name.replace("-", "_").replace(".", "_")


def loop_owners(config: LoopConfig) -> list[str] | None:
    """The loop's owner as Dagster takes it: an address, or nobody."""
    return [config.loop.owner] if "@" in config.loop.owner else None


def loop_asset(
    config: LoopConfig, name: str, group: str, description: str, kinds: set[str], deps: Sequence[str] = ()
) -> dg.AssetSpec:
    """The specification of one of the loop's assets; `deps` are names of others."""
    prefix = asset_prefix(config)
    return dg.AssetSpec(
        [prefix, name],
        deps=[[prefix, dep] for dep in deps],
        group_name=group,
        description=description,
        kinds=kinds,
        owners=loop_owners(config),
    )
