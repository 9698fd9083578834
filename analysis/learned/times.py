"""When each subtask is learned: right-censored learning times, counts, and the loss at the end.

All functions work on a *slice*: Curves at one α, see `quanta.analysis.select`; what has one training-set size
is read at the largest.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis.axes import Trace
from quanta.analysis.learned.left import Left, measure_left
from quanta.analysis.learned.monotone import MonotoneCurves, make_monotone

Array = NDArray[np.float64]

TAU = 0.1
"""Share of chance below which a subtask is learned: Michaud et al. (2023), arXiv:2303.13506, take 0.1 bit of
1."""

_BELOW = float(np.finfo(np.float32).eps)
"""A loss of 0 has no logarithm: between evaluations it counts as this fraction of τ."""


def cross(x: Array, left: MonotoneCurves, tau: float) -> tuple[Array, Array, Array]:
    """Find where falling curves cross a level.

    Parameters
    ----------
    x : ndarray, shape (X,)
        Increasing; a 0 at its beginning is no place on a logarithmic axis.
    left : MonotoneCurves
        Of K subtasks at every x.
    tau : float
        Positive.

    Returns
    -------
    at, lower, upper : ndarray, shape (K,)
        Where log left, linear in log x, crosses log τ, and the places about it. Not crossed (right-censored):
        NaN, the last x and inf. Crossed before the first positive x (left-censored): that x, 0 and that x.
    """
    n = left.n_not_below(tau)
    crossed, first = n < x.size, int(x[0] == 0)
    seen = crossed & (n > first)
    before, after = np.maximum(n - 1, 0), np.minimum(n, x.size - 1)
    high = np.log(np.maximum(left.at(before), tau).astype(np.float64))
    low = np.log(np.maximum(left.at(after), tau * _BELOW).astype(np.float64))
    log_x = np.log(np.where(x > 0, x, 1.0))
    part = np.where(seen, (high - np.log(tau)) / np.where(seen, high - low, 1.0), 0.0)
    at = np.exp(log_x[before] + part * (log_x[after] - log_x[before]))
    lower = np.where(seen, x[before], np.where(crossed, 0.0, x[-1]))
    upper = np.where(seen, x[after], np.where(crossed, x[min(first, x.size - 1)], np.inf))
    # Rounding must not carry a crossing out of its interval.
    at = np.where(seen, np.clip(at, lower, upper), np.where(crossed, upper, np.nan))
    return at, lower, upper


def cross_trace(trace: Trace, tau: float = TAU) -> tuple[Array, Array, Array]:
    """Find at which x of a trace each subtask is learned, for good, in each seed.

    Parameters
    ----------
    trace : Trace
    tau : float, default 0.1
        Share of chance.

    Returns
    -------
    at, lower, upper : ndarray, shape (S, K)
        As `cross`; the loss is made monotone along the trace first.
    """
    x, place = np.unique(trace.x, return_inverse=True)
    found = []
    for of_seed in trace.left:
        mean = np.stack([of_seed[place == i].mean(axis=0) for i in range(x.size)], axis=1)
        found.append(cross(x, MonotoneCurves.of(make_monotone(mean)), tau))
    at, lower, upper = (np.stack(values) for values in zip(*found, strict=True))
    return at, lower, upper


def learning_times(curves: xr.Dataset | Left, tau: float = TAU) -> xr.Dataset:
    """Find when each subtask is learned: when its monotone loss falls below a share τ of chance.

    Parameters
    ----------
    curves : Dataset or Left
        A slice, or what `measure_left` made of it, which saves to make it again.
    tau : float, default 0.1
        Share of chance below which a subtask counts as learned; between 0 and 1.

    Returns
    -------
    Dataset
        Over (seed, width, subtask), at the largest n_train:

        - `learned` : bool.
        - `step` : float. Where log loss, interpolated over log step, crosses τ. NaN if not learned.
        - `step_lower`, `step_upper` : float. The evaluations between which that was. Not learned
          (right-censored): the last measured step, and inf. Already learned at the first evaluation after
          step 0 (left-censored): 0, and that step, which is `step` too.

        `frequency` and `n_parameters` come along; the attribute `tau` says which τ it was.

    Raises
    ------
    ValueError
        If `curves` is not a slice, or τ is not between 0 and 1.
    """
    if not 0 < tau < 1:
        raise ValueError(f"tau must be between 0 and 1, a share of chance, not {tau!r}")
    left = curves if isinstance(curves, Left) else measure_left(curves)
    shape = (left.seed.size, left.width.size, left.frequency.size)
    step, lower, upper = (np.empty(shape) for _ in range(3))
    for width in range(left.width.size):
        for seed, one in enumerate(left.at_largest(width)):
            found = cross(left.step[: one.n_evaluations], one, tau)
            step[seed, width], lower[seed, width], upper[seed, width] = found
    dims = ("seed", "width", "subtask")
    return xr.Dataset(
        {
            "learned": (dims, np.isfinite(upper)),
            "step": (dims, step),
            "step_lower": (dims, lower),
            "step_upper": (dims, upper),
            "frequency": ("subtask", left.frequency),
            "n_parameters": ("width", left.n_parameters.astype(np.int64)),
        },
        coords={
            "seed": left.seed,
            "width": left.width,
            "subtask": np.arange(1, left.frequency.size + 1),
        },
        attrs={"tau": tau},
    )


def count_learned(times: xr.Dataset) -> xr.DataArray:
    """Count the subtasks learned by the end.

    Parameters
    ----------
    times : Dataset
        From `learning_times`.

    Returns
    -------
    DataArray of int, (seed, width)
    """
    return times["learned"].sum("subtask").rename("n_learned")


FULL_AFTER = 4.0
"""Subtasks that would have been learned since the last one, had there been room, for a network to count as
full: if they come by chance, one in fifty with room learns none for so long."""


def find_full(times: xr.Dataset) -> NDArray[np.bool_]:
    """Tell which networks have room for no more subtasks, as far as can be seen.

    Between the last learning time S_n of n subtasks and the end S, a network with room learns those with
    frequencies from p_n down to p_n S_n / S. If these are `FULL_AFTER` or more and none was learned, it is
    full. One that learned nothing at all is measured by when the first width of its seed began.

    Parameters
    ----------
    times : Dataset
        From `learning_times`.

    Returns
    -------
    ndarray of bool, shape (S, W)
    """
    ordered = times.transpose("seed", "width", "subtask")
    learned, at, frequency = ordered["learned"].values, ordered["step"].values, times["frequency"].values
    found = np.zeros(learned.shape[:2], dtype=bool)
    for seed, width in np.ndindex(found.shape):
        n = int(learned[seed, width].sum())
        end = float(ordered["step_lower"].values[seed, width].max())
        if n == frequency.size or not learned[seed].any() or end == 0:  # nothing was seen after step 0
            continue
        last = np.nanmax(at[seed, width]) if n else np.nanmin(at[seed])
        due = frequency >= frequency[max(n - 1, 0)] * min(last / end, 1.0)
        found[seed, width] = due.sum() - n >= FULL_AFTER
    return found


def time_bounds(
    times: xr.Dataset, width: int = -1, *, type_one: bool = False, until: float = np.inf
) -> tuple[Array, Array]:
    """Bounds of learning times at a width, for a regression of learning time on frequency.

    What is not learned is later than *the crossing* of the last that was learned, which is all that can be
    said: a full network learns no more however long it trains, so that the time from there to the end is no
    sign that the rest take longer. This is type II censoring, at the n-th event: Lawless (2003), Statistical
    Models and Methods for Lifetime Data, chapter 2.

    Parameters
    ----------
    times : Dataset
        From `learning_times`.
    width : int, default -1
        Its place.
    type_one : bool, default False
        Take what is not learned as later than the last evaluation instead, for comparison.
    until : float, default inf
        Step after which nothing is known, as if training had ended there.

    Returns
    -------
    lower, upper : ndarray, shape (S, K)
        Steps; 0 and inf where nothing is learned.
    """
    network = times.isel(width=width).transpose("seed", "subtask")
    names = ("learned", "step", "step_lower", "step_upper")
    learned, step, lower, upper = (network[name].values for name in names)
    learned = learned & (upper <= until)
    latest = np.where(learned, step, 0.0).max(axis=1, keepdims=True)
    beyond = np.minimum(lower, until) if type_one else np.broadcast_to(latest, lower.shape)
    return np.where(learned, lower, beyond), np.where(learned, upper, np.inf)
