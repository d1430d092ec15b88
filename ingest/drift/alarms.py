"""The alarms of a look for drift, in words."""

from __future__ import annotations

from ingest.drift.measure import DeviceDrift, DriftReport, FeatureDrift, Moved

MOST = 5
"""Features, and devices, that are named."""


def alarms_of(report: DriftReport) -> list[str]:
    """A sentence for each alarm: what moved, how far, since when; none if nothing did."""
    features = [f for f in report.features if f.alarm]
    devices = [d for d in report.devices if d.alarm]
    return [
        *(_of_feature(f, report) for f in features[:MOST]),
        *_more(len(features) - MOST, "of the fleet"),
        *(_of_device(d, report) for d in devices[:MOST]),
        *_more(len(devices) - MOST, "of devices"),
        *([_together(report)] if report.joint.alarm else []),
    ]


def since(found: Moved, report: DriftReport) -> str:
    """When it moved, as far as the window tells."""
    return f"since {found.since:%F}" if found.since else f"since before {report.period.since:%F}"


def _of_feature(found: FeatureDrift, report: DriftReport) -> str:
    words = [f"{found.feature} moved (PSI {found.psi:.2f}) {since(found, report)}"]
    if found.median is not None and found.median != found.median_before:
        words.append(f"its median went from {found.median_before:.4g} to {found.median:.4g}")
    if round(found.missing, 2) != round(found.missing_before, 2):
        words.append(f"{found.missing:.0%} of its values are missing, {found.missing_before:.0%} were")
    return ", ".join(words) + "."


def _of_device(found: DeviceDrift, report: DriftReport) -> str:
    return f"{found.feature} of {found.device} moved unlike that of its peers (PSI {found.psi:.2f}) {since(found, report)}."


def _together(report: DriftReport) -> str:
    return f"Taken together the features differ from the training's: a classifier tells them apart with an AUC of {report.joint.auc:.2f}."


def _more(count: int, what: str) -> list[str]:
    return [f"And {count} more {what}."] if count > 0 else []
