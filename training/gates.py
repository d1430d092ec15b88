"""The gates between a challenger and its release: pure, from numbers to sentences."""

from __future__ import annotations

from datetime import datetime

from edgeloop.config import Gate
from edgeloop.manifest import DOCUMENT_LIMIT, ReleaseManifest
from edgeloop.verdict import VERDICT_VERSION, Check, Verdict
from training.evaluation import Metrics
from training.parity import ParityProof

DEVICE_ROWS = 30
"""A device with fewer rows on the validation window says nothing by itself."""


def judge(
    manifest: ReleaseManifest,
    challenger: Metrics,
    champion: Metrics | None,
    device_rows: dict[str, int],
    parity: ParityProof,
    rules: Gate,
    model_mb: float,
    now: datetime,
) -> Verdict:
    """The verdict on a challenger.

    Args:
        challenger, champion: both on exactly the same rows, later than either was trained on; None if there is no champion.
        device_rows: how many of those rows each device has.
        model_mb: how large a model file devices take.
    """
    checks = [_parity(parity), _fits(manifest, model_mb), _enough(challenger, rules), _minimum(challenger, rules)]
    if champion is not None:
        checks += [_no_regression(challenger, champion, rules), _worst_device(challenger, champion, device_rows, rules)]
    return Verdict(VERDICT_VERSION, manifest.sha256, all(c.passed for c in checks), tuple(checks), now)


def _parity(proof: ParityProof) -> Check:
    found = f"{proof.labels_differing} labels differ, probabilities by up to {proof.largest_difference:.1e}"
    sentence = f"The ONNX model against the trained one on all {proof.rows} validation rows: {found}."
    return Check("parity", proof.holds, f"no label, probabilities within {proof.tolerance:.0e}", found, sentence)


def _fits(manifest: ReleaseManifest, model_mb: float) -> Check:
    """Whether devices take any of its files, and the manifest itself."""
    smallest = min(artefact.length for artefact in manifest.models) / 1e6
    document = len(manifest.encode())
    passed = smallest <= model_mb and document <= DOCUMENT_LIMIT
    sentence = (
        f"The smallest model file has {smallest:.3g} MB and the manifest {document / 1e6:.3g} MB; devices take {model_mb:g} MB"
        f" (device.model_mb) and {DOCUMENT_LIMIT / 1e6:.3g} MB."
    )
    return Check("size", passed, f"at most {model_mb:g} MB", f"{smallest:.3g} MB", sentence)


def _enough(challenger: Metrics, rules: Gate) -> Check:
    sentence = f"{challenger.rows} rows to judge on, {rules.min_rows} are needed."
    return Check(
        "enough rows", challenger.rows >= rules.min_rows, f"{rules.min_rows} rows", f"{challenger.rows}", sentence
    )


def _minimum(challenger: Metrics, rules: Gate) -> Check:
    passed = challenger.accuracy >= rules.min_accuracy
    sentence = f"Accuracy {challenger.accuracy:.3f}, at least {rules.min_accuracy:.3f} is asked."
    return Check("minimum", passed, f"accuracy {rules.min_accuracy:.3f}", f"{challenger.accuracy:.3f}", sentence)


def _no_regression(challenger: Metrics, champion: Metrics, rules: Gate) -> Check:
    lost = max(champion.accuracy - challenger.accuracy, champion.macro_f1 - challenger.macro_f1)
    sentence = (
        f"Accuracy {challenger.accuracy:.3f} against the champion's {champion.accuracy:.3f}, macro-F1 {challenger.macro_f1:.3f}"
        f" against {champion.macro_f1:.3f}, on the same rows; neither may lose more than {rules.max_regression:.3f}."
    )
    return Check(
        "no regression",
        lost <= rules.max_regression,
        f"lose at most {rules.max_regression:.3f}",
        f"{lost:.3f} lost",
        sentence,
    )


def _worst_device(challenger: Metrics, champion: Metrics, device_rows: dict[str, int], rules: Gate) -> Check:
    lost = {
        device: champion.by_device[device] - accuracy
        for device, accuracy in challenger.by_device.items()
        if device_rows.get(device, 0) >= DEVICE_ROWS and device in champion.by_device
    }
    device, worst = max(lost.items(), key=lambda item: item[1], default=("none", 0.0))
    sentence = f"Worst off is device {device}, which loses {max(worst, 0.0):.3f} accuracy; {rules.worst_device:.3f} is allowed."
    if not lost:
        sentence = f"No device has the {DEVICE_ROWS} rows it takes to compare the two on it."
    return Check(
        "worst device", worst <= rules.worst_device, f"lose at most {rules.worst_device:.3f}", f"{worst:.3f}", sentence
    )
