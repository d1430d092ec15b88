"""What opens a signing key: from the environment, or asked for at the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeloop.errors import ConfigError

if TYPE_CHECKING:
    from fleet.keys import Keys

_PROMPTS = {
    "EDGELOOP_OFFLINE_PASSPHRASE": "Passphrase of the offline keys",
    "EDGELOOP_KEYS_PASSPHRASE": "Passphrase of the online keys",
    "pin": "PIN of the token",
}
_typed: dict[str, str] = {}


def open_keys(directory: Path) -> Keys:
    """The key directory; what is protected asks for what opens it."""
    from fleet.keys import Keys

    return Keys(directory, ask)


def ask(secret: str, *, twice: bool = False) -> str:
    """A passphrase or PIN by its name; at the terminal it is asked for once.

    Args:
        twice: it is new, and has to be typed twice.

    Raises:
        ConfigError: it is not in the environment, and there is no terminal.
    """
    from fleet.keys import secret_from_environment

    try:
        return secret_from_environment(secret)
    except ConfigError:
        if not sys.stdin.isatty():
            raise
    if secret not in _typed:
        _typed[secret] = typer.prompt(_PROMPTS[secret], hide_input=True, confirmation_prompt=twice, err=True)
    return _typed[secret]


def ask_twice(secret: str) -> str:
    """As `ask`, for one that is new."""
    return ask(secret, twice=True)
