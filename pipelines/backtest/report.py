"""The report of a backtest: one HTML page that needs nothing else, and a table for the terminal."""

from __future__ import annotations

import math
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipelines.backtest.plots import Line, area, lines, timeline
from pipelines.backtest.summary import Details, PeriodScores, Scores, Summary

SERIES = (("static", "static"), ("loop", "loop"), ("ceiling", "ceiling"))


def render_report(summary: Summary, details: Details) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["share"] = lambda value: f"{value:.3f}"
    environment.filters["count"] = lambda value: f"{value:,}"
    template = environment.from_string(files("pipelines.backtest").joinpath("report.html.j2").read_text())
    return template.render(
        s=summary,
        d=details,
        accuracy_plot=_plot("Accuracy by period", summary, "accuracy"),
        macro_f1_plot=_plot("Macro-F1 by period", summary, "macro_f1"),
        bytes_plot=area("Bytes moved", details.bytes_over_time) if details.bytes_over_time else "",
        timeline=timeline("Trainings and rollouts", details.start, details.end, details.trainings, summary.rollouts),
        lost=[p for p in summary.by_period if not helped(p)],
        helped=helped,
        verdicts={r.release: r for r in summary.rollouts},
    )


def helped(period: PeriodScores) -> bool:
    """Whether the loop beat the first release kept for ever, in accuracy and in macro-F1."""
    return period.accuracy.loop > period.accuracy.static and period.macro_f1.loop > period.macro_f1.static


def summary_table(summary: Summary) -> Group:
    """The outcome for the terminal."""
    scores = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("", "rows", "static", "loop", "ceiling", "F1: static", "loop", "ceiling", ""):
        scores.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for period in summary.by_period:
        scores.add_row(
            period.period,
            f"{period.rows:,}",
            *_cells(period.accuracy),
            *_cells(period.macro_f1),
            "" if helped(period) else "no gain",
        )
    scores.add_section()
    total = sum(p.rows for p in summary.by_period)
    scores.add_row("all", f"{total:,}", *_cells(summary.accuracy), *_cells(summary.macro_f1), style="bold")
    events = summary.events
    books = f"events: {events.produced:,} produced = {events.ingested:,} ingested + {events.shed:,} shed + {events.missing:,} missing"
    moved = f"bytes: {summary.moved.uploaded:,} up, {summary.moved.downloaded:,} down; {summary.seconds:.0f} s"
    rollouts = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("release", "verdict", "why"):
        rollouts.add_column(column)
    for row in summary.rollouts:
        rollouts.add_row(row.release, row.verdict, Text(row.reason))
    return Group(scores, Text(), rollouts, Text(), Text(books), Text(moved))


def _cells(scores: Scores) -> list[str]:
    return [f"{scores.static:.3f}", f"{scores.loop:.3f}", f"{scores.ceiling:.3f}"]


def _plot(title: str, summary: Summary, metric: str) -> str:
    found: dict[str, list[float]] = {
        name: [getattr(getattr(p, metric), name) for p in summary.by_period] for name, _ in SERIES
    }
    values = [v for series in found.values() for v in series]
    low, high = math.floor(min(values) * 10) / 10, math.ceil(max(values) * 10) / 10
    drawn = [Line(name, style, found[name]) for name, style in SERIES]
    return lines(title, [p.start for p in summary.by_period], drawn, low=low, high=max(high, low + 0.1))
