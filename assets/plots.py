"""Small plots for the pages of assets, as Markdown images that need no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import dagster as dg
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ACCENT, QUIET = "#334155", "#0f766e", "#cbd5e1"

STYLES = ("o-", "s--", "^:", "d-.")
"""Of the lines in one plot, which need no colour to be told apart."""


def bars(
    title: str, names: Sequence[str], values: Sequence[float], line: float | None = None
) -> dg.MarkdownMetadataValue:
    """A horizontal bar for each of `names`, the largest on top, with a dashed line at `line`."""
    order = sorted(range(len(values)), key=lambda i: values[i])[-25:]
    figure, axes = _figure(title, height=1.0 + 0.26 * max(len(order), 2))
    axes.barh([names[i] for i in order], [values[i] for i in order], color=ACCENT, height=0.6)
    if line is not None:
        axes.axvline(line, color="#b45309", linestyle="--", linewidth=1)
    return _image(figure, title)


def paired_bars(
    title: str, names: Sequence[str], first: Sequence[float], second: Sequence[float], labels: tuple[str, str]
) -> dg.MarkdownMetadataValue:
    """Two bars for each of `names`: `first` in grey, `second` in colour."""
    figure, axes = _figure(title, height=1.2 + 0.34 * max(len(names), 2))
    rows = range(len(names))
    axes.barh([r + 0.2 for r in rows], list(first), height=0.36, color=QUIET, label=labels[0])
    axes.barh([r - 0.2 for r in rows], list(second), height=0.36, color=ACCENT, label=labels[1])
    axes.set_yticks(list(rows), list(names))
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return _image(figure, title)


def lines(title: str, series: Mapping[str, tuple[Sequence[Any], Sequence[float]]]) -> dg.MarkdownMetadataValue:
    """A line with its points for each of `series`: times and values, with zero in sight."""
    figure, axes = _figure(title, height=2.6)
    for (name, (times, values)), style in zip(series.items(), cycle(STYLES), strict=False):
        axes.plot(times, values, style, color=ACCENT, label=name, linewidth=1.4, markersize=4)
    axes.axhline(0, color=QUIET, linewidth=1)
    axes.legend(frameon=False, fontsize=8)
    figure.autofmt_xdate()
    return _image(figure, title)


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _image(figure: Figure, title: str) -> dg.MarkdownMetadataValue:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(content.getvalue()).decode()})")
