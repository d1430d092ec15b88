"""A device's home directory: its settings, the root it trusts, and where everything else of it is.

settings.json     what it is and where its store is
credentials.json  what opens its store, if that is not in the environment
root.json         the first TUF root, its trust anchor
hash.key          what features are hashed with, if there are any such
state.sqlite      spool, sequence, slots, what was refused
epoch, slots      of those, what is needed should that file be lost
models/           releases by manifest digest
trust/            verified TUF metadata
rollout.json      the rollout document that was verified last

The process that runs the device holds a lock on the directory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec

from edge_runtime.pseudonyms import check_key, read_key
from edgeloop.config import DeviceSection, LoopConfig
from edgeloop.duration import Duration
from edgeloop.errors import ConfigError, DataError
from edgeloop.layout import check_id
from edgeloop.rollout import RolloutDocument, decode_rollout
from edgeloop.schema import FeatureSchema
from edgeloop.sketches import AGGREGATES, EVENTS
from edgeloop.store import Credentials
from edgeloop.window import Window

SETTINGS_VERSION = 1
ROLLOUT_FILE = "rollout.json"
HASH_KEY = "hash.key"

_PARSERS: dict[type, Callable[[str], object]] = {Duration: Duration.parse, Window: Window.parse}


class Shipped(msgspec.Struct, frozen=True):
    """Of `[privacy]`, in what form events leave the device. What is dropped or rounded is in the schema; older settings say it here too."""

    ship: str = EVENTS
    min_events: int = 10


class DeviceSettings(msgspec.Struct, frozen=True):
    """What a device is told when it is set up: its loop, id and store URL, its features, its `[device]` and how it ships."""

    version: int
    loop: str
    device: str
    store: str
    schema: FeatureSchema
    section: DeviceSection
    privacy: Shipped = Shipped()


def settings_of(config: LoopConfig, device: str, store: str) -> DeviceSettings:
    """The settings of a device of a loop.

    Args:
        store: its URL; a path is made absolute, for the device has a working directory of its own.
    """
    where = store if "://" in store else str(Path(store).resolve())
    shipped = Shipped(config.privacy.ship, config.privacy.min_events)
    return DeviceSettings(SETTINGS_VERSION, config.name, device, where, config.schema(), config.device, shipped)


def create_home(
    home: Path,
    settings: DeviceSettings,
    root: bytes,
    hash_key: bytes = b"",
    credentials: Credentials | None = None,
) -> None:
    """Make a device's home directory, for its owner only.

    Args:
        hash_key: what all devices of the loop hash features with; empty if none is hashed.
        credentials: for its store; from the environment of whoever runs it, if not given.

    Raises:
        ConfigError: there is a device in it already, it cannot be made, the device id cannot be part of a path, or the key is
            missing, too short or for nothing.
    """
    check_id("device id", settings.device)
    check_key(settings.schema, hash_key)
    if (home / "settings.json").exists():
        raise ConfigError(f"{home} is the home of a device already.", remedy="Name another directory.")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(home / "root.json", root)
        if credentials:
            write_private(home / "credentials.json", msgspec.json.encode(credentials))
        if hash_key:
            write_private(home / HASH_KEY, hash_key)
        write_private(home / "settings.json", msgspec.json.encode(settings, enc_hook=str))
    except OSError as error:
        raise ConfigError(f"{home} cannot be made: {error.strerror}.", remedy="Name another directory.") from error


def read_settings(home: Path) -> DeviceSettings:
    """Read the settings of the device in `home`.

    Raises:
        ConfigError: there is no device in it, or its settings are damaged.
    """
    path = home / "settings.json"
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=DeviceSettings, dec_hook=decode_setting)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", remedy="Set the device up: `edgeloop device create`."
        ) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"{path} is damaged: {error}.", remedy="Set the device up again; its spool is kept."
        ) from error
    check_id("device id", settings.device)
    return settings


def without_budgets(settings: DeviceSettings) -> DeviceSettings:
    """The same, but for what limits the use of a link."""
    section = msgspec.structs.replace(settings.section, upload_mb_per_day=0.0, window=Window())
    return msgspec.structs.replace(settings, section=section)


def decode_setting(kind: type, text: str) -> object:
    """How msgspec reads the kinds in settings that are not its own. Raises `ConfigError`."""
    return _PARSERS[kind](text)


def adopt_credentials(home: Path, credentials: Credentials | None) -> None:
    """Put new credentials into the place of the old, whole. Raises `ConfigError`."""
    if credentials is None:
        return
    try:
        write_private(home / "credentials.json.part", msgspec.json.encode(credentials))
        (home / "credentials.json.part").replace(home / "credentials.json")
    except OSError as error:
        raise ConfigError(f"{home} cannot be written: {error.strerror}.", remedy="Run as its owner.") from error


def read_credentials(home: Path) -> Credentials | None:
    """What opens the device's store; None if that is in the environment. Raises `ConfigError`: they cannot be read."""
    path = home / "credentials.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path} cannot be read.", remedy="Set the device up again from its bundle.") from error


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Be the one process that runs the device in `home`; the lock ends with the process, however that ends.

    Raises:
        ConfigError: another one runs it, or this user may not.
    """
    descriptor = _lock(home)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(home: Path) -> int:
    try:
        # The directory itself: a file of its own could not be made on a disk that is full or read-only.
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(
            f"{home} cannot be opened: {error.strerror}.", remedy="Run as the owner of the directory."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(
            f"another process runs the device in {home}.",
            remedy="End it first; `edgeloop device status` can be asked meanwhile.",
        ) from error
    return descriptor


def demand_library(settings: DeviceSettings) -> None:
    """Raise `ConfigError` if the device is to ship aggregates and cannot make them: without a word nothing would ever leave it."""
    if settings.privacy.ship == AGGREGATES and find_spec("datasketches") is None:
        raise ConfigError(
            "this device ships aggregates, which needs datasketches, which is not installed.",
            remedy="pip install 'edgeloop[edge,sketches]'",
        )


def read_root(home: Path) -> bytes:
    """The TUF root that the device was born with. Raises `ConfigError`."""
    try:
        return (home / "root.json").read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{home / 'root.json'} cannot be read: {error.strerror}.", remedy="Bring it from the centre again."
        ) from error


def kept_rollout(home: Path) -> RolloutDocument | None:
    """The rollout document that was verified last; None if there is none yet, or it is damaged: the next poll brings it."""
    with suppress(OSError, DataError):
        return decode_rollout((home / ROLLOUT_FILE).read_bytes())
    return None


def read_hash_key(home: Path, settings: DeviceSettings) -> bytes:
    """What features are hashed with; empty if none is. Raises `ConfigError`."""
    return read_key(home / HASH_KEY) if settings.schema.hashed else b""


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, if it is a new one, and have it on the disk. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
