"""The command line.

    0  done                      3  bad data: a table, a batch, a document      130  interrupted
    1  failed unexpectedly       4  the store failed or cannot be reached
    2  wrong command or settings 5  refused: a signature, a gate, a policy

What a command finds goes to stdout, what it says on the way to stderr; with `--json` stdout is one JSON object. Packages of
the centre and of the device are imported inside the commands, so that each starts with what its side has installed.
"""

from __future__ import annotations

import sys

import typer

from edgeloop import __version__
from edgeloop.cli import backtest, centre, device, enrolment, fleet, forget, quarantine, release, rollout, sql, upkeep
from edgeloop.cli.output import fail
from edgeloop.errors import ConfigError, EdgeloopError

app = typer.Typer(
    name="edgeloop",
    help="Edge-first telemetry aggregation and retraining loop.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong command or settings, 3 bad data, 4 store, 5 refused, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("init")(backtest.init)
app.command("backtest")(backtest.backtest)
app.command("ui")(backtest.ui)
app.command("ingest")(centre.ingest)
app.command("train")(centre.train)
app.command("sql")(sql.sql)
app.command("upkeep")(upkeep.upkeep)
app.command("forget")(forget.forget)
for command in (enrolment.enroll, enrolment.join, enrolment.rotate, enrolment.revoke, enrolment.policy):
    device.app.command()(command)
app.add_typer(device.app, name="device")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(release.app, name="release")
app.add_typer(rollout.app, name="rollout")
app.add_typer(fleet.app, name="fleet")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line; every error of ours becomes a message and its exit code."""
    try:
        app()
    except EdgeloopError as error:
        fail(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.strerror is None:
            raise
        about = f"{error.filename}: " if error.filename else ""
        fail(ConfigError(f"{about}{error.strerror}.", remedy="Check the path, its permissions and the disk."))
        sys.exit(ConfigError.exit_code)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in {
            "edge_runtime",
            "ingest",
            "training",
            "assets",
            "pipelines",
            "fleet",
        }:
            raise
        remedy = "Install what it belongs to: pip install 'edgeloop[edge]', 'edgeloop[edge,mqtt,metrics,sketches]' or 'edgeloop[centre]'."
        fail(ConfigError(f"this needs {error.name}, which is not installed.", remedy=remedy))
        sys.exit(2)
