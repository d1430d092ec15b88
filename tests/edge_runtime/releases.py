"""Releases without a trainer, for each runtime that is here: networks from files, signed, published and rolled out as ever."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from edge_runtime.model import runtimes_here
from edgeloop.manifest import MANIFEST_VERSION, Artefact, Golden, Lineage, ReleaseManifest
from edgeloop.verdict import VERDICT_VERSION, Check, Verdict
from fleet.releases import PublishedRelease, list_releases, publish_release
from fleet.repository import refresh
from fleet.rollouts import publish_rollout, read_current, start
from tests.edge_runtime import networks
from tests.site import LOOP, START, Site, make_site, pass_probation

ROWS = ((0.0, 0.0, 0.0, 0.0), (1.5, -0.25, 1.0, 23.0), (-2.0, 0.5, None, 7.0), (None, 3.0, 0.0, 12.0))
IMPUTED = f"""{LOOP}
[features.missing]
a = 0.0
b = 0.0
mode = "slow"
"""
"""The loop as a network needs it that knows no missing value."""

KINDS = [kind for kind in networks.FILES if networks.runtime(kind) in runtimes_here()]


@pytest.fixture(params=KINDS)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    """Everybody runs r0001, a network of each kind that can run here, past its probation."""
    site = make_site(tmp_path, loop_for(request.param))
    release(site, 8, request.param)
    pass_probation(site)
    return site


def loop_for(kind: str) -> str:
    """The loop that a network of a kind can be released for."""
    return LOOP if networks.runtime(kind) == "onnx" else IMPUTED


def release_to_everyone(site: Site, day: float) -> str:
    """A second release of the same kind that this one device is to get; its digest."""
    (newest,) = list_releases(site.store, site.keys, "pump")
    return release(site, day, str(newest.manifest.lineage.parameters["kind"]))


def release(site: Site, day: float, kind: str, model: bytes = b"", memory: int = 0) -> str:
    """Publish a release of a network, of the file of its kind if no `model` is given, and roll it out to everyone; its digest."""
    site.clock.now = START + timedelta(days=day)
    refresh(site.store, site.keys, site.clock.now)
    counter = 1 + len(list_releases(site.store, site.keys, "pump"))
    model = model or networks.path(kind).read_bytes()
    manifest = _manifest(site, counter, kind, model, memory)
    verdict = Verdict(VERDICT_VERSION, manifest.sha256, True, (Check("test", True, "", "", ""),), site.clock.now)
    files = {manifest.models[0].target: model}
    publish_release(
        site.store, site.keys, manifest.encode(), files, verdict.encode(), frozenset({"r0001"}), site.clock.now
    )
    _roll_out(site, PublishedRelease(manifest, manifest.sha256))
    return manifest.sha256


def _roll_out(site: Site, published: PublishedRelease) -> None:
    current = read_current(site.store, site.keys, "pump")
    document = start(None, published, site.config.rollout, [], site.clock.now)
    if current is not None:
        document = msgspec.structs.replace(document, number=current.number + 1)
    publish_rollout(site.store, site.keys, document, site.clock.now, based_on=current)


def _manifest(site: Site, counter: int, kind: str, model: bytes, memory: int) -> ReleaseManifest:
    ident, runtime, now = f"r{counter:04}", networks.runtime(kind), site.clock.now
    answers = [networks.expected([float("nan") if v is None else v for v in row]) for row in ROWS]
    golden = Golden(ROWS, tuple(map(tuple, answers)), networks.TOLERANCE[kind])
    return ReleaseManifest(
        version=MANIFEST_VERSION,
        loop="pump",
        id=ident,
        counter=counter,
        created=now,
        schema=site.config.schema(),
        classes=site.config.label.classes,
        models=(Artefact(runtime, f"models/pump/{ident}.{runtime}", sha256(model).hexdigest(), len(model), memory),),
        golden=golden,
        latency_budget_ms=50.0,
        lineage=Lineage(counter, 0, 0, "", "", 0, 0, now, now, "by hand", {"kind": kind}, ""),
        metrics={},
        reference={},
    )
