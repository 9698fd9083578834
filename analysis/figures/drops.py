"""How sharply subtasks fall, beside modes that fall without quanta."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, measured
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.drops import FACTOR
from quanta.analysis.theories.shapes import exponential_drop, ridge_drop, skill_drop
from quanta.analysis.verdict.count import MIN_DROP_SHARE, SMOOTH_SHARE
from quanta.analysis.verdict.tables import tabulate_drops

Array = NDArray[np.float64]

_METRICS = {"loss": "loss", "accuracy": "accuracy", "brier": "Brier score"}

_SPAN = 30.0
"""Largest factor in steps from the middle of a fall that is drawn: a ridge filter is then at .005."""


SHAPES: tuple[tuple[str, str, Callable[[Array], Array], float], ...] = (
    ("multilinear quantum", "-", skill_drop, 0.97),
    ("exponential mode", "--", exponential_drop, 0.70),
    ("ridge filter", ":", ridge_drop, 0.60),
)
"""Name, line, shape, and share of the fall within `FACTOR`."""


@style.applied()
def plot_drops(data: Data, ax: Axes | None = None, *, confidence: float = 0.9) -> Axes:
    """Draw the fall of every subtask of the widest network, aligned where it crosses half of its height.

    The height is the subtask's own: 1 where it begins, chance at most, and 0 where it ends. Drawn is what
    fell by more than half, after the first evaluation. Beside it are a quantum and two modes that learn
    without quanta; nothing is fitted. The legend has the share of each fall that happens within a factor 10
    of steps.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    confidence : float, default 0.9
        Nominal coverage of the measured share's interval over seeds.
    """
    ax = ax or style.new_axes(height=3.4)
    statistics = measured(data)
    left = statistics.base.left
    n_drawn, colors = 0, np.arange(1, left.frequency.size + 1)
    for curves, drops in zip(left.at_largest(), statistics.base.drops["loss"], strict=True):
        share = np.minimum(curves.dense().T.astype(np.float64), 1.0)
        step = left.step[: len(share)]
        after = step > 0
        fell = np.flatnonzero(drops.weight > 0)
        height = (share[:, fell] - share[-1, fell]) / (share[0, fell] - share[-1, fell])
        middle = np.full(colors.size, np.nan)
        middle[fell] = _crossings(step[after], height[after])
        aligned = np.full((colors.size, after.sum()), np.nan)
        aligned[fell] = height[after].T
        n_drawn += int(np.isfinite(middle).sum())
        style.draw_curves(ax, step[after] / middle[:, None], aligned)
    ax.set(xscale="log", xlim=(1 / _SPAN, _SPAN), ylim=(-0.02, 1.05))
    ax.set(xlabel="step / step of the crossing of half", ylabel="share of the subtask's own fall left")
    found = mean_over_seeds([one.mean_share for one in statistics.base.drops["loss"]], confidence)
    if not n_drawn:
        seen = np.isfinite(found.estimate)
        style.note(ax, "all fell before the first evaluation" if seen else "no subtask fell by half")
    style.say_in_legend(ax, f"share of the fall within a factor {FACTOR:g}")
    x = np.geomspace(1 / _SPAN, _SPAN, 200)
    for name, dashes, shape, within in SHAPES:
        label = f"{name}: {style.number(within)}"
        ax.plot(x, shape(x), dashes, color=style.THEORY, label=label, zorder=3)
    if np.isfinite(found.estimate):
        style.say_in_legend(ax, f"measured: {style.interval(found)}")
    title = f"width {left.width[-1]}, {n_drawn} falls, {style.n_seeds(left.seed.size)}"
    style.legend_above(ax, title=title)
    style.readable_log_ticks(ax.xaxis)
    style.add_rank_bar([ax], left.frequency.size)
    return ax


def _crossings(step: Array, height: Array) -> Array:
    """Step (K,) at which falling heights (T, K) cross one half, linear in log step; NaN if before all."""
    log_step = np.log(step)
    found = [
        np.interp(-0.5, -one, log_step) if one[0] >= 0.5 else np.nan for one in height.T
    ]  # interpolation wants what rises
    return np.asarray(np.exp(found))


@style.applied()
def plot_drops_by_metric(data: Data, ax: Axes | None = None, *, confidence: float = 0.9) -> Axes:
    """Draw which share of the fall of the mean happens in drops, in every metric there is.

    That is within a factor 10 of steps for each subtask of the widest network. The bands are where quanta and
    where smooth modes lie. A label says which share of the fall evaluations are close enough to place, if not
    all.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    confidence : float, default 0.9
        Nominal coverage of the intervals over seeds.
    """
    ax = ax or style.new_axes(height=1.9)
    statistics = measured(data)
    table = tabulate_drops(statistics, confidence)
    ax.axvspan(
        MIN_DROP_SHARE, 1, color=style.FITTED, alpha=0.15, linewidth=0, label=f"quanta: ≥ {MIN_DROP_SHARE:g}"
    )
    ax.axvspan(0, SMOOTH_SHARE, color="0.92", linewidth=0, label=f"smooth modes: ≤ {SMOOTH_SHARE:g}")
    share, lower, upper, resolved = (
        table[name].to_numpy(np.float64) for name in ("share", "share_lower", "share_upper", "resolved")
    )
    known, places = np.isfinite(share), np.arange(len(table))
    ax.hlines(places[known], lower[known], upper[known], color="0.4", linewidth=1.2)
    style.dots(ax, share[known], places[known], "o", color=style.MEASURED, clip_on=False)
    lowest = np.fmin(lower, share)[known].min(initial=0.6)
    ax.set(xlim=(max(0.0, lowest - 0.05), 1.0), ylim=(len(table) - 0.5, -0.5))
    ax.set_xlabel(f"share of the fall within a factor {FACTOR:g} of steps")
    labels = [
        f"{_METRICS[metric]}\n({part:.0%} placed)" if there and part < 1 else _METRICS[metric]
        for metric, part, there in zip(table["metric"], resolved, known, strict=True)
    ]
    ax.set_yticks(places, labels)
    ax.tick_params(axis="y", length=0)
    if not known.any():
        style.note(ax, "no subtask fell by half")
    style.legend_above(ax, n_columns=2)
    return ax
