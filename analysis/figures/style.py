"""How the figures look: style, colours, axes, legends, and how a figure is written to a file."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import matplotlib.style
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.axes import Axis
from quanta.analysis.fits.intervals import Interval
from quanta.analysis.learned.left import Left
from quanta.tasks.atomic import atomic_write

T = TypeVar("T")

Format = Literal["png", "svg", "pdf"]
"""File formats a figure can be written in."""

SINGLE_COLUMN = 3.5
"""Width of a single panel in inches."""

DOUBLE_COLUMN = 7.0
"""Width of a grid of panels in inches."""

DPI: dict[Format, int] = {"png": 200, "svg": 400, "pdf": 400}
"""Pixels per inch; in SVG and PDF of the few things that are stored as an image."""

_COLORBLIND = sns.color_palette("colorblind")
MEASURED, FITTED, THEORY = "black", _COLORBLIND[0], _COLORBLIND[1]
"""Colours of data, of what was fitted to them, and of what theory expects."""

THEORIES = (THEORY, _COLORBLIND[2], _COLORBLIND[4], _COLORBLIND[9])
"""Colours of several theories beside each other."""

GUIDE = "0.5"
"""Colour of reference lines, which hold no data."""

ORDERED_COLORS = ListedColormap(sns.color_palette("viridis", 280)[:256], name="ordered")
"""Colours of ranks and widths: viridis without the yellow, which fades on white."""

RANK_LABEL = "subtask (frequency rank)"
"""Name of an axis or a colour bar of ranks."""

LOSS_COLORS = "cividis"
"""Colours of a loss drawn as an area."""

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that files are the same everywhere
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    "legend.labelspacing": 0.25,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "svg.hashsalt": "quanta",
    "pdf.fonttype": 42,
}

# matplotlib's settings belong to the whole process: two threads that changed and restored them at once
# would leave each other's behind.
_settings = threading.RLock()


@contextmanager
def applied() -> Iterator[None]:
    """Use the style inside the block or the decorated function, and nowhere else.

    It starts from matplotlib's defaults, so that figures do not depend on the reader's own settings, which
    come back afterwards. One thread at a time is inside.
    """
    with _settings, matplotlib.style.context(sns.axes_style("ticks") | _RC, after_reset=True):
        yield


def new_axes(height: float = 2.7) -> Axes:
    """Make axes on a new single-column figure that no window system and no pyplot knows of."""
    return Figure(figsize=(SINGLE_COLUMN, height), layout="constrained").add_subplot()


def seed_colors(n_seeds: int) -> list[tuple[float, float, float]]:
    """Return shades of one colour, one a seed, the last the darkest."""
    return list(sns.color_palette("blend:#86bde8,#0a2f55", max(n_seeds, 2)))[-n_seeds:]


def log_norm(values: ArrayLike) -> LogNorm:
    """Map positive values to colours logarithmically, from the smallest to the largest."""
    low, high = float(np.min(values)), float(np.max(values))
    return LogNorm(low, high if high > low else 2 * low)


def thin(values: Sequence[T], n_most: int) -> list[T]:
    """Keep the last value and every, or every second, third ... before it: at most `n_most`."""
    return list(values[:: len(values) // -n_most])[::-1]


def ticks_125(low: float, high: float) -> list[float]:
    """Return the numbers 1, 2, 5, 10, 20, 50 ... from `low` to `high`."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = (float(f"{digit}e{exponent}") for exponent in exponents for digit in (1, 2, 5))
    return [value for value in values if low <= value <= high]


def readable_log_ticks(*axes: XAxis | YAxis) -> None:
    """Label logarithmic axes for their ranges: powers of ten if long, 1-2-5 if short, more if shorter.

    An axis shorter than a factor of 2.2 would have next to no ticks; it is widened. Other axes stay as they
    are.
    """
    for axis in axes:
        if axis.get_scale() != "log":
            continue
        low, high = axis.get_view_interval()
        if high / low < 2.2:
            middle = np.sqrt(low * high)
            low, high = middle / 1.5, middle * 1.5
            (axis.axes.set_xlim if isinstance(axis, XAxis) else axis.axes.set_ylim)(low, high)
        decades = np.log10(high / low)
        if decades > 2.5:
            axis.set_major_locator(LogLocator())
            axis.set_major_formatter(LogFormatterMathtext())
        else:
            axis.set_major_locator(LogLocator(subs=_digits(decades, isinstance(axis, XAxis))))
            plain = low >= 1e-3 and high < 1e5
            axis.set_major_formatter(FuncFormatter(_plain if plain else _with_power))
        axis.set_minor_locator(LogLocator(subs=tuple(range(2, 10))))
        axis.set_minor_formatter(NullFormatter())


def set_ticks(axis: XAxis | YAxis, values: Sequence[float]) -> None:
    """Mark these values on an axis and no others."""
    axis.set_ticks(list(values), labels=[f"{value:g}" for value in values])
    axis.set_minor_locator(NullLocator())


def draw_curves(ax: Axes, x: NDArray[Any], by_rank: NDArray[Any]) -> None:
    """Draw curves (rank, x) as thin lines coloured by rank from 1 up, the first on top; axis limits stay."""
    rank = np.arange(1, len(by_rank) + 1)
    points = np.stack([np.broadcast_to(x, by_rank.shape), by_rank], axis=-1)
    lines = LineCollection(
        list(points[::-1]),
        array=rank[::-1],
        cmap=ORDERED_COLORS,
        norm=log_norm(rank),
        linewidths=float(np.clip(40 / len(rank), 0.35, 0.8)),
        rasterized=len(rank) > 100,  # as paths they would be megabytes
    )
    ax.add_collection(lines, autolim=False)


def add_bar(panels: list[Axes], norm: LogNorm, label: str, values: Sequence[float]) -> None:
    """Add a colour bar of an ordered quantity beside the panels, marked at these values and no others."""
    bar = panels[0].figure.colorbar(ScalarMappable(norm, ORDERED_COLORS), ax=panels)
    bar.set_label(label)
    set_ticks(bar.ax.yaxis, values)


def add_rank_bar(panels: list[Axes], n_subtasks: int) -> None:
    """Add the colour bar of `draw_curves`."""
    add_bar(panels, log_norm((1, n_subtasks)), RANK_LABEL, ticks_125(1, n_subtasks))


def legend_above(ax: Axes, *, title: str | None = None, n_columns: int = 1) -> None:
    """Put the legend above the axes, where it covers no data."""
    ax.legend(
        *ax.get_legend_handles_labels(),
        loc="lower left",
        bbox_to_anchor=(0, 1.01),
        borderaxespad=0,
        ncols=n_columns,
        title=title,
        alignment="left",
    )


def note(ax: Axes, text: str) -> None:
    """Say in the middle of the axes what could not be drawn, and why."""
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 2}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.35", bbox=behind)


def instead(ax: Axes, text: str) -> Axes:
    """Say why nothing could be drawn, in axes without ticks; return them."""
    note(ax, text)
    ax.set(xticks=[], yticks=[])
    ax.minorticks_off()
    return ax


def draw_seeds(
    ax: Axes, x: NDArray[Any], by_seed: NDArray[Any], mean: NDArray[np.float64], mean_name: str
) -> None:
    """Draw values (seed, x) as light dots, their range as a band, and their mean over seeds, given, dark."""
    if len(by_seed) == 1:
        ax.plot(x, by_seed[0], "o", color=MEASURED, label="1 seed")
        return
    ax.fill_between(x, by_seed.min(axis=0), by_seed.max(axis=0), color="0.9", linewidth=0)
    at = np.broadcast_to(x, by_seed.shape)
    ax.plot(at.ravel(), by_seed.ravel(), "o", color="0.65", markersize=2.5, label=f"{len(by_seed)} seeds")
    ax.plot(x, mean, "o", color=MEASURED, label=f"{mean_name} (band: lowest to highest)")


def draw_seed_lines(
    ax: Axes, x: NDArray[Any], by_seed: NDArray[Any], mean: NDArray[np.float64], mean_name: str
) -> None:
    """Draw curves (seed, x) as light lines, and their mean over seeds, given, dark."""
    if len(by_seed) == 1:
        ax.plot(x, by_seed[0], color=MEASURED, label="1 seed")
        return
    ax.plot(x, by_seed.T, color="0.7", linewidth=0.8)
    ax.lines[-1].set_label(f"{len(by_seed)} seeds")
    ax.plot(x, mean, color=MEASURED, label=mean_name)


def learned_at(axis: Axis) -> str:
    """Name the step, or the number of examples, at which subtask k is learned."""
    return f"{axis.name}$_k$"


def no_places(axis: Axis) -> str:
    """Say that a resource has no place at all, such as training examples without end."""
    return f"no number of {axis.title} to show"


def no_curve(axis: Axis) -> str:
    """Say that a resource does not vary enough."""
    return f"fewer than three values of {axis.name}"


def n_seeds(n: int) -> str:
    """Say how many."""
    return f"{n} seed{'s' * (n != 1)}"


def dots(ax: Axes, x: NDArray[Any], y: NDArray[Any], marker: str, **look: Any) -> None:
    """Draw dots, and none where there are none, so that every line of a figure holds data."""
    if x.size:
        ax.plot(x, y, marker, **look)


def heading_of(left: Left, *, every_width: bool = False) -> str:
    """Say which networks of a slice a figure shows: those of the widest, or of every width."""
    seeds = f"seed {left.seed[0]}" if left.seed.size == 1 else f"{left.seed.size} seeds"
    return seeds if every_width else f"width {left.width[-1]}, {seeds}"


def heading(width: int, seeds: NDArray[Any]) -> str:
    """Say what a figure of one width shows."""
    return f"width {width}, " + (f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds (shades)")


def say_in_legend(ax: Axes, text: str) -> None:
    """Add a line of text to the legend."""
    ax.plot([], [], " ", label=text)


def number(value: float, digits: int = 2) -> str:
    """Format with a true minus sign, and none before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def interval(found: Interval, digits: int = 2) -> str:
    """Format an estimate with its interval, where there is one."""
    if not np.isfinite(found.estimate):
        return "not known"
    if found.lower is None or found.upper is None:
        return number(found.estimate, digits)
    return f"{number(found.estimate, digits)} [{number(found.lower, digits)}, {number(found.upper, digits)}]"


def span(values: NDArray[Any], digits: int = 0) -> str:
    """Say from where to where values go, or the one value they all have."""
    low, high = number(values.min(), digits), number(values.max(), digits)
    return low if low == high else f"{low} to {high}"


def geometric_mean(values: NDArray[Any]) -> float:
    """Return the mean on a logarithmic axis."""
    return float(np.exp(np.log(values).mean()))


def write(figure: Figure, path: str | os.PathLike[str], format: Format, description: str = "") -> None:
    """Write a figure, whole or not at all; the same figure gives the same bytes."""
    metadata: dict[Format, dict[str, str | None]] = {
        "png": {"Description": description},
        "svg": {"Description": description, "Date": None},
        "pdf": {"Subject": description, "CreationDate": None},
    }
    said = {name: value for name, value in metadata[format].items() if value != ""}
    with applied(), atomic_write(path) as temporary:
        figure.savefig(temporary, format=format, dpi=DPI[format], metadata=said)


def _digits(decades: float, is_x: bool) -> tuple[int, ...]:
    """Return the first digits of ticks; numbers side by side need more room than one above the other."""
    if decades > 1:
        return 1, 2, 5
    if decades > 0.6:
        return 1, 2, 3, 5
    return (1, 2, 3, 4, 5, 6, 8) if is_x else tuple(range(1, 10))


def _plain(value: float, _position: int | None = None) -> str:
    return f"{value:g}"


def _with_power(value: float, _position: int | None = None) -> str:
    exponent = int(np.floor(np.log10(value) + 1e-9))
    digit = round(value / 10.0**exponent)
    return rf"$10^{{{exponent}}}$" if digit == 1 else rf"${digit}{{\times}}10^{{{exponent}}}$"
