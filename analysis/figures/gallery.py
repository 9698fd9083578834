"""Every figure of a slice, written to a folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import xarray as xr

from quanta.analysis.figures import style
from quanta.analysis.figures.evidence import plot_drops, plot_final_values, plot_reconstruction_null
from quanta.analysis.figures.learning import (
    plot_count,
    plot_emergence_map,
    plot_learning_curves_grid,
    plot_learning_times,
    plot_loss_scaling,
    plot_q_sequence,
    plot_reconstruction,
)
from quanta.analysis.figures.order import plot_agreement, plot_consensus
from quanta.analysis.figures.scaling import plot_scaling_fits, plot_window_audit


def save_figures(
    curves: xr.Dataset, folder: str | os.PathLike[str], *, format: style.Format = "png", tau: float = 0.1
) -> list[Path]:
    """Draw and write every figure of a slice.

    Parameters
    ----------
    curves : Dataset, a slice
    folder : path-like
        Made if it is not there.
    format : {"png", "svg", "pdf"}, default "png"
        Text stays text in SVG and PDF.
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.

    Returns
    -------
    list of Path
        learning_curves, emergence_map, loss_scaling, count, learning_times, reconstruction, q_sequence,
        consensus, agreement, scaling_fits, window_audit, final_values, drops and reconstruction_null. The
        same curves give the same bytes.

    Raises
    ------
    ValueError
        If there is no such format.
    """
    if format not in get_args(style.Format):
        raise ValueError(f"format must be one of {', '.join(get_args(style.Format))}, not {format!r}")
    drawings: dict[str, Callable[[], Any]] = {
        "learning_curves": lambda: plot_learning_curves_grid(curves, tau=tau),
        "emergence_map": lambda: plot_emergence_map(curves).figure,
        "loss_scaling": lambda: plot_loss_scaling(curves, tau=tau).figure,
        "count": lambda: plot_count(curves, tau=tau).figure,
        "learning_times": lambda: plot_learning_times(curves, tau=tau).figure,
        "reconstruction": lambda: plot_reconstruction(curves, tau=tau).figure,
        "q_sequence": lambda: plot_q_sequence(curves, tau=tau).figure,
        "consensus": lambda: plot_consensus(curves, tau=tau).figure,
        "agreement": lambda: plot_agreement(curves, tau=tau).figure,
        "scaling_fits": lambda: plot_scaling_fits(curves, tau=tau).figure,
        "window_audit": lambda: plot_window_audit(curves, tau=tau).figure,
        "final_values": lambda: plot_final_values(curves).figure,
        "drops": lambda: plot_drops(curves).figure,
        "reconstruction_null": lambda: plot_reconstruction_null(curves, tau=tau).figure,
    }
    paths = [Path(folder) / f"{name}.{format}" for name in drawings]
    for path, draw in zip(paths, drawings.values(), strict=True):
        style.write(draw(), path, format)
    return paths
