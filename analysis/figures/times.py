"""Learning times and frequency: x_k ∝ p_k^-β, and whether one β describes them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, crossings, fit_constant, measured
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.growth import TimeLaw, split_ranks
from quanta.analysis.verdict.statistics import Statistics

Array = NDArray[np.float64]

_PARTS = {4: "quarters", 2: "halves", 1: "all ranks"}
_CENSORED = {
    "step": ("learned by the first evaluation", "not learned by the last"),
    "n_train": ("learned with the fewest examples", "not learned with the most"),
}


@style.applied()
def plot_learning_times(
    data: Data, ax: Axes | None = None, *, axis: Axis = axes.S, confidence: float = 0.9
) -> Axes:
    """Draw where along an axis each subtask was learned against its frequency, and β by part of the ranks.

    A subtask that was not learned is an open triangle up at the last place, and one that was learned before
    the first an open triangle down. The dashed line is learning all at once, at c / p_k, c fitted with what
    is not learned as a bound. The coloured lines have the β of each quarter of the ranks learned, mean over
    seeds, and go through the middle of that quarter; where too few are learned for quarters, of each half or
    of all. Under one law they are parallel.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default S
        S, for the widest network, or D.
    confidence : float, default 0.9
        Nominal coverage of the interval of β over seeds.
    """
    ax = ax or style.new_axes(height=3.4)
    statistics = measured(data)
    at, lower, upper = crossings(statistics, axis)
    frequency = statistics.base.left.frequency
    label = f"{axis.title} learned {style.learned_at(axis)}"
    ax.set(xscale="log", yscale="log", xlabel="frequency p$_k$", ylabel=label)
    learned = np.isfinite(upper)
    seen = learned & (lower > 0)
    early, late = _CENSORED[axis.dim]
    kinds = (
        ("learned", "o", seen, at),
        (early, "v", learned & (lower <= 0), upper),
        (late, "^", ~learned & (lower > 0), lower),
    )
    for label, marker, chosen, place in kinds:
        for here, y, color in zip(chosen, place, style.seed_colors(len(at)), strict=True):
            look: dict[str, Any] = {"color": color, "mew": 0.6, "ms": 3.2, "alpha": 0.7}
            if here.any():
                face = color if marker == "o" else "none"
                ax.plot(frequency[here], y[here], marker, mfc=face, **look)
        if chosen.any():
            ax.lines[-1].set_label(label)
    if not (learned | (lower > 0)).any():
        text = "no evaluation after step 0" if axis.dim == "step" else style.no_places(axis)
        return style.instead(ax, text)
    c, law = fit_constant(statistics, axis, 1 / frequency), statistics.here.time_laws.get(axis.name)
    if np.isfinite(c) and frequency[0] > frequency[-1]:
        ends = frequency[np.flatnonzero(seen.any(axis=0))[[0, -1]]]
        ax.plot(ends, c / ends, "--", color=style.GUIDE, zorder=1, label="β = 1")
        if law is not None:
            _draw_parts(ax, frequency, at, lower, upper, law)
            beta = mean_over_seeds(law.beta, confidence)
            if np.isfinite(beta.estimate):
                style.say_in_legend(ax, f"all: β = {style.interval(beta)}")
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax, title=style.heading_of(statistics.base.left))
    return ax


def _draw_parts(ax: Axes, frequency: Array, at: Array, lower: Array, upper: Array, law: TimeLaw) -> None:
    """Draw lines of the slopes of the finest parts of the ranks that all have one."""
    by_parts = {4: law.quarters, 2: np.stack([law.first, law.later], axis=1), 1: law.beta[:, None]}
    for n_parts, of_seeds in by_parts.items():
        betas = [mean_over_seeds(of_seeds[:, part]).estimate for part in range(n_parts)]
        if not np.isfinite(betas).all():
            continue
        splits = [split_ranks(*bounds, n_parts) for bounds in zip(lower, upper, strict=True)]
        for part, beta in enumerate(betas):
            p = np.concatenate([frequency[split[part]] for split in splits])
            x = np.concatenate([times[split[part]] for times, split in zip(at, splits, strict=True)])
            ends = np.array([p.max(), p.min()])
            line = style.geometric_mean(x) * (ends / style.geometric_mean(p)) ** -beta
            ax.plot(ends, line, color=style.THEORY, linewidth=2, zorder=4)
        said = ", ".join(style.number(beta) for beta in betas)
        ax.lines[-1].set_label(f"β of {_PARTS[n_parts]}: {said}")
        return


@style.applied()
def plot_drift(data: Data, ax: Axes | None = None, *, axis: Axis = axes.S, confidence: float = 0.9) -> Axes:
    """Draw x_k p_k against rank, which is level where β = 1, with means of quarters of the ranks learned.

    Each seed is a line over the subtasks it learned; what it did not learn, up to the last rank that any did,
    is a triangle up. A square is the geometric mean over a quarter of what was learned, with its interval
    over seeds: open where a subtask among these ranks was not learned, so that the mean is too low. The
    dashed line is learning all at once, x_k = c / p_k, and the dotted one after another, x_k = c k, each with
    its c fitted. The legend has β of the first and of the later half of the ranks.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default S
        S, for the widest network, or D.
    confidence : float, default 0.9
        Nominal coverage of intervals over seeds.
    """
    ax = ax or style.new_axes(height=3.3)
    statistics = measured(data)
    at, lower, upper = crossings(statistics, axis)
    frequency = statistics.base.left.frequency
    unit = "steps" if axis.dim == "step" else "examples"
    ax.set(xscale="log", xlabel=style.RANK_LABEL, ylabel=f"{style.learned_at(axis)} p$_k$ ({unit})")
    seen = np.isfinite(upper) & (lower > 0)
    if not seen.any():
        return style.instead(ax, "nothing seen being learned")
    ax.set_yscale("log")
    rank, product = np.arange(1.0, frequency.size + 1), at * frequency
    for here, y, color in zip(seen, product, style.seed_colors(len(at)), strict=True):
        ax.plot(rank[here], y[here], "o-", color=color, ms=2.5, lw=0.6, alpha=0.7)
    last = int(np.flatnonzero(seen.any(axis=0)).max()) + 1
    late = ~np.isfinite(upper) & (rank <= last) & (lower > 0)
    if late.any():
        places = np.broadcast_to(rank, late.shape)
        look: dict[str, Any] = {"color": style.GUIDE, "mfc": "none", "mew": 0.6, "ms": 3.2}
        ax.plot(places[late], (lower * frequency)[late], "^", **look, label="not learned by then")
    _draw_quarters(ax, rank, product, lower, upper, confidence)
    c, serial = (fit_constant(statistics, axis, pattern) for pattern in (1 / frequency, rank))
    ax.plot(rank[:last], np.full(last, c), "--", color=style.GUIDE, zorder=1, label="β = 1")
    if frequency[0] > frequency[-1]:
        label = f"one after another: β = {style.number(statistics.base.serial_beta)}"
        one_by_one = serial * (rank * frequency)[:last]
        ax.plot(rank[:last], one_by_one, ":", color=style.GUIDE, zorder=1, label=label)
    halves = _halves(statistics, axis, confidence)
    style.say_in_legend(ax, f"β of halves: {halves}" if halves else "too few learned for β of halves")
    ax.set_xlim(0.9, 1.1 * max(last, 2))
    style.set_ticks(ax.xaxis, style.ticks_125(1, max(last, 2)))
    style.readable_log_ticks(ax.yaxis)
    style.legend_above(ax, title=style.heading_of(statistics.base.left))
    return ax


def _halves(statistics: Statistics, axis: Axis, confidence: float) -> str | None:
    """β of the first and of the later half of the ranks, with their intervals, if both are known."""
    law = statistics.here.time_laws.get(axis.name)
    if law is None:
        return None
    found = [mean_over_seeds(values, confidence) for values in (law.first, law.later)]
    known = all(np.isfinite(half.estimate) for half in found)
    return ", ".join(style.interval(half) for half in found) if known else None


def _draw_quarters(
    ax: Axes, rank: Array, product: Array, lower: Array, upper: Array, confidence: float
) -> None:
    """Draw the geometric means of the quarters, at the mean of their ranks."""
    splits = [split_ranks(*bounds, 4) for bounds in zip(lower, upper, strict=True)]
    if min(part.size for split in splits for part in split) == 0:
        return  # some seed learned fewer than four
    places, means = [], []
    has_late = np.zeros(4, dtype=bool)
    for part in range(4):
        has_late[part] = any(np.ptp(split[part]) + 1 > split[part].size for split in splits)
        at = np.array([np.log(rank[split[part]]).mean() for split in splits])
        of_seeds = [np.log(y[split[part]]).mean() for y, split in zip(product, splits, strict=True)]
        found = mean_over_seeds(of_seeds, confidence)
        places.append(np.exp(at.mean()))
        means.append(np.exp(found.estimate))
        if found.lower is not None and found.upper is not None:
            ax.vlines(
                places[-1], np.exp(found.lower), np.exp(found.upper), color=style.MEASURED, lw=1.2, zorder=4
            )
    label = "quarters of the ranks learned"
    ax.plot(places, means, "s-", color=style.MEASURED, ms=4.5, lw=1, zorder=5, label=label)
    if has_late.any():
        label = "quarters with subtasks not learned"
        x, y = (np.array(values)[has_late] for values in (places, means))
        ax.plot(x, y, "s", color=style.MEASURED, mfc="white", ms=4.5, zorder=6, label=label)
