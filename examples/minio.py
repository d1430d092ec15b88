"""A MinIO of one's own, on loopback: for the demo, the tests, and to try edgeloop on.

    python -m examples.minio DIR             until Ctrl-C
    python -m examples.minio DIR COMMAND…    as long as the command runs, which finds it in its environment

All of it is in DIR: what it stores, a certificate and the authority that signed it, and `environment`, for its owner's eyes, with
what reaches it. It is the same one at the next start.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from edgeloop.cli.output import fail, say
from edgeloop.errors import ConfigError, EdgeloopError, StoreError

BUCKET = "edgeloop"
PATIENCE = 60.0
"""Seconds for the server to answer after its start; a second, but on a machine that has much else to do."""


class Minio:
    """A MinIO over `directory`, which is made at first; `environment` is what reaches it, once it runs.

    Args:
        tls: by a certificate of its own; without, over plain HTTP.
    """

    def __init__(self, directory: Path, *, tls: bool = True) -> None:
        self._directory, self._tls = directory.absolute(), tls
        file = self._directory / "environment"
        if not file.exists():
            self._make(file)
        self.environment = dict(line.partition("=")[::2] for line in shlex.split(file.read_text()) if "=" in line)
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers.

        Raises:
            ConfigError: there is no `minio` on the path.
            StoreError: it ended, or does not answer; or another one does.
        """
        user, password = (self.environment[f"AWS_{key}"] for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        address = urlsplit(self.environment["AWS_ENDPOINT_URL"]).netloc
        if _answers(address):
            raise StoreError(
                f"something answers at {address} already.", remedy="Use that one if it is your own, or end it."
            )
        drive, certs = (str(self._directory / name) for name in ("drive", "certs"))
        command = ["minio", "server", drive, "--address", address, "--console-address", "127.0.0.1:0"]
        own = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_BROWSER": "off"}
        with (self._directory / "log").open("ab") as log:
            try:
                self._server = subprocess.Popen(
                    [*command, "--certs-dir", certs, "--quiet"],
                    env={**os.environ, **own},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is not for it, but for whoever uses it
                )
            except FileNotFoundError as error:
                raise ConfigError("there is no minio on the path.", remedy="`make minio-server` makes it.") from error
        self._wait(self._server)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end as it wants to."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait()

    def _make(self, file: Path) -> None:
        for folder in ("certs", f"drive/{BUCKET}"):  # a folder on a drive is a bucket
            (self._directory / folder).mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        found = {
            "AWS_ENDPOINT_URL": f"{'https' if self._tls else 'http'}://{address}",
            "AWS_ACCESS_KEY_ID": secrets.token_hex(8),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        }
        if self._tls:
            found["SSL_CERT_FILE"] = str(self._certify())
        file.touch(mode=0o600)
        file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in found.items()))

    def _certify(self) -> Path:
        """Make the certificate; the file of who signed it."""
        authority, certs = trustme.CA(), self._directory / "certs"
        issued = authority.issue_cert("127.0.0.1", "localhost")
        (certs / "private.key").touch(mode=0o600)
        issued.private_key_pem.write_to_path(certs / "private.key")
        for pem in issued.cert_chain_pems:
            pem.write_to_path(certs / "public.crt", append=True)
        authority.cert_pem.write_to_path(self._directory / "authority.crt")
        return self._directory / "authority.crt"

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        url = f"{self.environment['AWS_ENDPOINT_URL']}/minio/health/live"
        trust = ssl.create_default_context(cafile=self.environment["SSL_CERT_FILE"]) if self._tls else None
        end = time.monotonic() + PATIENCE
        while server.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(url, context=trust):
                    return
            except OSError:
                time.sleep(0.1)
        self.kill()
        raise StoreError(f"MinIO does not answer at {url}.", remedy=f"{self._directory / 'log'} says why.")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@contextmanager
def running(directory: Path, *, tls: bool = True) -> Iterator[Minio]:
    """A MinIO over `directory`, until the end of the block. Raises as `Minio.start`."""
    minio = Minio(directory, tls=tls)
    try:
        minio.start()
        yield minio
    finally:
        minio.stop()


def main(directory: str, *command: str) -> int:
    """Run it for a command, or until Ctrl-C; the command's exit code."""
    with running(Path(directory)) as minio:
        if command:
            # Ctrl-C is for the command, and the server is there until it has ended.
            signal.signal(signal.SIGINT, lambda *_: None)
            return subprocess.run(command, env={**os.environ, **minio.environment}, check=False).returncode
        say(f"MinIO runs at {minio.environment['AWS_ENDPOINT_URL']}, with the bucket s3://{BUCKET}. In another shell:")
        say(f"  . {shlex.quote(f'{directory}/environment')}")
        say(f"  edgeloop fleet init loop.toml --store s3://{BUCKET} --keys keys --root root.json")
        say("Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            signal.pause()
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main(*sys.argv[1:]))
    except EdgeloopError as error:
        fail(error)
        sys.exit(error.exit_code)
