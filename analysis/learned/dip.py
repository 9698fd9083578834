"""Hartigan's dip: how far a sample is from having a single mode."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

Array = NDArray[np.float64]

UNIFORM_DIP = 0.53
"""One sample in twenty of n values from a uniform distribution has a dip above this over √n (simulated)."""

LATTICE = 0.1
"""Ties are spread over no more than this: values on a scale from 0 to 1 that lie farther apart are not the
neighbours of a lattice."""


def dip_statistic(values: ArrayLike) -> float:
    """Distance of a sample from the nearest distribution with a single mode, Hartigan's dip.

    The largest difference between the two distribution functions. A mixture of two Gaussians, the usual
    alternative, beats a single one on anything that is not Gaussian, a uniform or a skewed distribution
    included; the dip supposes no shape.

    Parameters
    ----------
    values : array_like
        Finite, at least one. Differences below 1e-6 are rounding. Ties, as in an accuracy on few samples, are
        spread evenly over the smallest distance between different values, though over no more than `LATTICE`:
        a lattice is not many modes.

    Returns
    -------
    float
        From 1/(2n) to 1/4, that of two equal peaks; of two that differ about half the weight of the smaller.

    References
    ----------
    Hartigan and Hartigan (1985), doi:10.1214/aos/1176346577.
    """
    x = _spread_ties(np.asarray(values, dtype=np.float64).ravel())
    below, above = np.arange(x.size) / x.size, np.arange(1, x.size + 1) / x.size
    dip = 1 / x.size  # twice the dip, until the end
    while True:
        # The mode lies where the convex minorant, which must hold before it, and the concave majorant, which
        # must hold after it, are farthest apart; narrow it down until the rest fits better than what was cut.
        minorant, minorant_knots = _convex_minorant(x, below)
        mirrored, majorant_knots = _convex_minorant(x, -above)
        apart = minorant + mirrored
        widest = int(apart.argmin())
        if -apart[widest] <= dip:
            break
        start = int(minorant_knots[minorant_knots <= widest][-1])
        end = int(majorant_knots[majorant_knots >= widest][0])
        dip = max(dip, (above - minorant)[: start + 1].max(), (-mirrored - below)[end:].max())
        if end - start == x.size - 1:
            break
        x, below, above = (part[start : end + 1] for part in (x, below, above))
    return float(dip / 2)


def _convex_minorant(x: Array, y: Array) -> tuple[Array, NDArray[np.int64]]:
    """Largest convex function below the points, at x, and the indices at which it touches them."""
    if x.size == 1:
        return y, np.array([0])
    gap = np.diff(x)
    fit = isotonic_regression(np.diff(y) / gap, weights=gap)  # its slopes must not fall
    minorant = y[0] + np.concatenate([[0.0], np.cumsum(fit.x * gap)])
    return minorant, np.asarray(fit.blocks)


def _spread_ties(values: Array) -> Array:
    distinct, count = np.unique(np.round(values, 6), return_counts=True)
    distance = np.diff(distinct).min(initial=LATTICE)
    place = np.arange(values.size) - np.repeat(np.cumsum(count) - count, count)
    offset = (place + 0.5) / np.repeat(count, count) - 0.5
    return np.asarray(np.repeat(distinct, count) + distance * offset)
