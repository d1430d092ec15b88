"""A training's files in the store: written by `challenger` and `validation`, read by `release`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgeloop.layout import Layout
from edgeloop.manifest import ReleaseManifest, decode_manifest
from edgeloop.store import Store
from edgeloop.verdict import Verdict, decode_verdict


@dataclass(frozen=True)
class Training:
    """What one training left: the manifest and the model it names, and the verdict on them."""

    manifest: ReleaseManifest
    manifest_bytes: bytes
    model: bytes
    verdict: Verdict
    verdict_bytes: bytes


def newest_training(store: Store, layout: Layout) -> int | None:
    """The number of the newest training that has a verdict; None if there is none."""
    paths = (entry.path for entry in store.list(layout.trainings))
    numbers = [int(path.split("/")[-2]) for path in paths if path.endswith("/verdict.json")]
    return max(numbers, default=None)


def last_trained(store: Store, layout: Layout) -> datetime | None:
    """When the newest training that has a verdict was made; None if there is none."""
    number = newest_training(store, layout)
    return None if number is None else decode_manifest(store.read(layout.training(number, "manifest.json"))).created


def next_training(store: Store, layout: Layout) -> int:
    """The number for a new training: one more than any that began, so that a failed one is never written over."""
    return max((int(entry.path.split("/")[-2]) for entry in store.list(layout.trainings)), default=0) + 1


def write_training(store: Store, layout: Layout, number: int, manifest: bytes, model: bytes, verdict: bytes) -> None:
    """Write a training's files, create-only, the verdict last: without it the training does not count."""
    for name, content in (("model.onnx", model), ("manifest.json", manifest), ("verdict.json", verdict)):
        store.create(layout.training(number, name), content)


def read_training(store: Store, layout: Layout, number: int) -> Training:
    """Read what `write_training` wrote. Raises `NotFound` or `DataError`."""
    manifest = store.read(layout.training(number, "manifest.json"))
    verdict = store.read(layout.training(number, "verdict.json"))
    return Training(
        decode_manifest(manifest),
        manifest,
        store.read(layout.training(number, "model.onnx")),
        decode_verdict(verdict),
        verdict,
    )
