import numpy as np
import pytest
from drawn import texts, ticks

from quanta.analysis.figures import style
from quanta.analysis.fits.intervals import Interval, mean_over_seeds


def test_ticks_125():
    assert style.ticks_125(1, 64) == [1, 2, 5, 10, 20, 50]
    assert style.ticks_125(0.02, 0.5) == [0.02, 0.05, 0.1, 0.2, 0.5]
    assert style.ticks_125(1, 1) == [1]


def test_thin_keeps_the_last():
    assert style.thin([1, 2, 3, 4, 5], 5) == [1, 2, 3, 4, 5]
    assert style.thin([1, 2, 3, 4, 5], 4) == [1, 3, 5]
    assert style.thin([1, 2, 3, 4, 5, 6], 3) == [2, 4, 6]
    assert style.thin([1], 12) == [1]


def test_number_has_a_true_minus_and_no_minus_zero():
    assert [style.number(x) for x in (-0.456, -0.001, 0.0, 2)] == ["−0.46", "0.00", "0.00", "2.00"]


def test_interval():
    assert style.interval(Interval(0.5, -0.25, 1.25, "", 3, 0.9)) == "0.50 [−0.25, 1.25]"
    assert style.interval(mean_over_seeds([0.5])) == "0.50"
    assert style.interval(mean_over_seeds([np.nan])) == "not known"


def test_span():
    assert style.span(np.array([3, 5, 4])) == "3 to 5"
    assert style.span(np.array([0.9991, 0.9994]), 3) == "0.999"


@pytest.mark.parametrize("direction", ["x", "y"])
@pytest.mark.parametrize(
    ("low", "high", "of_y", "of_x"),
    [
        (0.07, 0.9, ["0.1", "0.2", "0.5"], None),
        (0.16, 0.9, ["0.2", "0.3", "0.5"], None),
        (300, 15000, ["500", "1000", "2000", "5000", "10000"], None),
        (3e3, 3e5, [r"$5{\times}10^{3}$", r"$10^{4}$", r"$2{\times}10^{4}$", r"$5{\times}10^{4}$"], None),
        (
            1,
            1e6,
            [rf"$\mathdefault{{10^{{{n}}}}}$" for n in (0, 1, 2)],
            [rf"$\mathdefault{{10^{{{n}}}}}$" for n in (0, 2, 4)],
        ),
        (0.98, 1.02, ["0.7", "0.8", "0.9", "1"], ["0.8", "1"]),
        (4300, 13000, ["5000", "6000", "7000", "8000", "9000", "10000"], ["5000", "6000", "8000", "10000"]),
    ],
)
def test_log_ticks_are_readable_whatever_the_range(direction, low, high, of_y, of_x):
    ax = style.new_axes()
    ax.set(**{f"{direction}scale": "log", f"{direction}lim": (low, high)})
    axis = {"x": ax.xaxis, "y": ax.yaxis}[direction]
    style.readable_log_ticks(axis)
    bottom, top = axis.get_view_interval()
    places = zip(ticks(axis), axis.get_ticklocs(), strict=True)
    shown = [label for label, value in places if bottom <= value <= top]
    expected = of_x if direction == "x" and of_x else of_y
    assert shown[: len(expected)] == expected
    assert 2 <= len(shown) <= 9


def test_seed_colors_are_distinct_and_the_last_is_the_darkest():
    for n_seeds in (1, 2, 12):
        colors = style.seed_colors(n_seeds)
        assert len(set(colors)) == n_seeds
        assert min(colors, key=sum) == colors[-1] == style.seed_colors(1)[0]


def test_instead_leaves_the_text_alone():
    ax = style.new_axes()
    ax.set(xscale="log", yscale="log")
    assert style.instead(ax, "nothing") is ax
    ax.figure.draw_without_rendering()
    assert texts(ax) == ["nothing"]
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == []
