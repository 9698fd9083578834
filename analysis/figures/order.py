"""The Q Sequence: the order in which one network learns, whether networks agree on it, and which it is."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, choose, measured
from quanta.analysis.learned.agreement import consensus_order, summarize_q_sequence
from quanta.analysis.learned.order import tabulate_q_sequence

_FINEST = 1e-3
"""The axis of shares is linear below this, so that it can show 0."""

_ASIDE = 1.03
"""Factor in width by which series are set apart, so that their intervals do not cover each other."""


@style.applied()
def plot_q_sequence(data: Data, ax: Axes | None = None, *, width: int | None = None) -> Axes:
    """Draw the order in which subtasks were learned against their rank, at one width.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    width : int, optional
        The widest if left out.

    Raises
    ------
    ValueError
        If there is no such width.
    """
    ax = ax or style.new_axes(height=3.0)
    here = measured(data).here
    place = choose("width", here.times["width"].values, width, -1)
    table = tabulate_q_sequence(here.times.isel(width=[place])).query("learned")
    n_subtasks, seeds = here.times.sizes["subtask"], here.times["seed"].values
    top = n_subtasks if table.empty else int(table[["subtask", "order"]].to_numpy(float).max())
    limits = (0.5 - 0.03 * top, top + 0.5 + 0.03 * top)
    ax.set(xlabel=style.RANK_LABEL, ylabel="order learned", xlim=limits, ylim=limits)
    for direction in (ax.xaxis, ax.yaxis):
        direction.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.plot([1, top], [1, top], "--", color=style.GUIDE, zorder=1, label="order = rank")
    for seed, color in zip(seeds, style.seed_colors(len(seeds)), strict=True):
        one = table[table["seed"] == seed]
        order = one["order"].to_numpy(float)
        style.dots(ax, one["subtask"].to_numpy(float), order, "o", color=color, ms=3.5, alpha=0.7)
    label = f"{style.span(here.n_learned[:, place])} of {n_subtasks} learned"
    agreement = here.concordance[:, place]
    agreement = agreement[np.isfinite(agreement)]
    style.say_in_legend(ax, f"{label}, concordance {style.span(agreement, 3)}" if agreement.size else label)
    if table.empty:
        style.note(ax, "nothing learned")
    style.legend_above(ax, title=style.heading(int(here.times["width"][place]), seeds))
    return ax


@style.applied()
def plot_agreement(data: Data, ax: Axes | None = None, *, confidence: float = 0.9) -> Axes:
    """Draw the share of pairs of subtasks out of order: by frequency, between seeds, and between widths.

    Each is 1 less a statistic of `quanta.analysis.learned.agreement.summarize_q_sequence`, with its interval
    over seeds. The widths of a seed give one number, drawn as a line with a band. Nothing is drawn where no
    pair is comparable.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    confidence : float, default 0.9
        Nominal coverage of the intervals, between 0 and 1.
    """
    ax = ax or style.new_axes(height=3.0)
    times = measured(data).here.times
    widths = times["width"].values
    table = summarize_q_sequence(times, confidence=confidence)
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
    style.legend_above(ax, title=_heading(None, times["seed"].values, confidence), n_columns=2)
    return ax


@style.applied()
def plot_consensus(
    data: Data, ax: Axes | None = None, *, width: int | None = None, confidence: float = 0.9
) -> Axes:
    """Draw the mean rank of learning over seeds, with its interval, against the rank by frequency.

    A subtask that a seed did not learn takes part with the mean of the ranks that this seed left: the dotted
    line is where those are that no seed learned.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    width : int, optional
        The widest if left out.
    confidence : float, default 0.9
        Nominal coverage of the intervals, between 0 and 1.

    Raises
    ------
    ValueError
        If there is no such width.
    """
    ax = ax or style.new_axes(height=3.2)
    here = measured(data).here
    place = choose("width", here.times["width"].values, width, -1)
    width = int(here.times["width"][place])
    order = consensus_order(here.times, width, confidence=confidence)
    n_seeds, n_subtasks = here.times.sizes["seed"], here.times.sizes["subtask"]
    limits = (0.9, 1.15 * n_subtasks)
    ax.set(xlabel=style.RANK_LABEL, ylabel="mean rank of learning")
    ax.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    for direction in (ax.xaxis, ax.yaxis):
        style.set_ticks(direction, style.ticks_125(1, n_subtasks))
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
        at_last = (here.n_learned[:, place].mean() + 1 + n_subtasks) / 2
        ax.axhline(
            at_last, color=style.GUIDE, linestyle=":", linewidth=0.9, zorder=0, label="learned by none"
        )
    style.legend_above(ax, title=_heading(width, here.times["seed"].values, confidence), n_columns=2)
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
        parts += [f"{len(seeds)} seeds", f"{100 * confidence:.6g}% intervals"]
    return ", ".join(parts)
