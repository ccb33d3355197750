"""Line charts as SVG, for HTML pages that load nothing else."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 14, 42
# Points at or below this are left out of a logarithmic chart.
_SMALLEST = 1e-300
COLORS = ("#2563eb", "#d97706")


@dataclass(frozen=True)
class Line:
    """A named curve of points (x, y), from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(lines: Sequence[Line], x_label: str, y_label: str, logarithmic: bool = False) -> str:
    """Draw up to two lines of finite numbers as an <svg>; a logarithmic one leaves out zeros."""
    if logarithmic:
        lines = [Line(line.name, [p for p in line.points if p[1] > _SMALLEST]) for line in lines]
    points = [point for line in lines for point in line.points]
    if not points:
        return "<p>They do not differ anywhere.</p>"
    xs, ys = zip(*points, strict=True)
    x_ticks = round_ticks(0, max(xs))
    y_ticks = powers_of_ten(min(ys), max(ys)) if logarithmic else round_ticks(min(ys), max(ys))
    across = _scale(x_ticks[0], max(max(xs), x_ticks[0] + 1), _LEFT, WIDTH - _RIGHT)
    up = _scale(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP, logarithmic)
    parts = [_grid(x_ticks, y_ticks, across, up), _labels(x_label, y_label)]
    for color, line in zip(COLORS, lines, strict=False):
        parts.append(_curve(line, color, across, up))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_label)} by '
        f'{escape(x_label)}">{"".join(parts)}</svg>'
    )


def legend(lines: Sequence[Line]) -> str:
    """Return HTML with the names of lines beside their colours."""
    return " ".join(
        f'<span class="key" style="--color:{color}">{escape(line.name)}</span>'
        for color, line in zip(COLORS, lines, strict=False)
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


def _grid(x_ticks: Sequence[float], y_ticks: Sequence[float], across: Scale, up: Scale) -> str:
    parts = []
    for tick in y_ticks:
        y = up(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="end">{tick:.6g}</text>')
    for tick in x_ticks:
        if across(tick) <= WIDTH - _RIGHT + 1:
            parts.append(
                f'<text x="{across(tick):.1f}" y="{HEIGHT - _BOTTOM + 18}" class="middle">'
                f"{tick:,.6g}</text>"
            )
    return "".join(parts)


def _labels(x_label: str, y_label: str) -> str:
    middle = (HEIGHT - _BOTTOM + _TOP) / 2
    return (
        f'<text x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 6}" class="middle label">'
        f"{escape(x_label)}</text>"
        f'<text transform="translate(12 {middle}) rotate(-90)" class="middle label">'
        f"{escape(y_label)}</text>"
    )


def _curve(line: Line, color: str, across: Scale, up: Scale) -> str:
    places = [(across(x), up(y)) for x, y in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    marks = ""
    if len(places) <= 1:
        marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
    title = f"<title>{escape(line.name)}</title>"
    curve = f'<path d="M{path}" fill="none" stroke-width="1.8" stroke="{color}"/>' if places else ""
    return f'<g fill="{color}">{title}{curve}{marks}</g>'
