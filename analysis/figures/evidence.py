"""The figures of the evidence for quanta: final values, drops, and the reconstruction against chance.

As those of `analysis.figures`: `(curves, ax=None, **options) -> Axes` on a slice of Curves. A width that is
not in the slice is a ValueError.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from quanta.analysis.learned.discreteness import (
    HIGH,
    LOW,
    METRICS,
    MIDDLE,
    exponential_drop,
    logistic_drop,
    measure_discreteness,
    rescale,
    ridge_drop,
)
from quanta.analysis.learned.reconstruction import measure_reconstruction

from quanta.analysis.figures import style
from quanta.analysis.learned.times import final_loss, learning_times

_NAMES = {"loss": "loss in bits", "accuracy": "2 (1 − accuracy)", "brier": "4 × Brier score"}
_COLORS = (style.MEASURED, style.FITTED, style.THEORY)

_BIN, _LARGEST = 0.05, 1.3
"""Width of a bar, and where the last one ends, which counts all that is larger: sure and wrong."""

_SPAN = 30.0
"""Largest factor in steps from the middle of a drop that is drawn: a ridge-type filter is then at .005."""


@style.applied()
def plot_final_values(curves: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw how the final values of all subtasks and networks are distributed, in every metric there is.

    All are on one scale: 1 is chance and 0 is perfect. The axis of shares is logarithmic, since on a ladder
    of widths most networks learn few subtasks.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    """
    ax = ax or style.new_axes()
    edges = np.arange(0, _LARGEST + _BIN / 2, _BIN).tolist()
    ax.axvspan(LOW, HIGH, color="0.94", linewidth=0)
    there = [metric for metric in METRICS if metric in curves]
    for metric, color in zip(there, _COLORS, strict=False):
        values = final_loss(rescale(curves, metric)).values.ravel()
        between = ((values > LOW) & (values < HIGH)).mean()
        label = f"{_NAMES[metric]}: {style.number(100 * between, 1)}% between {LOW:g} and {HIGH:g}"
        weights = np.full(values.size, 1 / values.size)
        ax.hist(
            np.clip(values, 0, _LARGEST), edges, weights=weights, histtype="step", color=color, label=label
        )
    one = 1 / curves["loss"].isel(step=0).size  # the share of a single value
    ax.set(yscale="log", xlim=(0, _LARGEST), ylim=(min(one, 0.01) / 2, 1.5))
    ax.set(xlabel="final value (0 perfect, 1 chance)", ylabel="share of subtasks and networks")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    style.legend_above(ax)
    return ax


@style.applied()
def plot_drops(curves: xr.Dataset, ax: Axes | None = None, *, width: int | None = None) -> Axes:
    """Draw the loss of every learned subtask of one width against steps, aligned where it crosses one half.

    Beside them are the drop of a skill in the multilinear model, and those of a mode in gradient flow and
    behind a ridge-type filter, which learn without quanta (`analysis.discreteness`). Nothing is fitted but
    the place of the crossing.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    width : int, optional
        The widest if left out.
    """
    ax = ax or style.new_axes(height=3.4)
    width = int(curves["width"][-1]) if width is None else width
    if width not in curves["width"].values:
        raise ValueError(f"width must be one of {', '.join(map(str, curves['width'].values))}, not {width}")
    one = curves.sel(width=[width])
    done, halfway = (learning_times(one, threshold).isel(width=0) for threshold in (LOW, MIDDLE))
    learned = done["learned"].values & (halfway["step_lower"].values > 0)
    drawn = one["loss"].isel(width=0, step=one["step"].values > 0).transpose("seed", "subtask", "step")
    for crossing, here, loss in zip(halfway["step"].values, learned, drawn.values, strict=True):
        style.draw_curves(ax, drawn["step"].values / np.where(here, crossing, np.nan)[:, None], loss)
    ax.set(xscale="log", xlim=(1 / _SPAN, _SPAN), ylim=(-0.02, 1.1))
    ax.set(xlabel="step / step of the crossing", ylabel="loss (bits)")
    found = measure_discreteness(one, metrics=("loss",))["loss"].drop_factor
    if found is None:
        style.note(ax, "no drop")
    else:
        x = np.geomspace(1 / _SPAN, _SPAN, 200)
        ax.plot(x, logistic_drop(x), color=style.THEORY, label="skill of the multilinear model (factor 2.9)")
        ax.plot(x, exponential_drop(x), "--", color=style.THEORY, label="exponential mode (factor 22)")
        ax.plot(x, ridge_drop(x), ":", color=style.THEORY, label="mode of a ridge-type filter (factor 40)")
        label = f"measured: factor {style.number(found.estimate, 1)} from {HIGH:g} to {LOW:g} bit"
        style.say_in_legend(ax, label)
    seeds = "1 seed" if len(learned) == 1 else f"{len(learned)} seeds"
    heading = f"width {width}, {learned.sum()} drops in {seeds}"
    style.legend_above(ax, title=heading)
    style.readable_log_ticks(ax.xaxis)
    style.add_rank_bar([ax], curves.sizes["subtask"])
    return ax


@style.applied()
def plot_reconstruction_null(curves: xr.Dataset, ax: Axes | None = None, *, tau: float = 0.1) -> Axes:
    """Draw how far the rebuilt loss is from the measured one, and how far it is by chance.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    """
    ax = ax or style.new_axes()
    found = measure_reconstruction(curves, learning_times(curves, tau))
    ax.set(xlabel="RMS of log measured − log rebuilt loss", ylabel="permutations")
    if not found.n_networks:
        style.note(ax, "everything learned")
        return ax
    nulls = (
        ("any subtasks, as many", found.null_of_sets, style.GUIDE),
        ("frequencies exchanged", found.null_of_frequencies, style.FITTED),
    )
    largest = max(0.1, found.rms_gap, *(null.rms_gap.max() for _, null, _ in nulls))
    edges = np.linspace(0, 1.05 * largest, 60).tolist()
    for name, null, color in nulls:
        label = f"{name} (p = {null.p_value:.2g})"
        ax.hist(null.rms_gap, edges, histtype="stepfilled", color=color, alpha=0.6, label=label)
    label = f"measured: {style.number(found.rms_gap)} ({found.n_networks} networks)"
    ax.axvline(found.rms_gap, color=style.MEASURED, label=label)
    ax.set_xlim(0, edges[-1])
    style.legend_above(ax)
    return ax
