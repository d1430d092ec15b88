"""Releases on a device: content-addressed folders, re-hashed each time one is loaded."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from edge_runtime.model import Model, load_model, runtimes_here
from edgeloop.errors import ModelError, TrustError
from edgeloop.manifest import Artefact, ReleaseManifest, decode_manifest


class Release:
    """A release that is on this device and verified: its manifest and its loaded model.

    Raises:
        TrustError: a file is not what the manifest digest vouches for.
        ModelError: the model cannot be loaded.
    """

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        manifest = _read_checked(folder / "manifest.json", digest)
        self.sha256 = digest
        self.manifest: ReleaseManifest = decode_manifest(manifest)
        artefact = choose_artefact(self.manifest)
        path = folder / model_file(artefact)
        _read_checked(path, artefact.sha256)
        self.runtime = artefact.runtime
        self.classes = self.manifest.classes
        self.model: Model = load_model(
            path, artefact.runtime, len(self.manifest.schema.features), len(self.manifest.classes), threads
        )

    def disagreement(self) -> str:
        """Run the golden vectors here; what was wrong, or nothing."""
        golden = self.manifest.golden
        for i, (row, expected) in enumerate(zip(golden.inputs, golden.probabilities, strict=True)):
            found = self.model.probabilities([float("nan") if v is None else v for v in row])
            worst = max(abs(f - e) if f == f else float("inf") for f, e in zip(found, expected, strict=True))
            if worst > golden.tolerance:
                return f"golden vector {i} is off by {worst:.2g}, {golden.tolerance:.2g} is allowed"
        return ""


def choose_artefact(manifest: ReleaseManifest) -> Artefact:
    """The first artefact that a runtime here can run. Raises `ModelError` if there is none."""
    here = runtimes_here()
    for artefact in manifest.models:
        if artefact.runtime in here:
            return artefact
    offered = ", ".join(a.runtime for a in manifest.models)
    raise ModelError(f"{manifest.id} comes for {offered}, this device runs {', '.join(here) or 'nothing'}.")


def model_file(artefact: Artefact) -> str:
    """The file name of an artefact in a release's folder."""
    return f"model.{artefact.runtime}"


def keep_only(models: Path, digests: set[str]) -> None:
    """Remove the folders of releases that no slot needs."""
    for folder in models.iterdir() if models.is_dir() else ():
        if folder.name not in digests:
            shutil.rmtree(folder, ignore_errors=True)


def _read_checked(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path.name} of release {digest[:12]} cannot be read: {error.strerror}.") from error
    if sha256(content).hexdigest() != digest:
        raise TrustError(
            f"{path.name} on this device is not what was verified ({digest[:12]}).", remedy="It is fetched again."
        )
    return content
