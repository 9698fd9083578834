"""Every figure of a slice, written to a folder."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import cast, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quanta.analysis.discovery.network import Clusters, Discovery
from quanta.analysis.figures import style
from quanta.analysis.figures.beta import plot_beta
from quanta.analysis.figures.budget import plot_budget, plot_exponent_parts
from quanta.analysis.figures.count import plot_count
from quanta.analysis.figures.data import Data, measured
from quanta.analysis.figures.discovery import plot_contingency, plot_rank_frequency, plot_similarity
from quanta.analysis.figures.drops import plot_drops, plot_drops_by_metric
from quanta.analysis.figures.emergence import plot_emergence_map
from quanta.analysis.figures.expected import expect_loss
from quanta.analysis.figures.learning import plot_learning_curves_grid
from quanta.analysis.figures.loss import plot_loss
from quanta.analysis.figures.order import plot_agreement, plot_consensus, plot_q_sequence
from quanta.analysis.figures.scaling import plot_scaling_fits, plot_windows
from quanta.analysis.figures.times import plot_drift, plot_learning_times
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.verdict.statistics import Statistics
from quanta.tasks.numerics import own_errors

Drawing = Callable[[Statistics], Axes | Figure]

OF_SLICE: dict[str, Drawing] = {
    "learning_curves": plot_learning_curves_grid,
    "drops": plot_drops,
    "drops_by_metric": plot_drops_by_metric,
    "q_sequence": plot_q_sequence,
    "consensus": plot_consensus,
    "agreement": plot_agreement,
}

ALONG: dict[str, tuple[Callable[..., Axes], tuple[str, ...]]] = {
    "emergence_map": (plot_emergence_map, ("width", "step", "n_train")),
    "loss": (plot_loss, ("width", "step", "n_train")),
    "count": (plot_count, ("width", "step", "n_train")),
    "budget": (plot_budget, ("width", "step", "n_train")),
    "exponent_parts": (plot_exponent_parts, ("width", "step", "n_train")),
    "windows": (plot_windows, ("width", "step", "n_train")),
    "scaling_fits": (plot_scaling_fits, ("width", "step", "n_train")),
    "learning_times": (plot_learning_times, ("step", "n_train")),
    "drift": (plot_drift, ("step", "n_train")),
    "beta": (plot_beta, ("width", "step")),
}
"""Figures along an axis, and the dimensions along which each is drawn."""

_WITH_THEORY = ("loss", "windows")


def drawings(statistics: Statistics) -> Iterator[tuple[str, Drawing]]:
    """Name every figure of a slice, with the function that draws it.

    Yields
    ------
    (str, callable)
        Along every axis with three places or more; what theory expects is the multilinear model at constants
        that are fitted to times and counts.
    """
    yield from OF_SLICE.items()
    for axis in (one.axis for one in statistics.base.traces.values()):
        expected = expect_loss(statistics, axis, Multilinear)
        for name, (draw, dims) in ALONG.items():
            if axis.dim in dims:
                options = {"expected": expected} if name in _WITH_THEORY else {}
                yield f"{name}_{axis.name}", partial(draw, axis=axis, **options)


@own_errors()
def save_figures(
    data: Data, folder: str | os.PathLike[str], *, format: style.Format = "png", description: str = ""
) -> list[Path]:
    """Draw and write every figure of a slice, along each axis with three places or more.

    Parameters
    ----------
    data : Dataset or Statistics, of a slice
        Curves are measured once, at τ = 0.1; for another τ take what `quanta.analysis.measure` returns.
    folder : path-like
        Made if it is not there.
    format : {"png", "svg", "pdf"}, default "png"
        Text stays text in SVG and PDF.
    description : str, optional
        What the figures are of, for the metadata of their files.

    Returns
    -------
    list of Path
        The names are those of the functions, with the axis behind them where they have one: `loss_N.png`.
        What cannot be drawn says why in its picture. The same curves give the same bytes.

    Raises
    ------
    ValueError
        If there is no such format.
    """
    if format not in get_args(style.Format):
        raise ValueError(f"format must be one of {', '.join(get_args(style.Format))}, not {format!r}")
    statistics = measured(data)
    paths = []
    for name, draw in drawings(statistics):
        drawn = draw(statistics)
        figure = drawn if isinstance(drawn, Figure) else cast(Figure, drawn.figure)
        paths.append(Path(folder) / f"{name}.{format}")
        style.write(figure, paths[-1], format, description)
    return paths


OF_NETWORK: dict[str, Callable[[Clusters], Axes]] = {
    "similarity": plot_similarity,
    "contingency": plot_contingency,
    "rank_frequency": plot_rank_frequency,
}


@own_errors()
def save_discovery(found: Discovery, folder: str | os.PathLike[str], description: str = "") -> list[Path]:
    """Draw and write the figures of quanta found in one network, one of each kind for each affinity.

    Parameters
    ----------
    found : Discovery
    folder : path-like
        Made if it is not there.
    description : str, optional
        What they are of, for the metadata of their files.

    Returns
    -------
    list of Path
        PNG files, such as ``similarity_cos4.png``.
    """
    paths = []
    for affinity, clusters in found.clusters.items():
        for name, draw in OF_NETWORK.items():
            paths.append(Path(folder) / f"{name}_{affinity}.png")
            style.write(cast(Figure, draw(clusters).figure), paths[-1], "png", description)
    return paths
