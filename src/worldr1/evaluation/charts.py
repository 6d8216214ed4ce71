"""Charts as inline SVG, drawn by hand so that the report needs no library and no network.

Colours come from CSS classes of the page (`base`, `trained`, `truth`, ...), so the charts follow light and dark mode.
Every function returns one `<svg>` element; all numbers are in the units that the caller's labels name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch

from worldr1.camera.above import CENTRE, Picture, on_the_ground

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 34


@dataclass(frozen=True)
class Frame:
    """The plotting area: data ranges mapped onto the inside of the margins."""

    x0: float
    x1: float
    y0: float
    y1: float
    height: int = HEIGHT

    def x(self, value: float) -> float:
        """Data to horizontal SVG units."""
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Data to vertical SVG units."""
        return self.height - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (self.height - TOP - BOTTOM)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round tick values (1, 2 or 5 times a power of ten apart) inside [low, high], about `count` of them."""
    raw = (high - low) / max(count, 1)
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _span(values: Sequence[float], pad: float = 0.06) -> tuple[float, float]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    margin = (high - low) * pad or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _axes(frame: Frame, x_label: str, y_label: str = "") -> str:
    parts = []
    bottom = frame.height - BOTTOM
    for value in ticks(frame.y0, frame.y1, 4):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for value in ticks(frame.x0, frame.x1, 5):
        x = frame.x(value)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{_number(value)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    label_x = (LEFT + WIDTH - RIGHT) / 2
    label = (
        f'<text class="label" x="{label_x:.0f}" y="{frame.height - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(label)
    if y_label:
        parts.append(f'<text class="label" x="{LEFT}" y="{TOP - 2}">{escape(y_label)}</text>')
    return "".join(parts)


def _svg(body: str, description: str, height: int = HEIGHT, width: int = WIDTH) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(description)}">{body}</svg>'
    )


def line_chart(
    steps: Sequence[float],
    values: Sequence[float],
    *,
    description: str,
    phases: Sequence[tuple[float, float]] = (),
    marks: Sequence[tuple[float, float]] = (),
    smooth: float = 0.8,
) -> str:
    """One quantity over training steps: raw values faint, their exponential average strong, phases as bands.

    Args:
        steps, values: equally long; nan breaks the line.
        description: for readers who cannot see the chart.
        phases: (first, last) step of each band.
        marks: (step, value) of further points, drawn as dots (evaluations).
        smooth: decay of the average.
    """
    every_x = [*steps, *(m[0] for m in marks)] or [0.0, 1.0]
    x0, x1 = min(every_x), max(every_x)
    frame = Frame(x0, x1 if x1 > x0 else x0 + 1, *_span([*values, *(m[1] for m in marks)]))
    spans = [(frame.x(max(a, frame.x0)), frame.x(min(b, frame.x1))) for a, b in phases]
    bands = "".join(
        f'<rect class="phase" x="{a:.1f}" y="{TOP}" width="{max(b - a, 1):.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
        for a, b in spans
    )
    average: list[float] = []
    running = float("nan")
    for value in values:
        if math.isfinite(value):
            running = value if math.isnan(running) else smooth * running + (1 - smooth) * value
        average.append(running if math.isfinite(value) else float("nan"))
    dots = "".join(f'<circle class="mark" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="3.2"/>' for a, b in marks)
    lines = (
        f'<path class="raw" d="{_path(frame, steps, values)}"/><path class="mean" d="{_path(frame, steps, average)}"/>'
    )
    return _svg(bands + _axes(frame, "training step") + lines + dots, description)


def _path(frame: Frame, xs: Sequence[float], ys: Sequence[float]) -> str:
    parts, pen_down = [], False
    for x, y in zip(xs, ys, strict=True):
        if not math.isfinite(y):
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{frame.x(x):.1f} {frame.y(y):.1f}")
        pen_down = True
    return "".join(parts)


def histogram(groups: Mapping[str, Sequence[float]], *, x_label: str, description: str, bins: int = 24) -> str:
    """Overlaid histograms; a group's name is the CSS class of its bars. Shares of each group, nan left out."""
    clean = {name: np.array([v for v in values if math.isfinite(v)]) for name, values in groups.items()}
    everything = np.concatenate([*clean.values(), np.zeros(0)])
    low, high = _span(everything.tolist(), 0.02)
    edges = np.linspace(low, high, bins + 1)
    shares = {name: np.histogram(v, edges)[0] / max(len(v), 1) for name, v in clean.items()}
    top = max([float(s.max()) for s in shares.values()] or [0.0]) or 1.0
    frame = Frame(low, high, 0.0, top * 1.08)
    bars = []
    for name, share in shares.items():
        for left, right, value in zip(edges[:-1], edges[1:], share, strict=True):
            if value > 0:
                x, y = frame.x(left) + 0.5, frame.y(value)
                width = max(frame.x(right) - frame.x(left) - 1, 1)
                bars.append(
                    f'<rect class="bar {name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                    f'height="{HEIGHT - BOTTOM - y:.1f}"/>'
                )
        if len(clean[name]):
            x = frame.x(float(clean[name].mean()))
            bars.append(f'<line class="meanline {name}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    return _svg(_axes(frame, x_label) + "".join(bars), description)


def scatter(
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, x_label: str, y_label: str, description: str
) -> str:
    """Points of two quantities; a group's name is the CSS class of its points."""
    frame = Frame(
        *_span([v for xs, _ in groups.values() for v in xs]), *_span([v for _, ys in groups.values() for v in ys], 0.1)
    )
    points = "".join(
        f'<circle class="dot {name}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>'
        for name, (xs, ys) in groups.items()
        for x, y in zip(xs, ys, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    )
    return _svg(_axes(frame, x_label, y_label) + points, description)


def top_view(paths: Mapping[str, Sequence[Sequence[float]]], *, description: str) -> str:
    """Camera paths from above (x to the right, z upwards), each a list of c2w rows (12 numbers, 3x4 row-major).

    A path's name is its CSS class. The first and last camera show what they see; a cross marks the scene's centre
    (0, 0, 1) where it lies inside.
    """
    width, height, margin = 400, 170, 22
    poses = {name: torch.tensor(rows, dtype=torch.float64).reshape(-1, 3, 4) for name, rows in paths.items()}
    places = {name: on_the_ground(path[:, :, 3]) for name, path in poses.items()}
    shown = torch.cat([torch.zeros(1, 2, dtype=torch.float64), *places.values()])
    place = Picture(shown, (width, height), margin, least=(0.5, 0.3))
    ((cx, cy),) = place(shown.new_tensor([CENTRE]))
    cross = f'<path class="centre" d="M{cx - 5:.1f} {cy:.1f}h10M{cx:.1f} {cy - 5:.1f}v10"/>'
    parts = [cross] if margin < cy < height - margin and margin < cx < width - margin else []
    for name, path in places.items():
        corners = place(path)
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
        parts.append(f'<path class="path {name}" d="M{line}"/>')
        for k in (0, len(corners) - 1):
            right, forward = on_the_ground(poses[name][k, :, 2]).tolist()
            turn = math.atan2(-forward, right)
            x, y = corners[k]
            rays = "".join(
                f"M{x:.1f} {y:.1f}l{14 * math.cos(turn + side):.1f} {14 * math.sin(turn + side):.1f}"
                for side in (-0.55, 0.55)
            )
            parts.append(f'<path class="view {name}" d="{rays}"/>')
    return _svg("".join(parts), description, height, width)
