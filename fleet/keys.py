"""The signing keys: who holds which, and where.

A key directory has two halves. `offline/` (three root keys, of which two sign, and the targets key) is needed to set
the repository up and to replace keys, never to publish; carry it away. `online/` holds one key for each publishing role.
Files are PKCS#8 PEM with mode 0600.
"""

from __future__ import annotations

import os
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from edgeloop.errors import ConfigError

ROOT_KEYS = ("root-1", "root-2", "root-3")
ROOT_THRESHOLD = 2
OFFLINE = (*ROOT_KEYS, "targets")
ONLINE = ("releases", "rollouts", "snapshot", "timestamp")


class Keys:
    """The keys under `directory`; each is read only when it is asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def signer(self, name: str) -> CryptoSigner:
        """The signer called `name`, one of `OFFLINE` or `ONLINE`.

        Raises:
            ConfigError: its file is missing or holds no private key.
        """
        path = self._path(name)
        try:
            return _load(path.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"key {name!r} cannot be read from {path}: {error.strerror}.",
                remedy="Make keys with `edgeloop fleet init`, or bring the directory that has them.",
            ) from error
        except ValueError as error:
            raise ConfigError(f"{path} holds no Ed25519 private key.", remedy="Restore it from its backup.") from error

    def exist(self) -> bool:
        """Whether any key is here."""
        return any(self._path(name).exists() for name in (*OFFLINE, *ONLINE))

    def _path(self, name: str) -> Path:
        return self.directory / ("offline" if name in OFFLINE else "online") / f"{name}.pem"


def create_keys(directory: Path) -> Keys:
    """Make a fresh set of Ed25519 keys.

    Raises:
        ConfigError: there are keys already; they are never overwritten.
    """
    keys = Keys(directory)
    if keys.exist():
        raise ConfigError(f"{directory} holds keys already.", remedy="Use them, or name an empty directory.")
    for name in (*OFFLINE, *ONLINE):
        path = keys._path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(CryptoSigner.generate_ed25519().private_bytes)
    return keys


def _load(pem: bytes) -> CryptoSigner:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not Ed25519")
    return CryptoSigner(key)
