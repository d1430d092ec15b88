"""The report's plots, drawn as SVG text: small, sharp, and in the page's own colours by day and by night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import pairwise

from pipelines.backtest.summary import BytesAt, RolloutRow, TrainingRow

WIDTH, HEIGHT = 720.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 104.0, 14.0, 26.0


@dataclass(frozen=True)
class Line:
    """A line of a plot; `style` is a class of the page's style sheet."""

    name: str
    style: str
    values: Sequence[float]


def lines(title: str, times: Sequence[datetime], drawn: Sequence[Line], *, low: float, high: float) -> str:
    """Lines over time, each named at its end; values between `low` and `high`."""
    xs = [_x(i, len(times)) for i in range(len(times))]
    parts = [_grid(low, high, "{:.2f}"), *_dates(times, xs)]
    for line in drawn:
        points = " ".join(f"{x:.1f},{_y(v, low, high):.1f}" for x, v in zip(xs, line.values, strict=True))
        parts.append(f'<polyline class="line {line.style}" points="{points}"/>')
        mark = escape(line.name)
        parts += [
            f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{_y(v, low, high):.1f}" r="2.6">'
            f"<title>{mark} {t:%Y-%m-%d}: {v:.3f}</title></circle>"
            for x, v, t in zip(xs, line.values, times, strict=True)
        ]
    for line, y in zip(drawn, _spread([_y(line.values[-1], low, high) for line in drawn]), strict=True):
        parts.append(
            f'<text class="name {line.style}" x="{WIDTH - RIGHT + 10}" y="{y + 4:.1f}">{escape(line.name)}</text>'
        )
    return _svg(title, parts)


def area(title: str, moved: Sequence[BytesAt]) -> str:
    """Bytes up and down, summed over the fleet, over time."""
    high = max(1.0, *(max(m.uploaded, m.downloaded) / 1e6 for m in moved))
    times = [m.at for m in moved]
    drawn = [
        Line("up", "loop", [m.uploaded / 1e6 for m in moved]),
        Line("down", "ceiling", [m.downloaded / 1e6 for m in moved]),
    ]
    xs = [_x(i, len(times)) for i in range(len(times))]
    parts = [_grid(0.0, high, "{:.0f} MB"), *_dates(times, xs)]
    for line in drawn:
        points = " ".join(f"{x:.1f},{_y(v, 0.0, high):.1f}" for x, v in zip(xs, line.values, strict=True))
        parts.append(f'<polyline class="line {line.style}" points="{points}"/>')
    for line, y in zip(drawn, _spread([_y(line.values[-1], 0.0, high) for line in drawn]), strict=True):
        parts.append(
            f'<text class="name {line.style}" x="{WIDTH - RIGHT + 10}" y="{y + 4:.1f}">{line.name} {line.values[-1]:.0f} MB</text>'
        )
    return _svg(title, parts)


def timeline(
    title: str, start: datetime, end: datetime, trainings: Sequence[TrainingRow], rollouts: Sequence[RolloutRow]
) -> str:
    """Every training at its time: released and promoted, released and not, or stopped by its gates."""
    verdicts = {r.release: r.verdict for r in rollouts}
    span = (end - start).total_seconds() or 1.0
    y = 46.0
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 20}" y1="{y}" y2="{y}"/>']
    for row in trainings:
        x = LEFT + (WIDTH - 20 - LEFT) * min(1.0, (row.at - start).total_seconds() / span)
        verdict = verdicts.get(row.id, "not released")
        parts.append(
            f'<circle class="event {_style(verdict)}" cx="{x:.1f}" cy="{y}" r="6">'
            f"<title>{escape(row.id)} {row.at:%Y-%m-%d}: {escape(verdict)}</title></circle>"
            f'<text class="tick" x="{x:.1f}" y="{y - 14}" text-anchor="middle">{escape(row.id)}</text>'
        )
    for i, moment in enumerate((start, start + (end - start) / 2, end)):
        anchor = ("start", "middle", "end")[i]
        x = LEFT + (WIDTH - 20 - LEFT) * i / 2
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 26}" text-anchor="{anchor}">{moment:%b %Y}</text>')
    return _svg(title, parts, 84.0)


def _style(verdict: str) -> str:
    return {"promote": "good", "reject": "bad", "not released": "bad", "aborted": "bad"}.get(verdict, "open")


def _svg(title: str, parts: Sequence[str], height: float = HEIGHT) -> str:
    return f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {WIDTH:.0f} {height:.0f}">{"".join(parts)}</svg>'


def _grid(low: float, high: float, form: str) -> str:
    parts = []
    for i in range(5):
        value = low + (high - low) * i / 4
        y = _y(value, low, high)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{form.format(value)}</text>')
    return "".join(parts)


def _dates(times: Sequence[datetime], xs: Sequence[float]) -> list[str]:
    every = max(1, len(times) // 6)
    return [
        f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{t:%b %Y}</text>'
        for i, (t, x) in enumerate(zip(times, xs, strict=True))
        if i % every == 0
    ]


def _spread(heights: list[float]) -> list[float]:
    """Move labels apart so that none covers another."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    moved = list(heights)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + 15)
    return moved


def _x(i: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (i / (count - 1) if count > 1 else 0.5)


def _y(value: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / ((high - low) or 1.0))
