"""The constants of theories from what was observed: c of S_k = c / p_k, of n = c N, and their like.

What is only bounded enters as a bound: subtasks that are not learned are learned later, and networks that
still learn have room for more. Leaving them out would make the first too small, and the second too.
"""

import math

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.fits.censored import fit_censored_power_law
from quanta.analysis.fits.counts import fit_count_power_law
from quanta.analysis.fits.errors import NoEstimate

Array = NDArray[np.float64]

DISPERSION = 0.1
"""Variance over mean of a count at one width: far less than Poisson's, since room is what all seeds share."""


def fit_scale(x: Array, lower: Array, upper: Array, slope: float = 1.0) -> float:
    """Fit c of y = c x^slope to bounds of y, by the median of y / x^slope under log-normal scatter.

    Parameters
    ----------
    x : ndarray, shape (K,)
    lower, upper : ndarray, shape (S, K)
        Bounds of y; see `fit_censored_power_law`.
    slope : float, default 1

    Returns
    -------
    float
        NaN where no y has both bounds.
    """
    try:
        at = np.broadcast_to(x, lower.shape)
        fit = fit_censored_power_law(at.ravel(), lower.ravel(), upper.ravel(), slope=slope)
    except NoEstimate:
        return math.nan
    return math.exp(fit.intercept)


def fit_room(
    n_parameters: Array,
    n_learned: NDArray[np.int64],
    is_full: NDArray[np.bool_],
    n_subtasks: int,
    slope: float = 1.0,
) -> float:
    """Fit the N at which there is room for one subtask, in n = (N / c)^slope.

    Parameters
    ----------
    n_parameters : ndarray, shape (W,)
    n_learned : ndarray of int, shape (S, W)
    is_full : ndarray of bool, shape (S, W)
        The count of any other network is a lower bound, and so is that of one that has learned all K.
    n_subtasks : int
        K.
    slope : float, default 1

    Returns
    -------
    float
        NaN where no full network has learned something.
    """
    at = np.broadcast_to(n_parameters, n_learned.shape).astype(np.float64)
    is_bound = ~is_full | (n_learned == n_subtasks)
    try:
        fit = fit_count_power_law(
            at.ravel(), n_learned.ravel(), is_bound.ravel(), slope=slope, dispersion=DISPERSION
        )
    except NoEstimate:
        return math.nan
    return math.exp(-fit.intercept / slope)
