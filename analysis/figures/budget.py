"""What the mean loss is made of along an axis, and which part of its exponent each part carries."""

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, at_places, measured
from quanta.analysis.fits.intervals import Interval, mean_over_seeds
from quanta.analysis.learned.budget import PARTS
from quanta.analysis.verdict.count import COUNT_WINDOW

Array = NDArray[np.float64]

_PALETTE = sns.color_palette("colorblind")
_COLORS = dict(zip(PARTS, (_PALETTE[0], _PALETTE[2], _PALETTE[1], _PALETTE[3], _PALETTE[4]), strict=True))
_LEAST = 1e-3
"""Of the axis of a loss, in bits: where all is learned, what is left says nothing."""
_ROUNDING = 1e-9
"""An exponent this small is that of a loss that stays the same, and has no shares."""


@style.applied()
def plot_budget(data: Data, ax: Axes | None = None, *, axis: Axis = axes.N) -> Axes:
    """Draw the mean loss along an axis and the parts it is made of, mean over seeds.

    The loss L is the black line. The outline above it is what the loss would be if all that is not learned
    were at chance: the count, on top of what is left in what is learned, which is filled at the bottom.
    Hatched between the two is what half-learned subtasks take off, those that are stuck next to the loss and
    those that still fall above. The rest of the way to the outline is drift. All add up: L = count + rest +
    falling + stuck + drift.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default N
        A resource.
    """
    ax = ax or style.new_axes(height=3.6)
    statistics = measured(data)
    ax.set(xlabel=axis.label, ylabel="mean loss (bits)")
    if axis.name not in statistics.here.budgets:
        return style.instead(ax, style.no_curve(axis))
    budget = statistics.here.budgets[axis.name]
    one = statistics.base.traces[axis.name]
    x, of_seeds = at_places(one, one.mean_loss)
    loss = of_seeds.mean(axis=0)
    count, rest, falling, stuck, drift = budget.parts.mean(axis=0).T
    ax.set_xscale("log")
    ax.plot(x, loss, color=style.MEASURED, label="mean loss", zorder=3)
    ax.plot(x, count + rest, color=_COLORS["count"], linestyle="--", label="count, on top of rest", zorder=3)
    ax.fill_between(x, rest, loss, color=_COLORS["count"], alpha=0.15, linewidth=0)
    ax.fill_between(x, 0, rest, color=_COLORS["rest"], linewidth=0, label="rest: in what is learned")
    known = np.isfinite(falling + stuck)
    half = np.where(known, 0.0, loss - count - rest - drift)  # not known which of the two it is
    falling, stuck = np.where(known, falling, 0.0), np.where(known, stuck, 0.0)
    level = loss
    for name, part, hatch in (
        ("stuck", stuck, "xxxxx"),
        ("falling", falling, "/////"),
        ("unknown", half, "....."),
    ):
        if (part < 0).any():
            look = {
                "facecolor": "none",
                "edgecolor": _COLORS.get(name, "0.5"),
                "hatch": hatch,
                "linewidth": 0,
            }
            ax.fill_between(x, level, level - part, label=f"half-learned: {name}", **look)
        level = level - part
    ax.fill_between(
        x, count + rest, level, color=_COLORS["drift"], alpha=0.6, linewidth=0, label="drift: off chance"
    )
    ax.set_ylim(0, max(1.05 * max(loss.max(), (count + rest).max(), level.max()), _LEAST))
    ax.set_xlim(x[0], x[-1])
    style.readable_log_ticks(ax.xaxis)
    seeds = f"seed {statistics.base.left.seed[0]}" if len(of_seeds) == 1 else f"mean of {len(of_seeds)} seeds"
    style.legend_above(ax, title=seeds, n_columns=2)
    return ax


@style.applied()
def plot_exponent_parts(
    data: Data, ax: Axes | None = None, *, axis: Axis = axes.N, confidence: float = 0.9
) -> Axes:
    """Draw where the exponent of the mean loss along an axis comes from.

    One bar a part of the loss, with its interval over seeds, below that of the whole; they add up to it. On
    the right is the exponent, and each part as a share of it. Count and falling together stand below the
    count: these are the two ends of the claim that the count carries the exponent, and the band is where they
    have to lie. Along S, where no such claim is made, the exponent is that over all steps.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default N
        A resource.
    confidence : float, default 0.9
        Nominal coverage of the intervals.
    """
    ax = ax or style.new_axes(height=2.6)
    statistics = measured(data)
    ax.set_xlabel(f"part of the exponent along {axis.name}")
    if axis.name not in statistics.here.budgets:
        return style.instead(ax, style.no_curve(axis))
    budget = statistics.here.budgets[axis.name]
    whole = mean_over_seeds(budget.exponent, confidence)
    if not (np.abs(budget.exponent) > _ROUNDING).any():
        changes = "does not change" if np.isfinite(budget.exponent).any() else "has no exponent"
        return style.instead(ax, f"the loss {changes} along {axis.name}")
    rows: list[tuple[str, Array, object]] = [("mean loss", budget.exponent, "0.55")]
    rows += [(part, budget.exponents[:, i], _COLORS[part]) for i, part in enumerate(PARTS)]
    both = [PARTS.index("count"), PARTS.index("falling")]
    rows.insert(2, ("count + falling", budget.exponents[:, both].sum(axis=1), _COLORS["count"]))
    ax.axvline(0, color=style.GUIDE, linewidth=0.7)
    if np.isfinite(whole.estimate) and axis.dim != "step":
        low, high = (edge * whole.estimate for edge in COUNT_WINDOW)
        ax.axvspan(low, high, color="0.92", linewidth=0, zorder=0)
    numbers = [style.interval(whole)]
    for place, (name, values, color) in enumerate(rows):
        found = mean_over_seeds(values, confidence)
        ax.barh(
            place, found.estimate, height=0.6, color=color, alpha=0.5 if name == "count + falling" else 0.85
        )
        if found.lower is not None and found.upper is not None:
            ax.hlines(place, found.lower, found.upper, color="0.2", linewidth=1.2)
        if place:
            numbers.append(style.interval(_share(values, budget.exponent, confidence)))
    places = range(len(rows))
    ax.set_yticks(places, [name for name, _, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    right = ax.secondary_yaxis("right")
    right.set_yticks(places, numbers)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    ax.text(1.03, 1.0, "exponent, shares of it", transform=ax.transAxes, va="bottom")
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=5)
    return ax


def _share(part: Array, whole: Array, confidence: float) -> Interval:
    """Mean over seeds of a part over the whole; not known where that is 0."""
    known = np.isfinite(part) & (np.abs(whole) > _ROUNDING)
    return mean_over_seeds(np.where(known, part / np.where(known, whole, 1.0), np.nan), confidence)
