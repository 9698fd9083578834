"""How the mean loss scales: laws fitted to it and what they forecast, and its exponent window by window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import stats

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, measured
from quanta.analysis.figures.expected import Expected
from quanta.analysis.fits.comparison import Rival
from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.forecasts import forecast, hold_out_largest
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.fits.windows import MIN_FACTOR, audit_windows
from quanta.analysis.theories.quanta import expected_exponents
from quanta.analysis.verdict.tables import compare_along

Array = NDArray[np.float64]

_PALETTE = sns.color_palette("colorblind")
_LINES: dict[str, tuple[Any, Any]] = {
    "power": (style.FITTED, "-"),
    "power + floor": (_PALETTE[2], (0, (5, 1.5))),
    "finite K": (style.THEORY, "-"),
    "exponential": (_PALETTE[4], (0, (1, 1))),
    "broken power": (_PALETTE[9], (0, (5, 1, 1, 1))),
}
"""Colour and dashes of each law, so that they are told apart without colour too."""


@style.applied()
def plot_scaling_fits(
    data: Data,
    ax: Axes | None = None,
    *,
    axis: Axis = axes.N,
    hold_out: float = 2.0,
    confidence: float = 0.9,
) -> Axes:
    """Draw the mean loss, the laws fitted to all but the largest places, and what they forecast there.

    The legend gives, best first, the root mean square of log loss less log forecast over the points held out,
    and by how much more the squared error of log loss in a seed is, of the law fitted to the other seeds,
    than that of the best law, with its standard error over seeds. The band is where the best law expects
    single points beyond those it was fitted to, if points were independent.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default N
        A resource; along S from the first to the last learning time of the widest network.
    hold_out : float, default 2
        The points within this factor of the largest are not fitted.
    confidence : float, default 0.9
        Of the band.
    """
    ax = ax or style.new_axes(height=3.7)
    statistics = measured(data)
    ax.set(xlabel=axis.label, ylabel="mean loss (bits)")
    if axis.name not in statistics.base.traces:
        return style.instead(ax, style.no_curve(axis))
    x, of_seeds = statistics.here.loss_points(axis)
    try:
        rivals = compare_along(statistics, axis, hold_out)
    except TooFewPoints:
        return style.instead(ax, "too few points with a loss")
    ax.set(xscale="log", yscale="log")
    held_out, loss = hold_out_largest(x, hold_out), stats.gmean(of_seeds)
    name = "1 seed" if len(of_seeds) == 1 else f"geometric mean of {len(of_seeds)} seeds"
    look: dict[str, Any] = {"color": style.MEASURED, "ms": 3.2, "zorder": 3}
    ax.plot(x[~held_out], loss[~held_out], "o", label=f"fitted ({name})", **look)
    ax.plot(x[held_out], loss[held_out], "o", mfc="white", label="held out", **look)
    what = "error of log forecast"
    what += ", Δ without a seed (10$^{-3}$)" if np.isfinite(rivals[0].difference) else ""
    style.say_in_legend(ax, what)
    along = np.geomspace(x.min(), x.max(), 200)
    for rival in rivals:
        if rival.fit is None:
            style.say_in_legend(ax, f"{rival.model}: not fitted")
            continue
        color, dashes = _LINES[rival.model]
        estimate = rival.fit.predict(along)
        estimate = np.where(estimate > 0, estimate, np.nan)
        ax.plot(along, estimate, linestyle=dashes, color=color, label=_describe(rival))
    best = rivals[0]
    if best.fit is not None:
        band = forecast(best.fit, along[along >= x[~held_out].max()], confidence)
        label = f"{100 * confidence:.6g}% forecast of {best.model}"
        color = _LINES[best.model][0]
        ax.fill_between(band.x, band.lower, band.upper, color=color, alpha=0.2, linewidth=0, label=label)
    ax.set_ylim(loss.min() / 1.5, loss.max() * 1.2)
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax)
    return ax


def _describe(rival: Rival) -> str:
    """Say how well a law forecasts, and how much worse than the best it is without a seed."""
    said = f"{rival.model}: {style.number(rival.forecast_error)}"
    if not np.isfinite(rival.difference):
        return said
    if rival.difference == 0:
        return f"{said}, best"
    difference, stderr = (
        style.number(1e3 * value, 1) for value in (rival.difference, rival.difference_stderr)
    )
    return f"{said}, Δ {difference} ± {stderr}"


@style.applied()
def plot_windows(
    data: Data,
    ax: Axes | None = None,
    *,
    axis: Axis = axes.N,
    min_factor: float = MIN_FACTOR,
    expected: Expected | None = None,
    confidence: float = 0.9,
) -> Axes:
    """Draw the exponent that a power law has in every window along an axis, and what theories expect.

    The exponent is positive for a falling loss, and a mean over seeds; the shortest window at each place has
    its interval. A theory's line is the slope of its own curve over the shortest window. Windows overlap.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default N
        A resource; along S from the first to the last learning time of the widest network.
    min_factor : float, default 4
        Smallest ratio of the ends of a window.
    expected : mapping of str to callable, optional
        As in `plot_loss`.
    confidence : float, default 0.9
        Nominal coverage of the intervals over seeds.
    """
    ax = ax or style.new_axes(height=3.0)
    statistics = measured(data)
    ax.set(xlabel=f"{axis.label}, centre of window", ylabel="exponent of the loss in the window")
    if axis.name not in statistics.base.traces:
        return style.instead(ax, style.no_curve(axis))
    x, loss = statistics.here.loss_points(axis)
    try:
        of_seeds = [audit_windows(x, one, min_factor=min_factor) for one in loss]
    except TooFewPoints:
        return style.instead(ax, "too few points with a loss")
    windows = of_seeds[0]
    if not windows.lower.size:
        return style.instead(ax, f"no window of a factor {min_factor:g}")
    factor, longest = windows.upper / windows.lower, x.max() / x.min()
    centre = np.sqrt(windows.lower * windows.upper)
    norm = style.log_norm((min_factor, longest))
    slopes = np.stack([one.slope for one in of_seeds], axis=1)
    found = [mean_over_seeds(-of_window, confidence) for of_window in slopes]
    exponent = np.array([one.estimate for one in found])
    ax.set_xscale("log")
    if len(loss) > 1:
        lower, upper = np.array([(one.lower, one.upper) for one in found], dtype=np.float64).T
        _, shortest = np.unique(windows.lower, return_index=True)
        colors = style.ORDERED_COLORS(norm(factor[shortest]))
        ax.vlines(centre[shortest], lower[shortest], upper[shortest], colors=colors, lw=0.6, alpha=0.6)
    order = np.argsort(factor, kind="stable")  # the longest are the fewest, and on top
    ax.scatter(centre[order], exponent[order], c=factor[order], s=10, cmap=style.ORDERED_COLORS, norm=norm)
    label = f"{centre.size} window{'s' * (centre.size != 1)}"
    label += f", {100 * confidence:.6g}% intervals over {len(loss)} seeds" if len(loss) > 1 else ""
    ax.plot([], [], "o", color="0.35", ms=3, label=label)
    for (name, function), color in zip((expected or {}).items(), style.THEORIES, strict=False):
        at, slope = _local_exponent(function, x, min_factor)
        if at.size:
            label = f"{name}, windows of a factor {min_factor:g}"
            ax.plot(at, slope, color=color, label=label, zorder=1)
    infinite = expected_exponents(statistics.base.alpha).get(axis.exponent)
    if infinite is not None:
        label = f"infinite K: {style.number(infinite)}"
        ax.axhline(infinite, linestyle="--", color=style.GUIDE, label=label, zorder=1)
    style.readable_log_ticks(ax.xaxis)
    style.legend_above(ax)
    ticks = style.ticks_125(min_factor, longest) or [min_factor]
    style.add_bar([ax], norm, "length of the window, as a factor", ticks)
    return ax


def _local_exponent(function: Callable[[Array], Array], x: Array, factor: float) -> tuple[Array, Array]:
    """Return places within x, and the exponent of a theory's loss over a factor about them, where known."""
    half = np.sqrt(factor)
    at = np.geomspace(x.min() * half, max(x.min() * half, x.max() / half), 200)
    before, after = function(at / half), function(at * half)
    known = (before > 0) & (after > 0)
    return at[known], np.log(before[known] / after[known]) / np.log(factor)
