"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LoopFile = Annotated[Path, typer.Argument(metavar="LOOP.toml", help="The loop's configuration.")]
StoreUrl = Annotated[
    str,
    typer.Option(
        "--store", envvar="EDGELOOP_STORE", metavar="URL", help="The store: a directory or s3://bucket/prefix."
    ),
]
KeysDirectory = Annotated[
    Path, typer.Option("--keys", envvar="EDGELOOP_KEYS", metavar="DIR", help="The directory of the signing keys.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
