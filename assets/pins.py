"""Which versions of the lake's tables must stay readable, and for whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from assets.centre import Centre
from assets.trainings import newest_training
from edgeloop.config import LoopConfig
from edgeloop.manifest import ReleaseManifest, decode_manifest
from fleet.releases import list_releases


@dataclass(frozen=True)
class Pinned:
    """A version of a table that `release` was trained on."""

    release: str
    table: str
    version: int


def find_pins(centre: Centre, config: LoopConfig) -> list[Pinned]:
    """The versions that the live releases of a loop were trained on, and the newest training, which may become one.

    A version goes when no live release names it any more. Raises `UnreadableRelease` if it cannot be told what is pinned.
    """
    manifests = [release.manifest for release in list_releases(centre.store, centre.keys, config.name)]
    number = newest_training(centre.store, config.layout)
    if number is not None:
        manifests.append(decode_manifest(centre.store.read(config.layout.training(number, "manifest.json"))))
    return sorted({pin for manifest in manifests for pin in _pins(manifest)}, key=lambda p: (p.release, p.table))


def pinned_versions(pins: Iterable[Pinned]) -> dict[str, set[int]]:
    """The versions to keep of each table."""
    found: dict[str, set[int]] = defaultdict(set)
    for pin in pins:
        found[pin.table].add(pin.version)
    return found


def _pins(manifest: ReleaseManifest) -> tuple[Pinned, Pinned]:
    lineage = manifest.lineage
    return (
        Pinned(manifest.id, "events", lineage.events_version),
        Pinned(manifest.id, "labels", lineage.labels_version),
    )
