"""Options that several commands share."""

from __future__ import annotations

import os
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


def _into_environment(endpoint: str) -> str:
    # Whoever opens a store takes it from there, in this process and in those that it starts.
    if endpoint:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
    return endpoint


Endpoint = Annotated[
    str,
    typer.Option(
        envvar="AWS_ENDPOINT_URL",
        metavar="URL",
        help="Where the S3 is; every other command takes it from the environment.",
        callback=_into_environment,
    ),
]
