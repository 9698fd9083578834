"""The exponent β of learning times against frequency, along an axis."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis
from quanta.analysis.figures import style
from quanta.analysis.figures.data import Data, measured
from quanta.analysis.verdict.growth import beta_window
from quanta.analysis.verdict.tables import tabulate_time_laws, tabulate_time_laws_until

Array = NDArray[np.float64]

_ASIDE = 1.03
"""Factor in x by which series are set apart, so that their intervals do not cover each other."""
_RANGE = (-0.5, 2.5)
"""Of the axis of β at most; beyond it are slopes of too few points."""
_SERIES: tuple[tuple[str, str, str, Any, float], ...] = (
    ("first", "first half of the ranks", "s", style.FITTED, 1 / _ASIDE),
    ("beta", "all ranks", "o", style.MEASURED, 1.0),
    ("later", "later half of the ranks", "^", style.THEORY, _ASIDE),
)
"""Column of the tables, what it is called, and how it is drawn."""


@style.applied()
def plot_beta(data: Data, ax: Axes | None = None, *, axis: Axis = axes.S, confidence: float = 0.9) -> Axes:
    """Draw β in S_k ∝ p_k^-β along an axis: of all ranks learned, and of their first and later half.

    Along S it is that of the widest network, had training ended there; along N that of every width. The band
    is where β has to lie, and the dotted line is learning one after another.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
    ax : Axes, optional
    axis : Axis, default S
        S or N.
    confidence : float, default 0.9
        Nominal coverage of intervals over seeds.

    Raises
    ------
    ValueError
        If the axis is another.
    """
    if axis.dim not in ("step", "width"):
        raise ValueError(f"axis must be S or N to have learning times along it, not {axis.name}")
    ax = ax or style.new_axes(height=3.0)
    statistics = measured(data)
    along_s = axis.dim == "step"
    table = (tabulate_time_laws_until if along_s else tabulate_time_laws)(statistics, confidence)
    x = table["step"].to_numpy() if along_s and len(table) else statistics.base.left.values(axis)
    label = "step at which training ends" if along_s else axis.label
    ax.set(xlabel=label, ylabel="β in S$_k$ ∝ p$_k$$^{-β}$")
    if not _draw(ax, table, x):
        return style.instead(ax, "too few learned to measure β")
    low, high = beta_window(statistics.here)
    ax.axhspan(low, high, color="0.92", linewidth=0, zorder=0, label=f"β = 1 ± {style.number(high - 1)}")
    serial = statistics.base.serial_beta
    if np.isfinite(serial):
        text = f"one after another: {style.number(serial)}"
        ax.axhline(serial, color=style.GUIDE, linestyle=":", label=text, zorder=1)
    ax.set_xscale("log")
    bottom, top = ax.get_ylim()
    ax.set_ylim(max(bottom, _RANGE[0]), min(top, _RANGE[1]))
    style.readable_log_ticks(ax.xaxis)
    style.legend_above(ax, title=style.heading_of(statistics.base.left, every_width=not along_s), n_columns=2)
    return ax


def _draw(ax: Axes, table: pd.DataFrame, x: Array) -> bool:
    """Draw the columns of a table of laws with their intervals at x (n,); return whether any is known."""
    drawn = False
    if table.empty:
        return drawn
    for name, label, marker, color, aside in _SERIES:
        known = table[table[name].notna()]
        if known.empty:
            continue
        at = x[table[name].notna()] * aside
        lower, upper = (known[f"{name}_{end}"].astype(np.float64) for end in ("lower", "upper"))
        ax.vlines(at, lower, upper, color=color, linewidth=0.9, alpha=0.6, zorder=2)
        ax.plot(at, known[name].to_numpy(np.float64), marker + "-", color=color, ms=3.5, lw=0.7, label=label)
        drawn = True
    return drawn
