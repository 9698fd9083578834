"""Clusters of gradients: how alike samples are, which subtasks clusters hold, and how large they are."""

import numpy as np
from matplotlib.axes import Axes

from quanta.analysis.discovery.network import Clusters
from quanta.analysis.discovery.zipf import fit_zipf
from quanta.analysis.figures import style

_SHOWN = 400
"""Samples that are drawn at the most, evenly from all."""

_NULLS = {
    "equal": ("equal frequencies", style.THEORIES[0]),
    "hidden": ("activations", style.THEORIES[1]),
    "input": ("input", style.THEORIES[2]),
    "untrained": ("step 0", style.THEORIES[3]),
}


@style.applied()
def plot_similarity(data: Clusters, ax: Axes | None = None) -> Axes:
    """Draw how alike samples are, ordered by cluster and within it by subtask.

    Parameters
    ----------
    data : Clusters
    ax : Axes, optional
    """
    ax = ax or style.new_axes(height=3.3)
    order = np.lexsort((data.subtask, data.cluster))
    order = order[:: max(1, -(-order.size // _SHOWN))]
    shown = data.affinity[np.ix_(order, order)]
    # Affinities of two samples hardly ever come near 1, but with themselves, and some never to 0.
    low, high = np.percentile(shown[~np.eye(len(shown), dtype=bool)], [1, 99])
    image = ax.imshow(
        shown, cmap=style.LOSS_COLORS, vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest"
    )
    ends = np.flatnonzero(np.diff(data.cluster[order])) + 0.5
    ax.hlines(ends, -0.5, order.size - 0.5, color="white", linewidth=0.3)
    ax.vlines(ends, -0.5, order.size - 0.5, color="white", linewidth=0.3)
    ax.set(xlabel="sample, by cluster", ylabel="sample, by cluster", xticks=[], yticks=[])
    ax.figure.colorbar(image, ax=ax, label="affinity", shrink=0.85, extend="both")
    return ax


@style.applied()
def plot_contingency(data: Clusters, ax: Axes | None = None) -> Axes:
    """Draw which share of the samples of each subtask is in each cluster.

    Parameters
    ----------
    data : Clusters
    ax : Axes, optional
    """
    ax = ax or style.new_axes(height=3.0)
    subtasks, place = np.unique(data.subtask, return_inverse=True)
    counts = np.zeros((subtasks.size, int(data.cluster.max()) + 1))
    np.add.at(counts, (place, data.cluster), 1)
    image = ax.imshow(
        counts / counts.sum(axis=1, keepdims=True),
        cmap=style.LOSS_COLORS,
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    ax.set(xlabel="cluster (rank by size)", ylabel=style.RANK_LABEL)
    at = style.thin(list(range(subtasks.size)), 20)
    ax.set_yticks(at, labels=[str(subtasks[i] + 1) for i in at])
    columns = style.thin(list(range(counts.shape[1])), 12)
    ax.set_xticks(columns, labels=[str(i + 1) for i in columns])
    ax.figure.colorbar(image, ax=ax, label="share of the subtask's samples", shrink=0.85)
    return ax


@style.applied()
def plot_rank_frequency(data: Clusters, ax: Axes | None = None) -> Axes:
    """Draw sizes of clusters against their rank, beside the true ones and the nulls.

    Parameters
    ----------
    data : Clusters
    ax : Axes, optional
    """
    ax = ax or style.new_axes(height=3.2)
    ax.set(xscale="log", yscale="log", xlabel="rank by size", ylabel="samples")
    for name, (label, color) in _NULLS.items():
        _draw_sizes(ax, data.sizes[name], label, color=color, linewidth=0.9, zorder=1)
    _draw_sizes(ax, data.sizes["truth"], "true subtasks", color=style.GUIDE, linestyle="--", zorder=2)
    _draw_sizes(ax, data.sizes["gradients"], "gradients", marker="o", color=style.MEASURED, ms=3, zorder=3)
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax, title="exponent of Zipf's law in brackets", n_columns=2)
    return ax


def _draw_sizes(
    ax: Axes, sizes: "np.ndarray[tuple[int], np.dtype[np.int64]]", label: str, **how: object
) -> None:
    seen = sizes[sizes > 0]
    exponent = style.number(fit_zipf(sizes).estimate)
    ax.plot(np.arange(1, seen.size + 1), seen, label=f"{label} ({exponent})", **how)  # type: ignore[arg-type]
