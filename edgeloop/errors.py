"""Every error edgeloop raises on purpose.

A message says what was expected, what came, and what to do about it. The command line turns the class
into its exit code (`exit_code`), so scripts can tell a typing mistake from a store that is down.
"""

from __future__ import annotations


class EdgeloopError(Exception):
    """Base of all errors raised on purpose.

    `remedy` is the sentence that tells a person what to do next; it is part of `str(error)`.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}".strip())


class ConfigError(EdgeloopError):
    """A `loop.toml`, a device's settings or a command's arguments are wrong."""

    exit_code = 2


class DataError(EdgeloopError):
    """A table, a batch or a document does not hold what it should."""

    exit_code = 3


class VersionGone(DataError):
    """A version of a table is not kept any more: it is old and no live release's, or rows that it had were deleted for good."""


class StoreError(EdgeloopError):
    """The object store failed or could not be reached; trying again may help."""

    exit_code = 4


class NotFound(StoreError):
    """There is no object at that path."""


class UnlistableName(StoreError):
    """A listing met an object whose name it cannot give, and ended there."""


class AlreadyExists(StoreError):
    """A create-only put found an object there already."""


class PreconditionFailed(StoreError):
    """A conditional put found another version than the one it was based on."""


class NoRoom(EdgeloopError):
    """There is too little memory or disk here now; trying again may help."""

    exit_code = 4


class RefusedError(EdgeloopError):
    """Something was refused on purpose: a signature, a gate, a policy."""

    exit_code = 5


class TrustError(RefusedError):
    """Signed metadata or an artefact did not verify."""


class MetadataRefused(TrustError):
    """Signed metadata is expired, older than what was seen before, or not signed as it must be."""


class GateRefused(RefusedError):
    """An artefact without a `pass` verdict for its very digest was about to be published."""


class ModelError(EdgeloopError):
    """A model file cannot be loaded, or its inputs and outputs are not what its manifest says."""

    exit_code = 3
