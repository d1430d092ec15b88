"""What every asset is handed: the store, the keys and the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from edgeloop import __version__
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
    code_version: str = __version__

    def lake(self, config: LoopConfig) -> Lake:
        """The lake of one loop."""
        return Lake(self.store, config.layout)


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
