"""The count of subtasks learned along an axis."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, along, fit_constant, measured
from quanta.analysis.theories.constants import fit_room
from quanta.analysis.verdict.statistics import Statistics

Array = NDArray[np.float64]

_SPREAD = 1.04
"""Factor in x by which dots of neighbouring seeds are set apart: counts are whole numbers, and coincide."""


@style.applied()
def plot_count(data: Data, ax: Axes | None = None, *, axis: Axis = axes.N, confidence: float = 0.9) -> Axes:
    """Draw the number of subtasks learned along an axis.

    Along N a full network is a dot: its count is its room. Any other would have learned more, and is an open
    triangle that points up; the line is n ∝ N, where a full network learned something. Along S the count of
    the widest is a staircase, and the line is the count if S_k ∝ 1/p_k; along D likewise. The constants of
    both are fitted, with what is not learned and networks that are not full as bounds. The axis of the count
    is logarithmic from 1 up and linear below, so that it can show 0.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default N
        A resource.
    confidence : float, default 0.9
        Nominal coverage of the interval of γ over seeds.
    """
    ax = ax or style.new_axes(height=3.0)
    statistics = measured(data)
    one = along(statistics, axis)
    ax.set(xlabel=axis.label, ylabel="subtasks learned n")
    if not one.x.size:
        return style.instead(ax, style.no_places(axis))
    counts = (one.left < statistics.tau).sum(axis=-1)
    n_subtasks = one.frequency.size
    top = 1.6 * max(int(counts.max()), 1)
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=1, linscale=0.4)
    style.set_ticks(ax.yaxis, [0, *style.ticks_125(1, top)])
    ax.set(ylim=(-0.2, top), xlim=(one.x.min() / 1.2, one.x.max() * 1.2))
    if axis.dim == "width":
        _draw_room(ax, statistics, axis, top, confidence)
    else:
        colors = style.seed_colors(len(counts))
        for of_seed, color in zip(counts, colors, strict=True):
            look: dict[str, Any] = {"drawstyle": "steps-post"}
            if axis.dim != "step":
                look = {"marker": "o", "linestyle": "none"}
            ax.plot(one.x, of_seed, color=color, **look)
        ax.lines[-1].set_label("1 seed" if len(counts) == 1 else f"{len(counts)} seeds (shades)")
        _draw_all_at_once(ax, statistics, axis)
    if top > n_subtasks:
        ax.axhline(n_subtasks, color=style.GUIDE, linewidth=0.7, label=f"K = {n_subtasks}")
    if not counts.any():
        style.note(ax, "nothing learned")
    style.readable_log_ticks(ax.xaxis)
    style.legend_above(ax)
    return ax


def _draw_room(ax: Axes, statistics: Statistics, axis: Axis, top: float, confidence: float) -> None:
    """Draw the counts of full networks and the bounds of the others, and n ∝ N."""
    here, x = statistics.here, statistics.base.left.values(axis)
    counts, full = here.n_learned, here.is_full
    aside = _SPREAD ** (np.arange(len(counts)) - (len(counts) - 1) / 2)
    at = x * aside[:, None]
    kinds = (
        ("full: n is the room", "o", style.MEASURED, full),
        ("not full: n is a lower bound", "^", "white", ~full),
    )
    for label, marker, face, chosen in kinds:
        if chosen.any():
            ax.plot(
                at[chosen],
                counts[chosen],
                marker,
                color=style.MEASURED,
                mfc=face,
                mew=0.7,
                ms=3.5 if marker == "o" else 4.5,
                label=f"{label} ({chosen.sum()} of {chosen.size})",
            )
    room = fit_room(x, counts, full, statistics.base.left.frequency.size)
    if np.isfinite(room) and x.size > 1:
        ends = np.clip(np.array([x.min(), x.max()]) / room, 0.5, top)
        ax.plot(ends * room, ends, "--", color=style.GUIDE, zorder=1, label=f"n ∝ {axis.name}")
    gamma = here.mean_gamma(confidence)
    if axis != axes.N:
        return
    if np.isfinite(gamma.estimate):
        style.say_in_legend(ax, f"n ∝ N$^γ$ with γ = {style.interval(gamma)}")
    else:
        style.say_in_legend(ax, "no γ: too few networks are full")


def _draw_all_at_once(ax: Axes, statistics: Statistics, axis: Axis) -> None:
    """Draw the count that learning at c/p_k gives, c fitted to what was learned when."""
    frequency = statistics.base.left.frequency
    c = fit_constant(statistics, axis, 1 / frequency)
    if not np.isfinite(c) or frequency[0] == frequency[-1]:
        return
    label = f"{style.learned_at(axis)} ∝ 1/p$_k$"
    ax.plot(c / frequency, np.arange(1, frequency.size + 1), "--", color=style.GUIDE, zorder=1, label=label)
