"""When each subtask is learned: right-censored learning times, counts, and the loss they leave.

All functions work on a *slice*: Curves at one (alpha, n_train), see `select`.
"""

import math

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

_BELOW = float(np.finfo(np.float32).eps)
"""A loss of 0 bits has no logarithm: between evaluations it counts as this fraction of τ."""


def select(curves: xr.Dataset, alpha: float | None = None, n_train: float | None = None) -> xr.Dataset:
    """Take the slice of Curves at one α and one n_train.

    Parameters
    ----------
    curves : Dataset
        Curves.
    alpha : float, optional
        Needed only where there are several. NaN matches NaN.
    n_train : float, optional
        Needed only where there are several; `inf` is online training.

    Returns
    -------
    Dataset
        Without the dimensions alpha and n_train, which stay as scalar coordinates.

    Raises
    ------
    ValueError
        If a value is not there, or there are several and none was chosen; lists what there is.
    """
    return _select_one(_select_one(curves, "alpha", alpha), "n_train", n_train)


def _select_one(curves: xr.Dataset, axis: str, chosen: float | None) -> xr.Dataset:
    values = curves[axis].values
    available = ", ".join(f"{value:g}" for value in values)
    if chosen is None:
        if len(values) > 1:
            raise ValueError(f"{axis} must be chosen: the curves hold {available}")
        return curves.isel({axis: 0})
    matches = np.flatnonzero(np.isclose(values, chosen, rtol=1e-9, atol=1e-12, equal_nan=True))
    if matches.size == 0:
        raise ValueError(f"{axis} must be one of {available}, not {chosen:g}")
    return curves.isel({axis: int(matches[0])})


def learning_times(curves: xr.Dataset, tau: float = 0.1) -> xr.Dataset:
    """Find when each subtask is learned: below τ at some evaluation and at every later one.

    Parameters
    ----------
    curves : Dataset
        A slice.
    tau : float, default 0.1
        Loss in bits below which a subtask counts as learned; between 0 and 1 (chance). The default is
        that of Michaud et al. (2023), arXiv:2303.13506.

    Returns
    -------
    Dataset
        Over (seed, width, subtask):

        - `learned` : bool.
        - `step` : float. Where log loss, interpolated over log step, crosses τ for good. NaN if not learned.
        - `step_lower`, `step_upper` : float. The evaluations between which that was. Not learned
          (right-censored): the last measured step, and inf. Already learned at the first evaluation
          (left-censored): 0, and that step.

        `frequency` and `n_parameters` come along; the attribute `tau` says which τ it was. After an early
        stop the last measured evaluation is the last. Steps below 1 count as 1 in `step` and `step_upper`,
        so that both have a logarithm.

    Raises
    ------
    ValueError
        If `curves` is not a slice, or τ is not between 0 and 1.
    """
    if "alpha" in curves.dims or "n_train" in curves.dims:
        raise ValueError("curves must be at one alpha and one n_train: take them with analysis.select")
    if not 0 < tau < 1:
        raise ValueError(f"tau must be between 0 and 1 bit, not {tau!r}")
    loss = curves["loss"].transpose("seed", "width", "step", "subtask")
    n_seeds, n_widths, _, n_subtasks = loss.shape
    at = curves["step"].values.astype(np.float64)
    n_measured = _n_measured(curves).values
    shape = (n_seeds, n_widths, n_subtasks)
    step, lower, upper = (np.empty(shape) for _ in range(3))
    for seed, width in np.ndindex(n_seeds, n_widths):
        n = int(n_measured[seed, width])
        crossing = _cross(loss.values[seed, width, :n].astype(np.float64), at[:n], tau)
        step[seed, width], lower[seed, width], upper[seed, width] = crossing
    dims = ("seed", "width", "subtask")
    return xr.Dataset(
        {
            "learned": (dims, np.isfinite(upper)),
            "step": (dims, step),
            "step_lower": (dims, lower),
            "step_upper": (dims, upper),
            "frequency": curves["frequency"],
            "n_parameters": curves["n_parameters"],
        },
        coords={name: curves[name] for name in ("alpha", "n_train", "seed", "width", "subtask")},
        attrs={"tau": tau},
    )


def _cross(
    loss: NDArray[np.float64], at: NDArray[np.float64], tau: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return step, lower and upper (K,) of one network from its loss (n_steps, K) at the steps `at`."""
    n_steps, n_subtasks = loss.shape
    above = loss >= tau
    # The last evaluation at or above tau; -1 where there is none.
    last_above = np.where(above.any(axis=0), n_steps - 1 - above[::-1].argmax(axis=0), -1)
    learned = last_above < n_steps - 1
    before = np.maximum(last_above, 0)
    after = np.minimum(last_above + 1, n_steps - 1)
    subtask = np.arange(n_subtasks)
    log_step = np.log(np.maximum(at, 1.0))
    log_before = np.log(np.maximum(loss[before, subtask], tau))
    log_after = np.log(np.maximum(loss[after, subtask], tau * _BELOW))
    crosses = learned & (last_above >= 0)
    drop = np.where(crosses, log_before - log_after, 1.0)
    fraction = np.where(crosses, (log_before - math.log(tau)) / drop, 0.0)
    step = np.exp(log_step[before] + fraction * (log_step[after] - log_step[before]))
    lower = np.where(last_above >= 0, at[before], 0.0)
    upper = np.where(learned, np.maximum(at[after], 1.0), np.inf)
    # Rounding must not carry a crossing out of its interval.
    return np.where(learned, np.clip(step, lower, upper), np.nan), lower, upper


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


def count_learned_by(times: xr.Dataset, step: ArrayLike) -> xr.DataArray:
    """Count the subtasks learned by each of some steps.

    Parameters
    ----------
    times : Dataset
        From `learning_times`.
    step : array_like, shape (n_step,)

    Returns
    -------
    DataArray of int, (seed, width, step)
        At the end of training this is `count_learned`.
    """
    steps = np.atleast_1d(np.asarray(step, dtype=np.float64))
    learned_at = np.sort(times["step"].transpose("seed", "width", "subtask").values, axis=-1)  # NaN last
    counts = np.empty((*learned_at.shape[:2], steps.size), dtype=np.int64)
    for seed, width in np.ndindex(counts.shape[:2]):
        counts[seed, width] = np.searchsorted(learned_at[seed, width], steps, side="right")
    coords = {"seed": times["seed"], "width": times["width"], "step": steps}
    return xr.DataArray(counts, coords, ("seed", "width", "step"), name="n_learned")


def unlearned_mass(times: xr.Dataset) -> xr.DataArray:
    """Reconstruct the mean loss from the learned set alone: 0 bits for what is learned, 1 for the rest.

    Parameters
    ----------
    times : Dataset
        From `learning_times`.

    Returns
    -------
    DataArray of float, (seed, width)
        Σ p_k over the subtasks not learned, in bits; exactly 0 where all are learned.
    """
    mass = times["frequency"].where(~times["learned"], 0.0).sum("subtask")
    return mass.transpose("seed", "width").rename("reconstructed_loss")


def final_loss(curves: xr.Dataset) -> xr.DataArray:
    """Loss of every subtask at the last measured evaluation of each network.

    Parameters
    ----------
    curves : Dataset
        A slice.

    Returns
    -------
    DataArray, (seed, width, subtask)
        In bits.
    """
    last = curves["loss"].isel(step=_n_measured(curves) - 1).drop_vars("step")
    return last.transpose("seed", "width", "subtask")


def final_mean_loss(curves: xr.Dataset) -> xr.DataArray:
    """Mean loss at the last measured evaluation of each network.

    Parameters
    ----------
    curves : Dataset
        A slice.

    Returns
    -------
    DataArray, (seed, width)
        In bits.
    """
    last = curves["mean_loss"].isel(step=_n_measured(curves) - 1).drop_vars("step")
    return last.transpose("seed", "width")


def _n_measured(curves: xr.Dataset) -> xr.DataArray:
    """Count evaluations before an early stop, (seed, width); NaN stands only after one."""
    return curves["mean_loss"].notnull().sum("step").transpose("seed", "width")
