"""A bundle: all that a device is told before its first run, in one file that only its owner can read."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edge_runtime.settings import (
    DeviceSettings,
    adopt_credentials,
    create_home,
    decode_setting,
    read_settings,
    write_private,
)
from edgeloop.errors import ConfigError
from edgeloop.store import Credentials

BUNDLE_VERSION = 1


class Bundle(msgspec.Struct, frozen=True):
    """A device's settings, the TUF root that it trusts, and, if it needs them, the credentials for its store and the key it hashes with."""

    version: int
    settings: DeviceSettings
    root: str
    credentials: Credentials | None = None
    hash_key: bytes = b""


def with_secret(bundle: Bundle, secret: str) -> Bundle:
    """The same bundle with another secret. Raises `ConfigError`: it has no credentials."""
    if bundle.credentials is None:
        raise ConfigError(
            f"the bundle of {bundle.settings.device} has no credentials.", remedy="Enrol the device anew."
        )
    credentials = msgspec.structs.replace(bundle.credentials, secret_access_key=secret)
    return msgspec.structs.replace(bundle, credentials=credentials)


def write_bundle(path: Path, bundle: Bundle, *, replace: bool = False) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises `ConfigError`: there is one, or it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        write_private(part, msgspec.json.encode(bundle, enc_hook=str))
        if not replace:
            os.link(part, path)  # unlike a rename it replaces nothing
            part.unlink()
        else:
            part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", remedy="Name another directory.") from error


def read_bundle(path: Path) -> Bundle:
    """Read a bundle. Raises `ConfigError`: it cannot be read, is none, or of a version this edgeloop does not know."""
    try:
        bundle = msgspec.json.decode(path.read_bytes(), type=Bundle, dec_hook=decode_setting)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", remedy="Bring it from the centre.") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is no bundle: {error}.", remedy="Bring it from the centre again.") from error
    if bundle.version > BUNDLE_VERSION:
        raise ConfigError(f"{path} is of version {bundle.version}.", remedy="Upgrade edgeloop here.")
    return bundle


def unpack_bundle(path: Path, home: Path) -> DeviceSettings:
    """Set the device of the bundle at `path` up in `home`; where it is set up already, take its credentials.

    Raises:
        ConfigError: the bundle is none, or `home` is another device's, or cannot be written.
    """
    bundle = read_bundle(path)
    if (home / "settings.json").exists() and read_settings(home).device == bundle.settings.device:
        adopt_credentials(home, bundle.credentials)
    else:
        create_home(home, bundle.settings, bundle.root.encode(), bundle.hash_key, bundle.credentials)
    return bundle.settings
