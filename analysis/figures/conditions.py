"""Exponents of the loss as functions of a condition, beside what theories predict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quanta.analysis.figures import style
from quanta.analysis.verdict.conditions import PREDICTIONS, Compared, Conditions, Row
from quanta.study.axes import ALPHA, symbol_of

_TITLES = {
    "alpha": "quanta exponent α",
    "n_subtasks": "number of subtasks K",
    "n_bits": "bits of a sample",
    "batch_size": "batch size",
    "learning_rate": "learning rate",
}

_LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "infinite": ("infinite K", {"color": style.GUIDE, "linestyle": "--"}),
    "finite": ("finite K, at the fitted constants", {"color": style.THEORY, "linestyle": "-"}),
    "serial": ("one after another, finite K", {"color": style.THEORIES[1], "linestyle": ":"}),
}
"""What each prediction is called, and how it is drawn."""


@style.applied()
def plot_exponents_by_condition(found: Conditions) -> Figure:
    """Draw every exponent of the loss against a condition, with intervals, and three predictions.

    A column an exponent. The condition along x is α where it varies, else the first that does; where others
    vary too, each of their values has a row. Predictions are known at the slices, and joined by lines. Slices
    of uniform frequencies have no α and are left out where that is x.

    Parameters
    ----------
    found : Conditions
        From `quanta.analysis.compare_conditions`.
    """
    along = ALPHA.name if ALPHA.name in found.varied else next(iter(found.varied), ALPHA.name)
    groups: dict[str, list[Row]] = {}
    for row in found.rows:
        if isinstance(row.condition[along], int | float):
            others = [name for name in found.varied if name != along]
            title = ", ".join(f"{symbol_of(name)} = {row.condition[name]}" for name in others)
            groups.setdefault(title, []).append(row)
    n_columns, n_rows = max(1, len(found.exponents)), max(1, len(groups))
    size = (style.DOUBLE_COLUMN * max(n_columns, 1.2) / 2, 0.7 + 2.3 * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    for ax in panels.flat:
        ax.set(xlabel=_TITLES.get(along, along))
    for column, name in zip(panels.T, found.exponents, strict=False):
        for ax, (title, rows) in zip(column, groups.items(), strict=False):
            ax.set(title=title, ylabel=f"exponent of the loss along {name.removeprefix('alpha_')}")
            _draw(ax, rows, name, along, found.confidence)
    if not groups or not found.exponents:
        style.instead(panels[0, 0], "no exponent to show")
        return figure
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def _draw(ax: Axes, rows: Sequence[Row], name: str, along: str, confidence: float) -> None:
    """Draw one exponent of a group of slices."""
    known = [(row.condition[along], row.exponents[name]) for row in rows if name in row.exponents]
    known = sorted(known, key=lambda pair: float(pair[0]))
    x = np.array([float(value) for value, _ in known])
    for prediction in PREDICTIONS:
        label, look = _LINES[prediction]
        y = _values(known, prediction)
        there = np.isfinite(y)
        ax.plot(x[there], y[there], label=label, marker=".", markersize=3, zorder=1, **look)
    estimate, lower, upper = (_values(known, part) for part in ("estimate", "lower", "upper"))
    ax.vlines(x, lower, upper, color=style.MEASURED, linewidth=0.9, zorder=2)
    n = {row.n_seeds for row in rows}
    seeds = f"{min(n)} to {max(n)} seeds" if len(n) > 1 else style.n_seeds(min(n))
    label = f"measured, {100 * confidence:.6g}% intervals over {seeds}" if max(n) > 1 else "measured, 1 seed"
    ax.plot(x, estimate, "o", color=style.MEASURED, label=label, zorder=3)
    if not np.isfinite(estimate).any():
        style.note(ax, f"{name} is not known")
    if along != ALPHA.name:
        ax.set_xscale("log")
        style.set_ticks(ax.xaxis, sorted(set(x)))
    elif x.size:
        style.set_ticks(ax.xaxis, sorted(set(x)))


def _values(known: Sequence[tuple[Any, Compared]], part: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = [getattr(one, part) for _, one in known]
    return np.array([np.nan if value is None else value for value in values])
