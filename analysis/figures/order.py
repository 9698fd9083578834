"""The figures of the Q Sequence: whether networks agree on an order, and which it is.

One function each, of a slice, as in `analysis.figures`.
"""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis.figures import style
from quanta.analysis.learned.agreement import consensus_order, summarize_q_sequence
from quanta.analysis.learned.times import count_learned, learning_times

_FINEST = 1e-3
"""The axis of shares is linear below this, so that it can show 0."""

_ASIDE = 1.03
"""Factor in width by which series are set apart, so that their intervals do not cover each other."""


@style.applied()
def plot_agreement(
    curves: xr.Dataset, ax: Axes | None = None, *, tau: float = 0.1, confidence: float = 0.9
) -> Axes:
    """Draw the share of pairs of subtasks out of order: by frequency, between seeds, and between widths.

    Each is 1 less a statistic of `analysis.summarize_q_sequence`, with its interval over seeds. The widths of
    a seed give one number, drawn as a line with a band. Nothing is drawn where no pair is comparable.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    confidence : float, default 0.9
        Nominal coverage of the intervals, between 0 and 1.
    """
    ax = ax or style.new_axes(height=3.0)
    widths, seeds = curves["width"].values, curves["seed"].values
    table = summarize_q_sequence(learning_times(curves, tau), confidence=confidence)
    ax.set(xscale="log", xlabel="width", ylabel="share of pairs out of order")
    ax.set(xlim=(widths[0] / 1.15, widths[-1] * 1.15), ylim=(-_FINEST / 4, 1.2))
    ax.set_yscale("symlog", linthresh=_FINEST, linscale=0.4)
    style.set_ticks(ax.yaxis, [0, 0.001, 0.01, 0.1, 0.5, 1])
    ax.axhline(0.5, color=style.GUIDE, linestyle="--", zorder=1, label="no order: 0.5")
    of = dict(list(table.groupby("statistic")))
    _draw_disorder(ax, of["concordance"], "o", style.MEASURED, 1 / _ASIDE, "by frequency")
    _draw_disorder(ax, of["agreement_between_seeds"], "s", style.FITTED, _ASIDE, "between seeds")
    estimate, lower, upper = of["agreement_between_widths"][["estimate", "lower", "upper"]].to_numpy()[0]
    if np.isfinite(estimate):
        label = "between widths of a seed"
        ax.axhline(1 - estimate, color=style.THEORY, linewidth=1, zorder=0, label=label)
        ax.axhspan(1 - upper, 1 - lower, color=style.THEORY, alpha=0.2, linewidth=0, zorder=0)
    if of["concordance"]["estimate"].isna().all():
        style.note(ax, "no pair to compare")
    style.readable_log_ticks(ax.xaxis)
    style.legend_above(ax, title=_heading(None, seeds, confidence), n_columns=2)
    return ax


@style.applied()
def plot_consensus(
    curves: xr.Dataset,
    ax: Axes | None = None,
    *,
    width: int | None = None,
    tau: float = 0.1,
    confidence: float = 0.9,
) -> Axes:
    """Draw the mean rank of learning over seeds, with its interval, against the rank by frequency.

    A subtask that a seed did not learn takes part with the mean of the ranks that this seed left: the dotted
    line is where those are that no seed learned.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    width : int, optional
        The widest if left out.
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    confidence : float, default 0.9
        Nominal coverage of the intervals, between 0 and 1.
    """
    ax = ax or style.new_axes(height=3.2)
    times = learning_times(curves, tau)
    order = consensus_order(times, width, confidence=confidence)
    width = int(curves["width"].values[-1]) if width is None else width
    n_seeds, n_subtasks = curves.sizes["seed"], curves.sizes["subtask"]
    limits = (0.9, 1.15 * n_subtasks)
    ax.set(xlabel=style.RANK_LABEL, ylabel="mean rank of learning")
    ax.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    for axis in (ax.xaxis, ax.yaxis):
        style.set_ticks(axis, style.ticks_125(1, n_subtasks))
    by_all = order["n_seeds_learned"] == n_seeds
    kinds = (("learned by all seeds", by_all, style.MEASURED), ("learned by some", ~by_all, "white"))
    for label, chosen, color in kinds:
        some = order[chosen]
        if not some.empty:
            at = some["subtask"]
            ax.vlines(at, some["lower"], some["upper"], color="0.65", linewidth=0.9, zorder=1)
            ax.plot(at, some["mean_rank"], "o", color=style.MEASURED, mfc=color, ms=3.5, label=label)
    if order.empty:
        style.note(ax, "nothing learned")
    else:
        ax.plot([1, n_subtasks], [1, n_subtasks], "--", color=style.GUIDE, zorder=0, label="order = rank")
    if 0 < len(order) < n_subtasks:
        n_learned = float(count_learned(times).sel(width=width).mean())
        at_last = (n_learned + 1 + n_subtasks) / 2
        ax.axhline(
            at_last, color=style.GUIDE, linestyle=":", linewidth=0.9, zorder=0, label="learned by none"
        )
    title = _heading(width, curves["seed"].values, confidence)
    style.legend_above(ax, title=title, n_columns=2)
    return ax


def _draw_disorder(
    ax: Axes, agreement: pd.DataFrame, marker: str, color: Any, aside: float, label: str
) -> None:
    """Draw 1 less an agreement against width, with its intervals."""
    known = agreement[agreement["estimate"].notna()]
    if known.empty:
        return
    at = known["width"].to_numpy(np.float64) * aside
    ax.vlines(at, 1 - known["upper"], 1 - known["lower"], color=color, linewidth=0.9, alpha=0.6, zorder=2)
    ax.plot(at, 1 - known["estimate"], marker, color=color, markersize=3.5, label=label)


def _heading(width: int | None, seeds: NDArray[Any], confidence: float) -> str:
    parts = [] if width is None else [f"width {width}"]
    if len(seeds) == 1:
        parts += [f"seed {seeds[0]}", "no intervals"]
    else:
        parts += [f"{len(seeds)} seeds", f"{confidence:.0%} intervals"]
    return ", ".join(parts)
