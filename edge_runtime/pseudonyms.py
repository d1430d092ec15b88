"""Pseudonyms in the place of what may not be known outside of a device, and the key that they are made with.

All devices of a loop have the same key, so that the same badge is the same pseudonym everywhere. Whoever has the key can try
out what a pseudonym stands for; nobody else can.
"""

from __future__ import annotations

import hmac
import math
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from edgeloop.errors import ConfigError
from edgeloop.schema import FeatureSchema

SHORTEST_KEY = 16
"""Bytes."""

BYTES = 3
"""Of the hash, which float32 holds exactly."""


def pseudonym(value: Any, key: bytes) -> float:
    """The first 24 bits of HMAC-SHA256 (RFC 2104) of any text or number, as a whole number; NaN for None, NaN and an empty text.

    A number is the same however it is written: 17, 17.0 and "17".

    Raises:
        TypeError, ValueError, OverflowError: `value` is neither, infinite, no Unicode, or has too many digits for Python to write.
    """
    text = _text(value)
    if not text:
        return math.nan
    digest = hmac.digest(key, text.encode(), "sha256")
    return float(int.from_bytes(digest[:BYTES], "big"))


def check_key(schema: FeatureSchema, key: bytes) -> None:
    """Demand a key if there are hashed features, and none if there are not. Raises `ConfigError`."""
    hashed = ", ".join(schema.hashed)
    if hashed and len(key) < SHORTEST_KEY:
        raise ConfigError(
            f"features are hashed ({hashed}), and the key for that has {len(key)} bytes; expected at least {SHORTEST_KEY}.",
            remedy="Make one for all devices of the loop with `openssl rand -out hash.key 32`, and name it when a device is set up:"
            " edgeloop device create … --hash-key hash.key. A device that has lost its own needs that file as HOME/hash.key.",
        )
    if key and not hashed:
        raise ConfigError(
            "there is a key to hash with, and no feature is hashed.",
            remedy="List them in features.hashed, or leave the key out.",
        )


def read_key(path: Path) -> bytes:
    """The key in the file at `path`, all its bytes. Raises `ConfigError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the key {path} cannot be read: {error.strerror}.",
            remedy="It is the file that all devices of the loop were set up with; `openssl rand -out hash.key 32` makes a first one.",
        ) from error


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, Real):
        raise TypeError(f"expected text or a number, found {type(value).__name__}")
    if isinstance(value, Integral):
        return str(int(value))
    number = float(value)
    if math.isinf(number):
        raise ValueError("expected a finite number, found an infinite one")
    if math.isnan(number):
        return ""
    return str(int(number)) if number.is_integer() else repr(number)
