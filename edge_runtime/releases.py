"""Releases on a device: content-addressed folders, hashed again whenever one is looked at; their models are loaded when they are to run."""

from __future__ import annotations

import shutil
from hashlib import file_digest, sha256
from pathlib import Path

from edge_runtime.model import Model, load_model, runtimes_here
from edge_runtime.room import memory_needed
from edgeloop.errors import ModelError, NoRoom, TrustError
from edgeloop.manifest import Artefact, ReleaseManifest, decode_manifest


class Release:
    """A release that is on this device and verified: its manifest, and its model from `load` to `unload`.

    Raises:
        TrustError: a file is not what the manifest digest vouches for.
        ModelError: no runtime here can run it.
    """

    model: Model

    def __init__(self, folder: Path, digest: str, threads: int) -> None:
        self.sha256 = digest
        self.manifest: ReleaseManifest = decode_manifest(_read_checked(folder / "manifest.json", digest))
        artefact = installed_artefact(folder, self.manifest)
        if artefact is None:
            raise TrustError(
                f"the model of release {digest[:12]} on this device is missing, or not what was verified.",
                remedy="It is fetched again.",
            )
        self.runtime = artefact.runtime
        self.classes = self.manifest.classes
        self._path, self._threads = folder / model_file(artefact), threads

    def load(self) -> Release:
        """Have the model in memory, as `model`. Raises `ModelError` if it cannot be loaded."""
        features = len(self.manifest.schema.features)
        self.model = load_model(self._path, self.runtime, features, len(self.classes), self._threads)
        return self

    def unload(self) -> None:
        """Give the model's memory back, if it was loaded."""
        vars(self).pop("model", None)

    def disagreement(self) -> str:
        """Run the golden vectors by the loaded model; what was wrong, or nothing."""
        golden = self.manifest.golden
        for i, (row, expected) in enumerate(zip(golden.inputs, golden.probabilities, strict=True)):
            found = self.model.probabilities([float("nan") if v is None else v for v in row])
            worst = max(abs(f - e) if f == f else float("inf") for f, e in zip(found, expected, strict=True))
            if worst > golden.tolerance:
                return f"golden vector {i} is off by {worst:.2g}, {golden.tolerance:.2g} is allowed"
        return ""


def choose_artefact(manifest: ReleaseManifest, model_mb: float, memory: float) -> Artefact:
    """The first artefact that a runtime here can run and that fits.

    Args:
        model_mb: how large a model file may be.
        memory: bytes that are available.

    Raises:
        ModelError: no runtime here can run any, or all that it can would take a missing value for another, or are too large.
        NoRoom: there is too little memory now.
    """
    runnable = _seeing(manifest, _runnable(manifest))
    taken = [artefact for artefact in runnable if artefact.length <= model_mb * 1e6]
    if not taken:
        smallest = min(artefact.length for artefact in runnable)
        raise ModelError(
            f"the model of {manifest.id} has {smallest / 1e6:.1f} MB, this device takes {model_mb:g} MB at the most.",
            remedy="Train a smaller one, or raise model_mb in the device's settings.",
        )
    for artefact in taken:
        if memory_needed(artefact.memory) <= memory:
            return artefact
    needed = min(memory_needed(artefact.memory) for artefact in taken)
    raise NoRoom(
        f"{manifest.id} needs {needed / 1e6:.1f} MB of memory, {memory / 1e6:.1f} MB are free.",
        remedy="It is tried again at the next poll.",
    )


def _seeing(manifest: ReleaseManifest, runnable: list[Artefact]) -> list[Artefact]:
    """Those of `runnable` that can tell a missing value from others, if they may be given one."""
    if found := [artefact for artefact in runnable if not manifest.blind_to(artefact.runtime)]:
        return found
    runtime = runnable[0].runtime
    raise ModelError(
        f"{manifest.id} is a {runtime} model, which knows no missing value, and {', '.join(manifest.blind_to(runtime))} may be missing.",
        remedy="Publish one whose loop has a value or 'reject' for each under [features.missing].",
    )


def installed_artefact(folder: Path, manifest: ReleaseManifest) -> Artefact | None:
    """The artefact of `manifest` that is in `folder`, whole; None if there is none. Raises `ModelError` if none can be run here."""
    for artefact in _runnable(manifest):
        if _digest(folder / model_file(artefact)) == artefact.sha256:
            return artefact
    return None


def _runnable(manifest: ReleaseManifest) -> list[Artefact]:
    here = runtimes_here()
    if found := [artefact for artefact in manifest.models if artefact.runtime in here]:
        return found
    offered = ", ".join(artefact.runtime for artefact in manifest.models)
    raise ModelError(f"{manifest.id} comes for {offered}, this device runs {', '.join(here) or 'nothing'}.")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


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
