"""The mean loss along an axis, its measured exponent, and what theories expect."""

import numpy as np
from matplotlib.axes import Axes

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, along, measured
from quanta.analysis.figures.expected import Expected
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.theories.quanta import expected_exponents
from quanta.analysis.verdict.statistics import Statistics


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
        From the name of a theory a function from places x (n,) to the mean loss in bits (n,), as of
        `quanta.analysis.figures.expected.expect_loss`; four at most.
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
    draw = style.draw_seed_lines if axis.dim == "step" else style.draw_seeds
    draw(ax, one.x, loss, mean, "geometric mean")
    _draw_exponent(ax, statistics, axis, confidence)
    x = np.geomspace(one.x.min(), one.x.max(), 400)
    for (name, function), color in zip((expected or {}).items(), style.THEORIES, strict=False):
        y = function(x)
        if (y > 0).any():
            ax.plot(x, np.where(y > 0, y, np.nan), color=color, label=name, zorder=2)
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax)
    return ax


def _draw_exponent(ax: Axes, statistics: Statistics, axis: Axis, confidence: float) -> None:
    """Draw the measured exponent, and that of infinitely many subtasks, through the middle of points."""
    symbol = rf"$\alpha_{{{axis.name}}}$"
    exponent = mean_over_seeds(statistics.here.loss_exponent(axis), confidence)
    if not np.isfinite(exponent.estimate):
        style.say_in_legend(ax, f"no exponent {symbol}: too few places with a loss to explain")
        return
    x, loss = statistics.here.loss_points(axis)
    middle, height = style.geometric_mean(x), style.geometric_mean(loss)
    ends = np.array([x.min(), x.max()])
    label = f"{symbol} = {style.interval(exponent)}"
    ax.plot(ends, height * (ends / middle) ** -exponent.estimate, color=style.FITTED, label=label, zorder=3)
    infinite = expected_exponents(statistics.base.alpha).get(axis.exponent)
    if infinite is not None:
        label = f"infinite K: {symbol} = {style.number(infinite)}"
        ax.plot(ends, height * (ends / middle) ** -infinite, "--", color=style.GUIDE, label=label, zorder=1)
