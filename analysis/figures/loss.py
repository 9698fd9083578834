"""The mean loss along an axis, its measured exponent, and what theories expect."""

from collections.abc import Callable, Mapping

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis, Trace
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, along, measured
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.theories.quanta import expected_exponents
from quanta.analysis.verdict.statistics import Statistics

Array = NDArray[np.float64]

Expected = Mapping[str, Callable[[Array], Array]]
"""What theories expect: by its name, a function from places along the axis to the mean loss in bits."""

_THEORIES = [style.THEORY, *(sns.color_palette("colorblind")[i] for i in (2, 4, 9))]
_INSIDE = 1e-9
"""Places at the ends of a window are in it, whatever the rounding."""


@style.applied()
def plot_loss(
    data: Data,
    ax: Axes | None = None,
    *,
    axis: Axis = axes.N,
    expected: Expected | None = None,
    confidence: float = 0.9,
) -> Axes:
    """Draw the mean loss along an axis, the line of its measured exponent, and what theories expect.

    Along N and D at the end of training, along S at every evaluation of the widest network, where the
    exponent is that between the first and the last learning time. Through the middle of the data goes the
    slope that the hypothesis has for infinitely many subtasks.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default N
        A resource.
    expected : mapping of str to callable, optional
        From the name of a theory a function from places x (n,) to the mean loss in bits (n,).
    confidence : float, default 0.9
        Nominal coverage of the exponent's interval over seeds.
    """
    ax = ax or style.new_axes(height=3.2)
    statistics = measured(data)
    one = along(statistics, axis)
    ax.set(xlabel=axis.label, ylabel="mean loss (bits)")
    if not one.x.size:
        return style.instead(ax, style.no_places(axis))
    loss = one.mean_loss
    ax.set(xscale="log", yscale="log" if (loss > 0).any() else "linear")
    positive = (loss > 0).all(axis=0)  # only these have a logarithm
    mean = np.exp(np.log(np.where(positive, loss, np.nan)).mean(axis=0))
    draw = style.draw_seed_lines if axis == axes.S else style.draw_seeds
    draw(ax, one.x, loss, mean, "geometric mean")
    inside = positive & _window(statistics, axis, one)
    _draw_exponent(ax, statistics, axis, one.x[inside], mean[inside], confidence)
    for (name, function), color in zip((expected or {}).items(), _THEORIES, strict=False):
        x = np.geomspace(one.x.min(), one.x.max(), 400)
        y = np.asarray(function(x), dtype=np.float64)
        ax.plot(x, np.where(y > 0, y, np.nan), color=color, label=name, zorder=1)
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax)
    return ax


def _window(statistics: Statistics, axis: Axis, one: Trace) -> NDArray[np.bool_]:
    """Places (X,) of which the exponent is; along S those in the mean window of the seeds."""
    if axis != axes.S:
        return np.ones(one.x.size, dtype=bool)
    known = [end[np.isfinite(end)] for end in statistics.here.window]
    if not known[0].size:
        return np.zeros(one.x.size, dtype=bool)
    first, last = (style.geometric_mean(end) for end in known)
    return (one.x >= first * (1 - _INSIDE)) & (one.x <= last * (1 + _INSIDE))


def _draw_exponent(
    ax: Axes, statistics: Statistics, axis: Axis, x: Array, mean: Array, confidence: float
) -> None:
    """Draw the measured exponent, and that of infinitely many subtasks, through the middle of points."""
    exponent = mean_over_seeds(statistics.here.loss_exponent(axis), confidence)
    symbol = rf"$\alpha_{{{axis.name}}}$"
    if not np.isfinite(exponent.estimate) or np.unique(x).size < 2:
        style.say_in_legend(ax, f"no exponent {symbol}: too few places with a loss to explain")
        return
    middle, ends = style.geometric_mean(x), np.array([x.min(), x.max()])
    height = style.geometric_mean(mean)
    label = f"{symbol} = {style.interval(exponent)}"
    ax.plot(ends, height * (ends / middle) ** -exponent.estimate, color=style.FITTED, label=label, zorder=3)
    infinite = expected_exponents(statistics.base.alpha)[axis.exponent]
    if infinite is not None:
        label = f"infinite K: {symbol} = {style.number(infinite)}"
        ax.plot(ends, height * (ends / middle) ** -infinite, "--", color=style.GUIDE, label=label, zorder=1)
