"""Line charts as SVG, for HTML pages that load nothing else.

A chart is as wide as the page, and its texts have the same size at every width: curves are drawn in
an inner <svg> that is stretched, ticks and labels around it are not. comparison.css has the
colours, and the room for the labels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

# Pixels of the frame in height. In width it takes what there is: places across it are per cent.
HEIGHT = 204
_PER_CENT = 100.0
# Points at or below this are left out of a logarithmic chart.
_SMALLEST = 1e-300
_MAX_LINES = 2


@dataclass(frozen=True)
class Line:
    """A named curve of points (x, y), from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    logarithmic: bool = False,
    zero_line: bool = False,
) -> str:
    """Draw up to two lines of finite numbers as HTML.

    Args:
        lines: what to draw.
        x_label, y_label: what the axes show.
        logarithmic: draw powers of ten at equal distances; zeros are left out.
        zero_line: have the chart include 0, and draw a line there.
    """
    if logarithmic:
        lines = [Line(line.name, [p for p in line.points if p[1] > _SMALLEST]) for line in lines]
    points = [point for line in lines for point in line.points]
    if not points:
        return "<p>They do not differ anywhere.</p>"
    xs, ys = zip(*points, strict=True)
    least, greatest = (min(0, *ys), max(0, *ys)) if zero_line else (min(ys), max(ys))
    x_ticks = round_ticks(0, max(xs))
    y_ticks = powers_of_ten(least, greatest) if logarithmic else round_ticks(least, greatest)
    across = _scale(x_ticks[0], max(max(xs), x_ticks[0] + 1), 0, _PER_CENT)
    up = _scale(y_ticks[0], y_ticks[-1], HEIGHT, 0, logarithmic)
    zero = _rule(up(0), "zero") if zero_line else ""
    marks = "".join(_mark(line, i, across, up) for i, line in enumerate(lines[:_MAX_LINES]))
    curves = "".join(_curve(line, i, across, up) for i, line in enumerate(lines[:_MAX_LINES]))
    return (
        f'<div class="chart"><svg role="img" aria-label="{escape(y_label)} by {escape(x_label)}">'
        f"{_grid(x_ticks, y_ticks, across, up)}{zero}{_labels(x_label, y_label)}{marks}"
        f'<svg viewBox="0 0 {_PER_CENT:g} {HEIGHT}" preserveAspectRatio="none">{curves}</svg>'
        "</svg></div>"
    )


def legend(lines: Sequence[Line]) -> str:
    """Return HTML with the names of lines beside their colours."""
    return " ".join(
        f'<span class="key line-{index}">{escape(line.name)}</span>'
        for index, line in enumerate(lines[:_MAX_LINES])
    )


def round_ticks(least: float, greatest: float, count: int = 5) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten that enclose both numbers."""
    span = greatest - least
    if span <= 1e-9 * abs(greatest):  # too close for floats to hold ticks between them
        span = abs(greatest) or 1.0
    magnitude = 10 ** math.floor(math.log10(span / count))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude * count >= span * 0.999)
    first, last = math.floor(least / step), math.ceil(greatest / step)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def powers_of_ten(least: float, greatest: float, limit: int = 7) -> list[float]:
    """Return powers of ten that enclose both numbers; every second or third if there are many."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(greatest))
    last = max(last, first + 1)
    step = math.ceil((last - first) / limit)
    return [10.0**exponent for exponent in range(first, last + step, step)]


Scale = Callable[[float], float]


def _scale(
    least: float, greatest: float, start: float, end: float, logarithmic: bool = False
) -> Scale:
    position: Scale = math.log10 if logarithmic else float
    low, high = position(least), position(greatest)
    return lambda value: start + (position(value) - low) / (high - low) * (end - start)


def _rule(y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'


def _grid(x_ticks: Sequence[float], y_ticks: Sequence[float], across: Scale, up: Scale) -> str:
    parts = []
    for tick in y_ticks:
        y = up(tick)
        parts.append(_rule(y, "grid"))
        parts.append(f'<text x="-8" y="{y + 4:.1f}" class="end">{tick:.6g}</text>')
    for tick in x_ticks:
        if across(tick) <= _PER_CENT + 0.1:
            parts.append(
                f'<text x="{across(tick):.2f}%" y="{HEIGHT + 18}" class="middle">{tick:,.6g}</text>'
            )
    return "".join(parts)


def _labels(x_label: str, y_label: str) -> str:
    return (
        f'<text x="50%" y="{HEIGHT + 36}" class="middle">{escape(x_label)}</text>'
        f'<text transform="translate(-54 {HEIGHT / 2:g}) rotate(-90)" class="middle">'
        f"{escape(y_label)}</text>"
    )


def _mark(line: Line, index: int, across: Scale, up: Scale) -> str:
    """Draw the point of a line that has one alone: a path would not be seen."""
    if len(line.points) != 1:
        return ""
    [(x, y)] = line.points
    return (
        f'<circle class="line-{index}" cx="{across(x):.2f}%" cy="{up(y):.1f}" r="3">'
        f"<title>{escape(line.name)}</title></circle>"
    )


def _curve(line: Line, index: int, across: Scale, up: Scale) -> str:
    if len(line.points) < 2:
        return ""
    path = "L".join(f"{across(x):.3f} {up(y):.1f}" for x, y in line.points)
    return f'<path class="line-{index}" d="M{path}"><title>{escape(line.name)}</title></path>'
