"""What figures are drawn from: the statistics of a slice, computed once and read by all."""

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis.axes import Axis, Trace
from quanta.analysis.learned.left import trace
from quanta.analysis.learned.times import cross_trace
from quanta.analysis.theories.constants import fit_scale
from quanta.analysis.verdict.predictions import observe
from quanta.analysis.verdict.statistics import Statistics, measure

Array = NDArray[np.float64]

Data = xr.Dataset | Statistics
"""Curves of a slice, or what `measure` found in them: take that for another τ, or for several figures."""


def measured(data: Data) -> Statistics:
    """Return the statistics of Curves; those that are there already as they are."""
    return data if isinstance(data, Statistics) else measure(data)


def along(statistics: Statistics, axis: Axis) -> Trace:
    """Return the trace of a resource, also where it has too few places to have an exponent.

    Raises
    ------
    ValueError
        If the axis is no resource.
    """
    found = statistics.base.traces.get(axis.name)
    return trace(statistics.base.left, axis) if found is None else found


def at_places(one: Trace, values: Array) -> tuple[Array, Array]:
    """Average values (S, X, ...) of a trace over networks of equal size; return the different x and them."""
    x, place = np.unique(one.x, return_inverse=True)
    return x, np.stack([values[:, place == i].mean(axis=1) for i in range(x.size)], axis=1)


def crossings(statistics: Statistics, axis: Axis) -> tuple[Array, Array, Array]:
    """Return where along S or D each subtask is learned, in each seed, and the places about it.

    Returns
    -------
    at, lower, upper : ndarray, shape (S, K)
        As of `quanta.analysis.learned.times.cross`.

    Raises
    ------
    ValueError
        If the axis is neither S nor D.
    """
    if axis.dim == "step":
        widest = statistics.here.times.isel(width=-1).transpose("seed", "subtask")
        return widest["step"].values, widest["step_lower"].values, widest["step_upper"].values
    if axis.dim != "n_train":
        raise ValueError(f"axis must be S or D, along which subtasks are learned, not {axis.name}")
    one = along(statistics, axis)
    if not one.x.size:
        nothing = np.full((len(one.left), one.frequency.size), np.nan)
        return nothing, nothing, nothing
    return cross_trace(one, statistics.tau)


def fit_constant(statistics: Statistics, axis: Axis, pattern: Array) -> float:
    """Fit c of learning subtask k at c times a pattern (K,) along S or D; not learned is a bound.

    Returns
    -------
    float
        NaN where nothing is seen being learned.
    """
    seen = observe(statistics.here)
    lower, upper = (
        (seen.time_lower, seen.time_upper)
        if axis.dim == "step"
        else (seen.examples_lower, seen.examples_upper)
    )
    return math.nan if lower is None or upper is None else fit_scale(pattern, lower, upper)


def choose(dimension: str, values: NDArray[np.int64], chosen: int | None, default: int) -> int:
    """Return the place of a chosen width or seed, or the default place if none was.

    Raises
    ------
    ValueError
        If it is not there; lists what there is.
    """
    if chosen is None:
        return default % values.size
    if chosen not in values:
        raise ValueError(f"{dimension} must be one of {', '.join(map(str, values))}, not {chosen}")
    return int(np.flatnonzero(values == chosen)[0])
