"""Line charts: their ticks, and curves that stay within the frame whatever the numbers are."""

import math
import re
from xml.etree import ElementTree

import pytest

from gptneo_onnx.runtime.evaluation.line_chart import (
    HEIGHT,
    Line,
    legend,
    line_chart,
    powers_of_ten,
    round_ticks,
)


@pytest.mark.parametrize(
    ("least", "greatest", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (3.87, 4.58, [3.8, 4.0, 4.2, 4.4, 4.6]),
        (0, 512, [0, 200, 400, 600]),
        (0, 0, [0, 0.2]),
        (7, 7, [6, 8]),
        (10.0, math.nextafter(10.0, 11), [10, 12]),
    ],
)
def test_ticks_are_round_and_around_the_numbers(least, greatest, ticks):
    assert round_ticks(least, greatest) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("least", "greatest", "ticks"),
    [
        (0.02, 0.8, [0.01, 0.1, 1]),
        (1, 1, [1, 10]),
        (3e-13, 2e-2, [1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3, 1e-1]),
    ],
)
def test_powers_of_ten_are_around_the_numbers(least, greatest, ticks):
    assert powers_of_ten(least, greatest) == pytest.approx(ticks)


NUMBERS = [
    [],
    [(0, 1.0)],
    [(0, 0.0), (5, 0.0)],
    [(0, 10.0), (5, math.nextafter(10.0, 11))],
    [(0, -3.0), (1e6, 4.0), (2e6, 5e-324)],
    [(0, 1e-299), (1, 1e300)],
    [(i, i**2) for i in range(100)],
]


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("points", NUMBERS)
def test_any_numbers_are_drawn_within_the_frame(points, logarithmic):
    chart = line_chart([Line("a <b>", points)], "x & y", "<nats>", logarithmic)
    ElementTree.fromstring(chart)
    for x, y in places(chart):
        assert 0 <= x <= 100
        assert 0 <= y <= HEIGHT


def places(chart):
    """Every (per cent of the width, pixels from the top) of a chart's curves and marks."""
    paths = re.findall(r' d="M([^"]*)"', chart)
    marks = re.findall(r'<circle[^>]* cx="([^"]*)%" cy="([^"]*)"', chart)
    points = [place.split() for path in paths for place in path.split("L")] + marks
    return [(float(x), float(y)) for x, y in points]


def test_a_single_point_is_a_mark_and_more_are_a_curve():
    mark = line_chart([Line("a", [(2, 1.0)])], "x", "y", zero_line=True)
    assert places(mark) == [(100, 0)]
    curve = line_chart([Line("a", [(0, 0.0), (1, 1.0)])], "x", "y")
    assert places(curve) == [(0, HEIGHT), (100, 0)]


@pytest.mark.parametrize(
    ("values", "from_the_top"),
    [((2.0, 4.0), 1), ((-4.0, -2.0), 0), ((-2.0, 2.0), 0.5), ((0, 0), 1)],
)
def test_the_line_at_zero_is_within_the_frame(values, from_the_top):
    lines = [Line("a", list(enumerate(values)))]
    chart = line_chart(lines, "x", "y", zero_line=True)
    [height] = re.findall(r'<line class="zero"[^>]* y1="([^"]*)"', chart)
    assert float(height) == pytest.approx(from_the_top * HEIGHT)
    assert ">0</text>" in chart
    assert 'class="zero"' not in line_chart(lines, "x", "y")


def test_two_lines_have_their_names_and_colours():
    lines = [Line("mean", [(0, 1.0), (1, 2.0)]), Line("most", [(0, 3.0), (1, 4.0)])]
    chart, key = line_chart(lines, "x", "y"), legend(lines)
    for line in lines:
        assert f"<title>{line.name}</title>" in chart
        assert f">{line.name}</span>" in key
    for found in (chart, key):
        assert re.findall(r'class="(?:key )?(line-\d)"', found) == ["line-0", "line-1"]


def test_what_is_zero_everywhere_has_no_logarithm():
    assert "do not differ anywhere" in line_chart([Line("a", [(0, 0.0)])], "x", "y", True)
