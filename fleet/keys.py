"""The signing keys: where each is, and how it is opened.

A key directory has two halves. `offline/` (three root keys, of which two sign, and the targets key) is needed to set
the repository up and to replace keys, never to publish; it belongs on other machines. `online/` holds one key for each
publishing role. A process needs no more of them than it signs with. Of a key called NAME there is

    NAME.pub   its public half, PEM: no secret, to be carried to whoever draws up a root
    NAME.pem   its private half, PKCS#8 PEM with mode 0600, under a passphrase or not
    NAME.uri   instead, where its private half is: `hsm:2?label=…`, `awskms:…`, `gcpkms:…`, `azurekms:…`

Names are this directory's own, a role's or that and a number (`root-2`); which key signs is decided by what the
repository trusts. Directories from before there were `.pub` files are read as ever.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import serialization
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from edgeloop.errors import ConfigError

ROOT_KEYS = ("root-1", "root-2", "root-3")
ROOT_THRESHOLD = 2
OFFLINE = (*ROOT_KEYS, "targets")
ONLINE = ("releases", "rollouts", "snapshot", "timestamp")

PASSPHRASES = {"offline": "EDGELOOP_OFFLINE_PASSPHRASE", "online": "EDGELOOP_KEYS_PASSPHRASE"}
"""For each half, the variable with the passphrase of its keys; with `_FILE` after it, that of a file which holds it."""

Secret = Callable[[str], str]
"""Gives a secret by its name: the variable of a passphrase, or `pin` of a hardware token. Raises `ConfigError`."""


def secret_from_environment(name: str) -> str:
    """The passphrase in the variable `name`, or in the file that `name` with `_FILE` is the path of; `pin` in `EDGELOOP_KEYS_PIN`.

    Raises:
        ConfigError: neither is set.
    """
    variable = "EDGELOOP_KEYS_PIN" if name == "pin" else name
    if value := os.environ.get(variable):
        return value
    if path := os.environ.get(f"{variable}_FILE"):
        return Path(path).read_text().rstrip("\n")
    raise ConfigError(
        "a signing key is protected, and nothing opens it.",
        remedy=f"Set {variable}, or {variable}_FILE to a file's path.",
    )


class Keys:
    """The keys under `directory`; each is read only when it is asked for.

    Args:
        secret: what opens those that are protected.
    """

    def __init__(self, directory: Path, secret: Secret = secret_from_environment) -> None:
        self.directory, self.secret = directory, secret
        self._signers: dict[str, Signer] = {}

    def __reduce__(self) -> tuple[type[Keys], tuple[Path, Secret]]:
        return Keys, (self.directory, self.secret)  # an opened key stays in the process that opened it

    def names(self, role: str = "") -> list[str]:
        """What is here of each key, private or public; of one role if it is given."""
        files = (path for half in PASSPHRASES for path in (self.directory / half).glob("*.p[eu][mb]"))
        return sorted({path.stem for path in files if role in ("", role_of(path.stem))})

    def exist(self) -> bool:
        """Whether any key is here."""
        return bool(self.names())

    def signs_for(self, role: str) -> bool:
        """Whether a key of `role` can be used from here."""
        return any(self.holds(name) for name in self.names(role))

    def holds(self, name: str) -> bool:
        """Whether one can sign from here with the key called `name`."""
        return any(self._file(name, kind).exists() for kind in ("pem", "uri"))

    def protects(self, role: str) -> bool:
        """Whether a new key of `role` gets a passphrase: if one of its half here has one, or, with none here, if one is set."""
        half = half_of(role)
        if pems := list((self.directory / half).glob("*.pem")):
            return any(b"ENCRYPTED" in pem.read_bytes() for pem in pems)
        return any(os.environ.get(PASSPHRASES[half] + end) for end in ("", "_FILE"))

    def public(self, name: str) -> Key:
        """The public half of the key called `name`. Raises as `signer`."""
        try:
            content = self._file(name, "pub").read_bytes()
        except FileNotFoundError:
            return self.signer(name).public_key  # from before there were public halves
        return read_public(content, self._file(name, "pub"))

    def public_pem(self, name: str) -> bytes:
        """The same as PEM."""
        return _pem_of(self.public(name))

    def signer(self, name: str) -> Signer:
        """The signer called `name`.

        Raises:
            ConfigError: it is not here, is no private key, or cannot be opened.
        """
        if name not in self._signers:
            self._signers[name] = self._open(name)
        return self._signers[name]

    def signers(self, role: str, trusted: Iterable[str]) -> list[Signer]:
        """All signers here of a role whose key ids are `trusted`. Raises as `signer`."""
        wanted = set(trusted)
        held = [name for name in self.names(role) if self.holds(name) and self.public(name).keyid in wanted]
        return [self.signer(name) for name in held]

    def create(self, role: str, *, protected: bool, name: str = "") -> str:
        """Make an Ed25519 key; its name.

        Args:
            protected: put it under the passphrase of its half.
            name: for one that has a number; without, the first free one of the role.
        """
        name = name or self.free_name(role)
        cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if protected:
            cipher = serialization.BestAvailableEncryption(self.secret(PASSPHRASES[half_of(name)]).encode())
        signer = CryptoSigner.generate_ed25519()
        private = signer._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher
        )
        self._write(name, "pem", private)  # first: a public half alone would be that of a key which nobody has
        self._write(name, "pub", _pem_of(signer.public_key))
        return name

    def link(self, role: str, uri: str, public: bytes) -> str:
        """Name a key whose private half is elsewhere, by its URI; the name that it gets.

        Args:
            public: its public half, PEM.
        """
        name = self.free_name(role)
        self._write(name, "uri", uri.encode() + b"\n")
        self._write(name, "pub", public)
        return name

    def forget(self, name: str) -> None:
        """Remove what is here of a key that was replaced."""
        self._signers.pop(name, None)
        for kind in ("pem", "uri", "pub"):
            self._file(name, kind).unlink(missing_ok=True)

    def free_name(self, role: str) -> str:
        """The name that a new key of `role` gets: the role's, or that and a number over all that are here."""
        taken = [int(name.removeprefix(role).lstrip("-") or 1) for name in self.names(role)]
        if not taken:
            return "root-1" if role == "root" else role
        return f"{role}-{max(taken) + 1}"

    @property
    def pinned_root(self) -> bytes | None:
        """The first root of the repository that these keys are for, if it was noted; else the store is asked for it."""
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / "root.json").read_bytes()
        return None

    def pin(self, root: bytes) -> None:
        """Note the first root, so that nobody who can write to the store can put another in its place."""
        if self.exist() and self.pinned_root is None:
            (self.directory / "root.json").write_bytes(root)

    def _file(self, name: str, kind: str) -> Path:
        return self.directory / half_of(name) / f"{name}.{kind}"

    def _write(self, name: str, kind: str, content: bytes) -> None:
        path = self._file(name, kind)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(f".{kind}.part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644 if kind == "pub" else 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if path.exists():
            raise ConfigError(f"{path} is there already; keys are never overwritten.", remedy="Name another directory.")
        part.rename(path)

    def _open(self, name: str) -> Signer:
        uri, path = self._file(name, "uri"), self._file(name, "pem")
        with _own_errors(name, uri if uri.exists() else path):
            if uri.exists():
                return Signer.from_priv_key_uri(uri.read_text().strip(), self.public(name), self.secret)
            return self._decrypt(name, path.read_bytes())

    def _decrypt(self, name: str, pem: bytes) -> CryptoSigner:
        password = None
        if b"ENCRYPTED" in pem:
            password = self.secret(PASSPHRASES[half_of(name)]).encode()
        try:
            key = serialization.load_pem_private_key(pem, password)
        except ValueError as error:
            if password is None:
                raise
            raise ConfigError(
                f"the passphrase does not open key {name!r}.",
                remedy=f"It was given when the key was made ({PASSPHRASES[half_of(name)]}).",
            ) from error
        return CryptoSigner(key)


def create_keys(
    directory: Path,
    names: Iterable[str] = (*OFFLINE, *ONLINE),
    *,
    protected: Iterable[str] = (),
    secret: Secret | None = None,
) -> Keys:
    """Make a fresh set of Ed25519 keys.

    Args:
        protected: the halves, `offline` and `online`, whose keys get a passphrase.
        secret: what gives it; by default the environment.

    Raises:
        ConfigError: there are keys already; they are never overwritten.
    """
    keys, halves = Keys(directory, secret or secret_from_environment), set(protected)
    if keys.exist():
        raise ConfigError(f"{directory} holds keys already.", remedy="Use them, or name an empty directory.")
    for name in names:
        keys.create(role_of(name), protected=half_of(name) in halves, name=name)
    return keys


def role_of(name: str) -> str:
    """The role that a key of this name is made for."""
    return re.sub(r"-\d+$", "", name)


def half_of(name: str) -> str:
    """Where a key of this name, or of this role, belongs: `offline` or `online`."""
    return "offline" if role_of(name) in ("root", "targets") else "online"


def read_public(content: bytes, path: Path) -> SSlibKey:
    """A public key from its PEM; its id is always computed. Raises `ConfigError`: `path` holds none that can sign for TUF."""
    try:
        return SSlibKey.from_crypto(serialization.load_pem_public_key(content))
    except ValueError as error:
        raise ConfigError(
            f"{path} holds no public key: {error}.", remedy="It should be PEM, of Ed25519, ECDSA or RSA."
        ) from error


def public_of(uri: str, secret: Secret) -> bytes:
    """The public half, PEM, of the key that `uri` names in a token. Raises `ConfigError`: it is in none that is plugged in."""
    from securesystemslib.signer import HSMSigner

    where = urlsplit(uri)
    if where.scheme != HSMSigner.SCHEME:
        raise ConfigError(f"the public half of {uri} is not known.", remedy="Name its file with --public.")
    number, label = int(where.path or HSMSigner.SCHEME_KEYID), dict(parse_qsl(where.query)).get("label")
    with _own_errors(uri, Path(uri)):
        return _pem_of(HSMSigner.import_(number, label, secret)[1])


def _pem_of(key: Key) -> bytes:
    assert isinstance(key, SSlibKey)
    return key._crypto_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@contextlib.contextmanager
def _own_errors(name: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"key {name!r} cannot be read from {path}: {error.strerror}.",
            remedy="Make keys with `edgeloop fleet init`, or bring the directory that has them.",
        ) from error
    except UnsupportedLibraryError as error:
        raise ConfigError(
            f"key {name!r} needs more than is installed: {error}.",
            remedy="For a PKCS#11 token: pip install 'edgeloop[hsm]'.",
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{path} names no private key that can sign: {error}.", remedy="Restore it from its backup."
        ) from error
