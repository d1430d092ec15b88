"""The release manifest: everything a device needs to run a release, and everything a person needs to explain it.

Its bytes are what `releases` signs; their SHA-256 is the release's identity (docs/formats.md).
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from edgeloop.errors import ConfigError, DataError
from edgeloop.schema import FeatureSchema

MANIFEST_VERSION = 1
DOCUMENT_LIMIT = 4 * 2**20
"""The most bytes that a device reads of a manifest or a rollout document. A feature takes some 2,000 of a manifest's."""

KNOW_MISSING = frozenset({"onnx"})
"""The runtimes whose models can tell a missing value (NaN) from others. To a TFLite network it would be 0, a value like any other."""

T = TypeVar("T")


class Artefact(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model file of a release: for which `runtime` (`onnx` or `tflite`), its TUF target path, digest and bytes.

    `memory` is what it adds to a process once it is loaded and has answered the golden vectors, in bytes; 0 is unknown, and is not
    written, so that a manifest from before there was one keeps its digest.
    """

    runtime: str
    target: str
    sha256: str
    length: int
    memory: int = 0


class Golden(msgspec.Struct, frozen=True):
    """Golden vectors: rows of inputs (None for NaN), the probabilities they must give, and how near."""

    inputs: tuple[tuple[float | None, ...], ...]
    probabilities: tuple[tuple[float, ...], ...]
    tolerance: float


class Reference(msgspec.Struct, frozen=True):
    """A feature's distribution in the training set: inner bin edges (rising) and the share of rows in each of the
    `len(edges) + 1` bins, then the share of missing values."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: float


class Lineage(msgspec.Struct, frozen=True):
    """From a release back to its rows: table versions, the query and its hash, the window, the trainer and the code.

    `parameters` are all that the trainer was given, its defaults too; `code_version` is edgeloop's version and a digest of its
    source. `label_sources` are the sources of labels that were preferred, the best first; not there if there were none.
    """

    training: int
    events_version: int
    labels_version: int
    query_sha256: str
    rows_sha256: str
    rows: int
    devices: int
    trained_from: datetime
    trained_until: datetime
    trainer: str
    parameters: dict[str, Any]
    code_version: str
    seed: int = 0
    validated_from: datetime | None = None
    validated_until: datetime | None = None
    label_sources: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class ReleaseManifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A release. `counter` rises by one with each release of the loop; `id` is `r` and the counter.

    `said` has how `prediction` (a class by its place in `classes`) and `confidence` were distributed over the validation rows. It is
    not written where there is none, so that a manifest from before keeps its digest.
    """

    version: int
    loop: str
    id: str
    counter: int
    created: datetime
    schema: FeatureSchema
    classes: tuple[str, ...]
    models: tuple[Artefact, ...]
    golden: Golden
    latency_budget_ms: float
    lineage: Lineage
    metrics: dict[str, float]
    reference: dict[str, Reference]
    said: dict[str, Reference] = {}

    def encode(self) -> bytes:
        """The canonical bytes, which are signed."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def sha256(self) -> str:
        return sha256(self.encode()).hexdigest()

    @property
    def target(self) -> str:
        """Its path in the TUF repository."""
        return f"models/{self.loop}/{self.id}.json"

    def blind_to(self, runtime: str) -> tuple[str, ...]:
        """The features that may be missing, if a model for `runtime` could not know that they are."""
        return () if runtime in KNOW_MISSING else self.schema.may_be_missing


def decode_manifest(content: bytes) -> ReleaseManifest:
    """Read a manifest. Unknown keys are ignored, so that a newer centre can add some.

    Raises:
        DataError: it is no manifest, or of a version this edgeloop does not know.
    """
    return decode_document(content, ReleaseManifest, MANIFEST_VERSION, "release manifest")


def decode_document(content: bytes, kind: type[T], version: int, what: str) -> T:
    """Read one of our versioned JSON documents.

    Raises:
        DataError: it does not hold a `kind`, or its `version` is higher than `version`.
    """
    try:
        found = msgspec.json.decode(content)
        if isinstance(found, dict) and isinstance(found.get("version"), int) and found["version"] > version:
            raise DataError(
                f"{what} is of version {found['version']}; this edgeloop reads up to {version}.",
                remedy="Upgrade edgeloop here.",
            )
        return msgspec.convert(found, kind)
    except (msgspec.MsgspecError, ConfigError, RecursionError) as error:  # features can contradict themselves
        raise DataError(
            f"{what} cannot be read: {error}.", remedy="It is torn or of another kind; look at its source."
        ) from error
