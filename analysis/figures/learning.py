"""The figures of one slice of Curves, one function each: `(curves, ax=None, **options) -> Axes`.

A slice has one α and one n_train (`analysis.select`). Without `ax`, a function draws on a new figure of one
column, `ax.figure`, that needs no window system. What cannot be drawn, because nothing was learned or a fit
needs more widths, is said in the figure. A width or seed that is not in the slice is a ValueError.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from quanta.analysis.learned.reconstruction import explained_variance
from quanta.analysis.verdict.measurement import log

from quanta.analysis.figures import style
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.learned.order import concordance, tabulate_q_sequence
from quanta.analysis.learned.times import (
    count_learned,
    final_loss,
    final_mean_loss,
    learning_times,
    unlearned_mass,
)
from quanta.analysis.theories.quanta import expected_loss_vs_parameters

_LOSS, _MEAN_LOSS = "loss (bits)", "mean loss (bits)"
_PARAMETERS, _STEP = "parameters N", "optimisation step"


@style.applied()
def plot_learning_curves(
    curves: xr.Dataset, ax: Axes | None = None, *, width: int, seed: int | None = None, tau: float = 0.1
) -> Axes:
    """Draw the loss of every subtask, coloured by rank, and the mean loss against steps.

    The axis of steps is logarithmic and starts at the first evaluation after step 0.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    width : int
    seed : int, optional
        The first one if left out: a mean over seeds would blur the drops.
    tau : float, default 0.1
        The threshold drawn, in bits.
    """
    ax = ax or style.new_axes()
    _draw_learning_curves(ax, curves, width, seed, tau)
    ax.set(xlabel=_STEP, ylabel=_LOSS)
    style.legend_above(ax, title=f"width {width}", n_columns=2)
    style.add_rank_bar([ax], curves.sizes["subtask"])
    return ax


@style.applied()
def plot_learning_curves_grid(
    curves: xr.Dataset, *, widths: Sequence[int] | None = None, seed: int | None = None, tau: float = 0.1
) -> Figure:
    """Draw `plot_learning_curves` for several widths, side by side, with one colour bar.

    Parameters
    ----------
    curves : Dataset, a slice
    widths : sequence of int, optional
        Six of them, spread evenly over the ladder, if left out.
    seed, tau
        As in `plot_learning_curves`.
    """
    ladder = curves["width"].values
    if widths is None:
        widths = ladder[np.unique(np.linspace(0, len(ladder) - 1, 6).round().astype(int))].tolist()
    n_columns = min(3, len(widths))
    n_rows = -(-len(widths) // n_columns)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 1.65 * n_rows + 0.7), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    panels, unused = grid[: len(widths)], grid[len(widths) :]
    for ax in unused:
        ax.remove()
    for ax, width in zip(panels, widths, strict=True):
        _draw_learning_curves(ax, curves, width, seed, tau)
        ax.set_title(f"width {width}")
        ax.tick_params(labelbottom=ax in panels[-n_columns:])
    figure.supxlabel(_STEP, fontsize="medium")
    figure.supylabel(_LOSS, fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    style.add_rank_bar(panels, curves.sizes["subtask"])
    return figure


@style.applied()
def plot_emergence_map(curves: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the final loss, mean over seeds, of every subtask at every width as colour.

    The axis of ranks is logarithmic, so that a count in proportion to a geometric ladder is a straight line.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    """
    ax = ax or style.new_axes()
    loss = final_loss(curves).mean("seed").transpose("subtask", "width").values
    n_subtasks, n_widths = loss.shape
    edges = np.arange(n_widths + 1) - 0.5, np.arange(n_subtasks + 1) + 0.5
    mesh = ax.pcolormesh(*edges, loss, cmap=style.LOSS_COLORS, norm=Normalize(0, 1), rasterized=True)
    ax.set(xlabel="width", ylabel=style.RANK_LABEL, yscale="log", ylim=(0.5, n_subtasks + 0.5))
    shown = style.thin(range(n_widths), 12)
    ax.set_xticks(shown, [str(width) for width in curves["width"].values[shown]])
    style.set_ticks(ax.yaxis, style.ticks_125(1, n_subtasks))
    extend = "max" if loss.max() > 1.05 else "neither"
    ax.figure.colorbar(mesh, ax=ax, extend=extend, label="final loss (bits)")
    return ax


@style.applied()
def plot_loss_scaling(curves: xr.Dataset, ax: Axes | None = None, *, tau: float = 0.1) -> Axes:
    """Draw the final mean loss against parameters, a power-law fit, and what the theory expects.

    The fit is to the geometric mean over seeds at every width, as in `analysis.verdict`. The theory is
    n ∝ N, its one constant taken from the counts, summed exactly over the K subtasks; and for infinite K
    the slope −α, drawn through the middle of the data. Neither is fitted to the loss.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    tau : float, default 0.1
        Loss in bits below which a subtask is learned; through the counts it moves the theory.
    """
    ax = ax or style.new_axes(height=3.2)
    loss = final_mean_loss(curves).transpose("seed", "width").values.astype(np.float64)
    frequency, n_parameters = curves["frequency"].values, curves["n_parameters"].values
    ax.set(xscale="log", xlabel=_PARAMETERS, ylabel=_MEAN_LOSS)
    ax.set_yscale("log" if (loss > 0).any() else "linear")
    positive = (loss > 0).all(axis=0)  # only these have a logarithm
    mean = np.exp(np.log(np.where(positive, loss, np.nan)).mean(axis=0))
    style.draw_seeds(ax, n_parameters, loss, mean, "geometric mean")
    x, y = n_parameters[positive], mean[positive]
    if np.unique(x).size >= 3:
        fit = fit_power_law(x, y)
        label = f"power-law fit, slope {style.number(fit.slope)}"
        ax.plot(x, fit.predict(x), color=style.FITTED, label=label)
    else:
        style.say_in_legend(ax, "no fit: fewer than 3 widths with a loss")
    counts = count_learned(learning_times(curves, tau)).values
    if _growing(counts, len(frequency)).any():
        expected = expected_loss_vs_parameters(frequency, n_parameters, counts)
        left = expected > 0
        label = f"n ∝ N, exact for K = {len(frequency)}"
        ax.plot(n_parameters[left], expected[left], ".-", color=style.THEORY, markersize=3, label=label)
        alpha = float(curves["alpha"])
        if alpha > 0 and len(x) > 1:
            guide = style.geometric_mean(y) * (n_parameters / style.geometric_mean(x)) ** -alpha
            label = f"infinite K, slope −α = {style.number(-alpha)}"
            ax.plot(n_parameters, guide, "--", color=style.GUIDE, label=label)
    else:
        style.say_in_legend(ax, "no theory: nothing, or everything, learned")
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax)
    return ax


@style.applied()
def plot_count(curves: xr.Dataset, ax: Axes | None = None, *, tau: float = 0.1) -> Axes:
    """Draw the number of subtasks learned against parameters, and the line n ∝ N.

    The axis of the count is logarithmic from 1 up and linear below, so that it can show 0.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    """
    ax = ax or style.new_axes()
    counts = count_learned(learning_times(curves, tau)).transpose("seed", "width").values
    n_parameters, n_subtasks = curves["n_parameters"].values, curves.sizes["subtask"]
    top = 1.6 * max(int(counts.max()), 1)
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=1, linscale=0.4)
    style.set_ticks(ax.yaxis, [0, *style.ticks_125(1, top)])
    ax.set(xlabel=_PARAMETERS, ylabel="subtasks learned n", ylim=(-0.2, top))
    style.draw_seeds(ax, n_parameters, counts, counts.mean(axis=0), "mean")
    growing = _growing(counts, n_subtasks)
    if growing.any() and len(n_parameters) > 1:
        per_parameter = style.geometric_mean((counts / n_parameters)[growing])
        ends = np.clip(per_parameter * n_parameters[[0, -1]], 1, top)
        ax.plot(ends / per_parameter, ends, "--", color=style.GUIDE, label="n ∝ N")
    if top > n_subtasks:
        ax.axhline(n_subtasks, color=style.GUIDE, linewidth=0.7, label=f"K = {n_subtasks}")
    if not counts.any():
        style.note(ax, "nothing learned")
    style.readable_log_ticks(ax.xaxis)
    style.legend_above(ax, n_columns=2)
    return ax


@style.applied()
def plot_learning_times(
    curves: xr.Dataset, ax: Axes | None = None, *, width: int | None = None, tau: float = 0.1
) -> Axes:
    """Draw the step at which each subtask was learned against its frequency, at one width.

    A subtask that was not learned is a triangle up at the last evaluation; one that was learned by the
    first evaluation after step 0 is a triangle down. Neither enters the line S_k ∝ 1/p_k, of slope -1.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    width : int, optional
        The widest if left out.
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    """
    ax = ax or style.new_axes(height=3.0)
    width = _choose(curves, "width", width, -1)
    times = learning_times(curves, tau).sel(width=width).transpose("seed", "subtask")
    names = ("frequency", "learned", "step", "step_lower", "step_upper")
    frequency, learned, step, lower, upper = (times[name].values for name in names)
    exact = learned & (lower > 0)
    kinds = {
        "learned": ("o", exact, step),
        "learned by the first evaluation": ("v", learned & (lower <= 0), upper),
        "not learned by the last evaluation": ("^", ~learned & (lower > 0), lower),
    }
    ax.set(xscale="log", yscale="log", xlabel="frequency p$_k$", ylabel="step learned S$_k$")
    colors = style.seed_colors(len(learned))
    for label, (marker, chosen, at) in kinds.items():
        for here, y, color in zip(chosen, at, colors, strict=True):
            if here.any():
                ax.plot(frequency[here], y[here], marker, color=color, markersize=3.5, alpha=0.7)
        if chosen.any():
            ax.plot([], [], marker, color=colors[-1], markersize=3.5, label=label)
    if exact.any() and frequency[0] > frequency[-1]:
        ends, constant = frequency[[0, -1]], style.geometric_mean((step * frequency)[exact])
        ax.plot(ends, constant / ends, "--", color=style.GUIDE, label="S$_k$ ∝ 1/p$_k$", zorder=1)
    if not (learned | (lower > 0)).any():
        style.note(ax, "no evaluation after step 0")
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax, title=style.heading(width, curves["seed"].values))
    return ax


@style.applied()
def plot_reconstruction(curves: xr.Dataset, ax: Axes | None = None, *, tau: float = 0.1) -> Axes:
    """Draw the measured final mean loss against the loss reconstructed from the learned set alone.

    The reconstruction is 0 bits for what is learned and 1 for the rest; nothing is fitted. R² is the share of
    the variance of log loss that it explains, mean over seeds, as in `analysis.verdict`.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    """
    ax = ax or style.new_axes(height=3.0)
    measured = final_mean_loss(curves).transpose("seed", "width").values.astype(np.float64)
    times = learning_times(curves, tau)
    rebuilt = unlearned_mass(times).transpose("seed", "width").values
    widths, norm = curves["width"].values, style.log_norm(curves["width"])
    ax.set(xlabel="loss reconstructed from the count (bits)", ylabel=f"measured {_MEAN_LOSS}")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    known = (measured > 0) & (rebuilt > 0)
    if known.any():
        x, y, color = rebuilt[known], measured[known], np.broadcast_to(widths, known.shape)[known]
        low, high = min(x.min(), y.min()) / 1.2, max(x.max(), y.max()) * 1.2
        ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        ax.scatter(x, y, c=color, s=14, cmap=style.ORDERED_COLORS, norm=norm)
        identity = ax.axline((low, low), (high, high), ls="--", color=style.GUIDE, zorder=1)
        identity.set_label("measured = reconstructed")
        of_seeds = [explained_variance(*pair) for pair in zip(log(measured), log(rebuilt), strict=True)]
        explained = np.array(of_seeds)[np.isfinite(of_seeds)]
        if explained.size:
            style.say_in_legend(ax, f"R² of log loss = {style.number(explained.mean(), 3)}")
        style.readable_log_ticks(ax.xaxis, ax.yaxis)
    if not known.all():
        style.say_in_legend(ax, f"{(~known).sum()} of {known.size} not shown: everything learned")
    if not (times["learned"].any() and known.any()):
        style.note(ax, "everything learned" if times["learned"].any() else "nothing learned")
    style.legend_above(ax)
    style.add_bar([ax], norm, "width", style.thin(widths.tolist(), 8))
    return ax


@style.applied()
def plot_q_sequence(
    curves: xr.Dataset, ax: Axes | None = None, *, width: int | None = None, tau: float = 0.1
) -> Axes:
    """Draw the order in which subtasks were learned against their rank, at one width.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    width : int, optional
        The widest if left out.
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    """
    ax = ax or style.new_axes()
    width = _choose(curves, "width", width, -1)
    times = learning_times(curves, tau).sel(width=[width])
    table = tabulate_q_sequence(times).query("learned")
    n_subtasks = curves.sizes["subtask"]
    top = n_subtasks if table.empty else int(table[["subtask", "order"]].to_numpy(float).max())
    limits = (0.5 - 0.03 * top, top + 0.5 + 0.03 * top)
    ax.set(xlabel=style.RANK_LABEL, ylabel="order learned", xlim=limits, ylim=limits)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    seeds = curves["seed"].values
    for seed, color in zip(seeds, style.seed_colors(len(seeds)), strict=True):
        one = table[table["seed"] == seed]
        ax.plot(one["subtask"], one["order"].to_numpy(float), "o", color=color, markersize=3.5, alpha=0.7)
    agreement = concordance(times).dropna("seed").values
    label = f"{style.span(count_learned(times).values)} of {n_subtasks} learned"
    ax.lines[-1].set_label(f"{label}, concordance {style.span(agreement, 3)}" if agreement.size else label)
    ax.plot([1, top], [1, top], "--", color=style.GUIDE, zorder=1, label="order = rank")
    if table.empty:
        style.note(ax, "nothing learned")
    style.legend_above(ax, title=style.heading(width, curves["seed"].values))
    return ax


def _draw_learning_curves(ax: Axes, curves: xr.Dataset, width: int, seed: int | None, tau: float) -> None:
    width, seed = _choose(curves, "width", width, -1), _choose(curves, "seed", seed, 0)
    one = curves.sel(width=width, seed=seed)
    one = one.isel(step=(one["step"].values > 0) & one["mean_loss"].notnull().values)
    step, loss = one["step"].values, one["loss"].transpose("subtask", "step").values
    style.draw_curves(ax, step, loss)
    ax.semilogx(step, one["mean_loss"].values, color=style.MEASURED, lw=1.6, label=f"mean loss, seed {seed}")
    ax.axhline(tau, color=style.GUIDE, ls=":", lw=0.9, label=f"τ = {tau:g}")
    if len(step) < 2:
        style.note(ax, "fewer than two evaluations\nafter step 0")
        return
    top = max(ax.get_ylim()[1], 1.05, 1.05 * loss.max())  # panels of a grid share it
    ax.set(xlim=curves["step"].values[[int(curves["step"][0] == 0), -1]], ylim=(-0.02, top))
    style.readable_log_ticks(ax.xaxis)


def _growing(counts: NDArray[Any], n_subtasks: int) -> NDArray[np.bool_]:
    """Where the count can follow n ∝ N: something is learned, and something is left to learn."""
    return (counts >= 1) & (counts < n_subtasks)


def _choose(curves: xr.Dataset, axis: str, value: int | None, default: int) -> int:
    values = curves[axis].values
    if value is None:
        return int(values[default])
    if value not in values:
        raise ValueError(f"{axis} must be one of {', '.join(map(str, values))}, not {value}")
    return value
