"""`edgeloop device`: set a device up, run it, look at it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.options import Json, LoopFile, StoreUrl
from edgeloop.cli.output import emit, err, say, table
from edgeloop.config import read_loop
from edgeloop.errors import ConfigError, RefusedError, StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from edge_runtime.device import Device, Prediction
    from edge_runtime.pulse import Pulse
    from edge_runtime.readings import Reading

    Source = tuple[Iterable[Reading], Callable[[Prediction], None]]

app = typer.Typer(
    help="A device: on this machine, in a directory of its own; and who may be one, at the centre.",
    no_args_is_help=True,
)

Home = Annotated[Path, typer.Argument(metavar="HOME", help="The device's directory.")]
MQTT_HELP = "Readings from a broker: mqtt://host:port/topic, or mqtts://… for TLS."
MqttUrl = Annotated[str, typer.Option("--mqtt", metavar="URL", help=MQTT_HELP)]
Answers = Annotated[str, typer.Option(metavar="TOPIC", help="With --mqtt: publish predictions to this topic.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="PORT", help="Answer /metrics and /healthz on this port of 127.0.0.1."),
]


@app.command()
def create(
    home: Home,
    loop: LoopFile,
    store: StoreUrl,
    device: Annotated[str, typer.Option(help="The device's id.")],
    root: Annotated[Path, typer.Option(help="The root that `edgeloop fleet init --root` wrote.")],
    hash_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What the loop's hashed features are hashed with, the same on all its devices."
        ),
    ] = None,
) -> None:
    """Set a device up: its settings, the root it trusts, and the key that it hashes with if there is anything to hash."""
    from edge_runtime.pseudonyms import read_key
    from edge_runtime.settings import create_home, settings_of

    settings = settings_of(read_loop(loop), device, store)
    create_home(home, settings, read_root_file(root), read_key(hash_key) if hash_key else b"")
    err.print(f"{device} is set up in {home}; run it with: edgeloop device run {home}", highlight=False)


@app.command()
def run(
    home: Home,
    replay: Annotated[
        Path | None,
        typer.Option(help="Readings from a Parquet or CSV file (needs edgeloop[replay]); else JSON lines on stdin."),
    ] = None,
    mqtt: Annotated[str | None, typer.Option(metavar="URL", help=MQTT_HELP)] = None,
    answers: Answers = "",
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How often to exchange with the store.")
    ] = 60.0,
    metrics: MetricsPort = None,
    metrics_file: Annotated[
        Path | None, typer.Option(metavar="FILE.prom", help="Write the metrics to this file after each exchange.")
    ] = None,
    json: Json = False,
) -> None:
    """Predict readings as they come; ship, poll and report on the way. Ends with its input, by Ctrl-C or by SIGTERM."""
    from edge_runtime.daemon import serve
    from edge_runtime.device import Device
    from edge_runtime.notify import notifying
    from edge_runtime.pulse import Pulse

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    pulse = Pulse()
    with (
        Device.open(home) as device,
        notifying(pulse, os.environ),
        _measured(device, pulse, metrics, metrics_file) as exchanged,
        _source(device, pulse, replay, mqtt, answers, quiet=json) as (readings, answer),
    ):
        try:
            serve(device, readings, timedelta(seconds=every), answer, pulse=pulse, exchanged=exchanged)
        finally:
            device.flush()
            _show(device, json)


@app.command()
def install(
    home: Home,
    mqtt: MqttUrl,
    answers: Answers = "",
    metrics: MetricsPort = None,
    user: Annotated[str, typer.Option(metavar="NAME", help="Who runs it; the owner of HOME, if not given.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit instead.")] = False,
) -> None:
    """Write a systemd unit that runs the device from boot on, with readings from a broker."""
    from edge_runtime.mqtt import Address
    from edge_runtime.settings import read_settings
    from edge_runtime.unit import UNITS, unit

    settings = read_settings(home)
    # What `run` would refuse is refused here, credentials in a file for all to read above all.
    Address.parse(mqtt, answers)
    options = ["--mqtt", mqtt, *(["--answers", answers] if answers else [])]
    options += [] if metrics is None else ["--metrics", str(metrics)]
    text = unit(home.resolve(), settings, user or home.owner(), _program(), options)
    if dry_run:
        print(text, end="")
        return
    path = UNITS / f"edgeloop-{settings.device}.service"
    path.write_text(text)
    say(f"{path} is written; start it with: systemctl daemon-reload && systemctl enable --now {path.stem}")


@app.command()
def status(home: Home, json: Json = False) -> None:
    """What runs on the device, and its books."""
    from edge_runtime.device import Device

    with Device.inspect(home) as device:
        _show(device, json)


@app.command()
def rollback(
    home: Home,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it goes into the status.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be run.")] = False,
    json: Json = False,
) -> None:
    """Go back to the release before the one that runs, which is then refused for ever. Needs no network; not while the device runs."""
    from edge_runtime.device import Device

    with Device.visit(home) as device:
        left, back = device.status(), device.way_back()
        if not dry_run:
            device.roll_back(reason)
    found = {
        "device": left.device,
        "left": left.release,
        "left_id": left.release_id,
        "release": back.sha256,
        "release_id": back.manifest.id,
    }
    will = "would run" if dry_run else "runs from the next start on"
    human = f"{back.manifest.id} {will} on {left.device}; {left.release_id} {'would be' if dry_run else 'is'} refused there for ever."
    emit(found, as_json=json, human=human)


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory that the stick is mounted at.")]


@app.command("export")
def export_(home: Home, directory: Directory, json: Json = False) -> None:
    """Put what waits in the spool, and the status, onto a stick. Not while the device runs; may be repeated at any time."""
    from edge_runtime.device import Device
    from edgeloop.stick import open_stick

    with open_stick(directory) as stick, Device.visit(home, stick) as device:
        before = device.status()
        device.ship()
        device.report()
        after = device.status()
    found = {
        "device": after.device,
        "events": after.acked - before.acked,
        "bytes": after.uploaded_bytes - before.uploaded_bytes,
        "waiting": after.spooled,
    }
    human = f"{found['events']:,} events of {after.device} are on the stick; take them in with: edgeloop ingest --from"
    emit(found, as_json=json, human=human)


@app.command("import")
def import_(home: Home, directory: Directory, json: Json = False) -> None:
    """Take the release that is for this device from a stick. Exits with 5 if what is on it is refused, with 4 if it cannot be read."""
    from edge_runtime.device import Device
    from edgeloop.stick import open_stick

    with open_stick(directory) as stick, Device.visit(home, stick) as device:
        device.poll()
        _show(device, json)
        state = device.status().update.state
    if state in ("no-store", "no-room"):
        raise typer.Exit(StoreError.exit_code)
    if state.startswith("refused-") or state == "self-test-failed":
        raise typer.Exit(RefusedError.exit_code)


@contextmanager
def _measured(device: Device, pulse: Pulse, port: int | None, file: Path | None) -> Iterator[Callable[[], None]]:
    """Metrics as asked for; what is to be called after each exchange."""
    if port is None and file is None:
        yield lambda: None
        return
    from edge_runtime.metrics import Metrics, listening

    found = Metrics(device, pulse)

    def write() -> None:
        with suppress(OSError):  # its age tells of that
            found.write(file) if file else None

    if file:
        found.write(file)  # a path that cannot be is said at once
    with nullcontext() if port is None else listening(found, port):
        yield write


@contextmanager
def _source(
    device: Device, pulse: Pulse, replay: Path | None, mqtt: str | None, answers: str, *, quiet: bool
) -> Iterator[Source]:
    """Where readings come from, and where their answers go: back to whoever sent them."""
    from edge_runtime.readings import read_file, read_lines

    def bad(text: str) -> None:
        pulse.skip()
        say(text)

    if (replay and mqtt) or (answers and not mqtt):
        raise ConfigError(
            "--replay and --mqtt exclude each other, and --answers needs --mqtt.", remedy="Leave one of them out."
        )
    if replay:
        yield read_file(replay), lambda _: None
    elif mqtt:
        from edge_runtime.mqtt import Address, subscribe

        client_id = f"edgeloop-{device.settings.loop}-{device.settings.device}"
        with subscribe(Address.parse(mqtt, answers), client_id, os.environ, say=say, bad=bad) as subscription:
            yield subscription, subscription.answer
    else:
        yield read_lines(sys.stdin, bad), (lambda _: None) if quiet else _print_or_end


def _program() -> str:
    beside = shutil.which("edgeloop", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("edgeloop")
    if found is None:
        raise ConfigError("there is no program edgeloop on this machine.", remedy="Install it with pip.")
    return found


def read_root_file(path: Path) -> bytes:
    """The root that devices are born with. Raises `ConfigError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the root {path} cannot be read: {error.strerror}.",
            remedy="Bring the file that `edgeloop fleet init --root` wrote.",
        ) from error


def _print_or_end(prediction: Prediction) -> None:
    try:
        words = (prediction.seq, prediction.label, prediction.confidence, *filter(None, (prediction.reason,)))
        print(*words, sep="\t", flush=True)
    except BrokenPipeError:  # whoever read the answers has gone, which is no crash of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _show(device: Device, json: bool) -> None:
    found = device.status()
    rows = [
        ("release", found.release_id or "none"),
        ("update", f"{found.update.state}: {found.update.reason}"),
        ("verified", _moment(found.verified_at) + (", stale" if found.stale else "")),
        ("epoch", found.epoch),
        ("produced", found.produced),
        ("in the store", found.acked),
        ("waiting", found.spooled),
        *([("shipping", found.shipping)] if found.shipping else []),
        ("shed", found.shed),
        ("last event", _moment(found.last_event)),
    ]
    emit(found, as_json=json, human=table(found.device, ("", ""), rows))


def _moment(at: datetime | None) -> str:
    return at.isoformat() if at else "none"
