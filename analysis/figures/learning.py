"""The learning curves: the measured loss of every subtask against steps."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quanta.analysis import axes
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, choose, measured
from quanta.analysis.verdict.statistics import Statistics

_LOSS = "loss / chance"


@style.applied()
def plot_learning_curves(
    data: Data, ax: Axes | None = None, *, width: int | None = None, seed: int | None = None
) -> Axes:
    """Draw the loss of every subtask as it was measured, coloured by rank, and the mean loss against steps.

    Losses are shares of chance; of the mean loss, of the mean of chance. The axis of steps is logarithmic and
    starts at the first evaluation after step 0.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    width : int, optional
        The widest if left out.
    seed : int, optional
        The first one if left out: a mean over seeds would blur the drops.

    Raises
    ------
    ValueError
        If there is no such width or seed.
    """
    ax = ax or style.new_axes()
    statistics = measured(data)
    left = statistics.base.left
    place = choose("width", left.width, width, -1)
    _draw(ax, statistics, place, choose("seed", left.seed, seed, 0))
    ax.set(xlabel=axes.S.label, ylabel=_LOSS)
    style.legend_above(ax, title=f"width {left.width[place]}", n_columns=2)
    style.add_rank_bar([ax], left.frequency.size)
    return ax


@style.applied()
def plot_learning_curves_grid(
    data: Data, *, widths: Sequence[int] | None = None, seed: int | None = None
) -> Figure:
    """Draw `plot_learning_curves` for several widths, side by side, with one colour bar.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    widths : sequence of int, optional
        Six of them, spread evenly over the ladder, if left out.
    seed : int, optional
        As in `plot_learning_curves`.

    Raises
    ------
    ValueError
        If there is no such width or seed.
    """
    statistics = measured(data)
    left = statistics.base.left
    if widths is None:
        places = np.unique(np.linspace(0, left.width.size - 1, 6).round().astype(int)).tolist()
    else:
        places = [choose("width", left.width, width, -1) for width in widths]
    n_columns = min(3, len(places))
    n_rows = -(-len(places) // n_columns)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 1.65 * n_rows + 0.7), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    panels, unused = grid[: len(places)], grid[len(places) :]
    for ax in unused:
        ax.remove()
    for ax, place in zip(panels, places, strict=True):
        _draw(ax, statistics, place, choose("seed", left.seed, seed, 0))
        ax.set_title(f"width {left.width[place]}")
        ax.tick_params(labelbottom=ax in panels[-n_columns:])
    figure.supxlabel(axes.S.label, fontsize="medium")
    figure.supylabel(_LOSS, fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    style.add_rank_bar(panels, left.frequency.size)
    return figure


def _draw(ax: Axes, statistics: Statistics, width: int, seed: int) -> None:
    """Draw one network, given its places."""
    left = statistics.base.left
    one = statistics.base.curves["loss"].isel(width=width, seed=seed)
    if "n_train" in one.dims:
        one = one.isel(n_train=-1)
    loss = one.transpose("subtask", "step").values / left.chance[:, None]
    there = (left.step > 0) & (np.arange(left.step.size) <= left.last[-1, seed, width])
    step, loss = left.step[there], loss[:, there]
    mass = left.frequency * left.chance
    style.draw_curves(ax, step, loss)
    ax.semilogx(
        step,
        mass / mass.sum() @ loss,
        color=style.MEASURED,
        lw=1.6,
        label=f"mean loss, seed {left.seed[seed]}",
    )
    ax.axhline(statistics.tau, color=style.GUIDE, ls=":", lw=0.9, label=f"τ = {statistics.tau:g}")
    if step.size < 2:
        style.note(ax, "fewer than two evaluations\nafter step 0")
        return
    top = max(ax.get_ylim()[1], 1.05, 1.05 * loss.max())  # panels of a grid share it
    ax.set(xlim=left.step[[int(left.step[0] == 0), -1]], ylim=(-0.02, top))
    style.readable_log_ticks(ax.xaxis)
