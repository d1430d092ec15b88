"""`edgeloop init`, `edgeloop backtest` and `edgeloop ui`: the way in for a new user."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.options import Json, LoopFile
from edgeloop.cli.output import err, note, out, say
from edgeloop.config import read_loop
from edgeloop.errors import ConfigError
from edgeloop.store import open_store

if TYPE_CHECKING:
    from rich.progress import TaskID

MARKER = ".edgeloop-backtest"
"""In every work directory that a backtest has made: only those are ever replaced."""

Data = Annotated[
    list[str],
    typer.Argument(metavar="DATA...", help="A Parquet file, a CSV, or a glob in quotes; several are read as one."),
]


def init(
    data: Data,
    label: Annotated[str, typer.Option(help="The column to predict: integers or strings, two classes or many.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the configuration.")] = Path(
        "loop.toml"
    ),
    device: Annotated[str | None, typer.Option(help="The column that says which device a row is from.")] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Without such a column: cut the rows into N blocks, each a device.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="The column of the time; without one, row order is time.")] = None,
    name: Annotated[str | None, typer.Option(help="The loop's name; by default from the file's name.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write a commented loop.toml from a data file."""
    from pipelines.backtest.starter import starter_loop

    if output.exists() and not force:
        raise ConfigError(f"{output} exists already.", remedy="Name another with --output, or add --force.")
    content, notes = starter_loop(data, label=label, device=device, devices=devices, time=time, name=name)
    output.write_text(content)
    for text in notes:
        note(text)
    say(f"wrote {output}; look it through, then: edgeloop backtest {output} {' '.join(data)}")


def backtest(
    loop: LoopFile,
    data: Data,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="An empty store; by default a directory in the work directory.")
    ] = None,
    workdir: Annotated[
        Path | None,
        typer.Option(help="Keys, devices, Dagster's runs and the report; by default a new one under .edgeloop/."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the beginning of the history: backtest.quick.")] = False,
    json: Json = False,
) -> None:
    """Play your own history through the real loop: what would retraining have won?

    Real devices, spool, batches, store, ingest, training, signed releases and rollouts, on a simulated clock. Ends with a
    summary, an HTML report and everything left behind to look at (`edgeloop ui WORKDIR`).
    """
    from pipelines.backtest.history import read_history

    config = read_loop(loop)
    history = read_history(data, config)
    # After the mistakes that people make: Dagster and LightGBM take seconds to import.
    from pipelines.backtest.report import render_report, summary_table
    from pipelines.backtest.run import check_backtest, run_backtest

    for text in history.notes:
        note(text)
    scenario = check_backtest(config, history, open_store(store) if store else None, quick=quick)
    work = _fresh(workdir or Path(".edgeloop") / f"{config.name}-{datetime.now():%Y%m%d-%H%M%S-%f}")
    shutil.copyfile(loop, work / "loop.toml")
    opened = open_store(store or work / "store", waits=True)
    (work / "store.url").write_text(opened.url)
    with _Bar() as bar:
        outcome = run_backtest(config, history, scenario, work, opened, bar)
    report = work / "report"
    report.mkdir()
    (report / "summary.json").write_bytes(outcome.summary.encode())
    (report / "index.html").write_text(render_report(outcome.summary, outcome.details))
    for text in outcome.details.notes[len(history.notes) :]:
        note(text)
    if json:
        sys.stdout.write(outcome.summary.encode().decode() + "\n")
    else:
        out.print(summary_table(outcome.summary))
    say(f"report: {report / 'index.html'}   runs: edgeloop ui {work}")


def ui(
    workdir: Annotated[Path, typer.Argument(help="The work directory of a backtest.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open Dagster's UI on what a backtest left behind. Ctrl-C ends it."""
    if not (workdir / "dagster").is_dir():
        raise ConfigError(
            f"{workdir} is no work directory of a backtest.", remedy="Run `make demo` or `edgeloop backtest` first."
        )
    work = workdir.resolve()
    os.environ |= {
        "DAGSTER_HOME": str(work / "dagster"),
        "EDGELOOP_LOOPS": str(work / "loop.toml"),
        "EDGELOOP_STORE": (work / "store.url").read_text(),
        "EDGELOOP_KEYS": str(work / "keys"),
    }
    command = [
        sys.executable,
        "-W",
        "ignore::FutureWarning",  # that `dg dev` supersedes `dagster dev`; it wants a project of its own form
        "-m",
        "dagster",
        "dev",
        "-m",
        "pipelines.definitions",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    say(f"http://127.0.0.1:{port} in a few seconds")
    os.execv(sys.executable, command)


def _fresh(work: Path) -> Path:
    """Make the work directory; what an earlier backtest left in one of ours is replaced."""
    if (work / MARKER).exists():
        doomed = Path(tempfile.mkdtemp(dir=work.parent, prefix=".replaced-"))
        work.rename(doomed / work.name)
        shutil.rmtree(doomed)
    elif work.exists() and (not work.is_dir() or any(work.iterdir())):
        raise ConfigError(
            f"{work} is not empty, and was not made by a backtest.", remedy="Name another with --workdir, or empty it."
        )
    work.mkdir(parents=True, exist_ok=True)
    (work / MARKER).write_text("Made by `edgeloop backtest`, which may replace this whole directory.\n")
    return work


class _Bar:
    """A progress bar on stderr for each stage."""

    def __init__(self) -> None:
        # Only here: every other command, a device's too, would wait for the import.
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:>10}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        self._progress = Progress(*columns, console=err)
        self._task: TaskID | None = None

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, name: str, steps: int) -> None:
        self._task = self._progress.add_task(name, total=steps, note="")

    def step(self, note: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=1, note=note)
