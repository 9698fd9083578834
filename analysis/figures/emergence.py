"""The emergence map: what is left of every subtask's loss along an axis, as colour."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, along, at_places, measured

Array = NDArray[np.float64]


@style.applied()
def plot_emergence_map(data: Data, ax: Axes | None = None, *, axis: Axis = axes.N) -> Axes:
    """Draw the share of chance that is left of every subtask's loss, mean over seeds, as colour.

    Along N and D at the end of training, along S at every evaluation. Both axes are logarithmic, so that a
    count that grows as a power of the resource is a straight edge.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default N
        A resource.
    """
    ax = ax or style.new_axes()
    one = along(measured(data), axis)
    ax.set(xlabel=axis.label, ylabel=style.RANK_LABEL)
    if not one.x.size:
        return style.instead(ax, style.no_places(axis))
    x, left = at_places(one, one.left)
    share = left.mean(axis=0).T
    n_subtasks = one.frequency.size
    rows = np.arange(n_subtasks + 1) + 0.5
    mesh = ax.pcolormesh(
        _edges(x), rows, share, cmap=style.LOSS_COLORS, norm=Normalize(0, 1), rasterized=True
    )
    ax.set(xscale="log", yscale="log", ylim=(0.5, n_subtasks + 0.5), xlim=_edges(x)[[0, -1]])
    style.readable_log_ticks(ax.xaxis)
    style.set_ticks(ax.yaxis, style.ticks_125(1, n_subtasks))
    extend = "max" if share.max() > 1.05 else "neither"
    seeds = "1 seed" if len(left) == 1 else f"mean of {len(left)} seeds"
    ax.figure.colorbar(mesh, ax=ax, extend=extend, label=f"share of chance left, {seeds}")
    return ax


def _edges(x: Array) -> Array:
    """Half-way, on a log scale, between neighbouring places, and as far beyond the ends; shape (X + 1,)."""
    if x.size == 1:
        return np.array([x[0] / 1.5, x[0] * 1.5])
    between = np.sqrt(x[1:] * x[:-1])
    return np.concatenate([[x[0] ** 2 / between[0]], between, [x[-1] ** 2 / between[-1]]])
