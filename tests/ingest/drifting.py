"""A manifest to measure drift against."""

from __future__ import annotations

from datetime import datetime, timedelta

from edgeloop.manifest import MANIFEST_VERSION, Golden, Lineage, Reference, ReleaseManifest
from tests.site import START, Site

SHA = "a" * 64
"""What events say that predicted them, if it was this release."""


def trained(
    site: Site,
    reference: dict[str, Reference],
    *,
    until: datetime = START + timedelta(days=8),
    rows: int = 576,
    devices: int = 3,
    said: dict[str, Reference] | None = None,
) -> ReleaseManifest:
    """A release that was trained from `START` on."""
    lineage = Lineage(1, 0, 0, "", "", rows, devices, START, until, "by hand", {}, "")
    return ReleaseManifest(
        version=MANIFEST_VERSION,
        loop="pump",
        id="r0001",
        counter=1,
        created=until,
        schema=site.config.schema(),
        classes=site.config.label.classes,
        models=(),
        golden=Golden((), (), 0.0),
        latency_budget_ms=50.0,
        lineage=lineage,
        metrics={},
        reference=reference,
        said=said or {},
    )
