"""How far the slope of a power law is a matter of where one looks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.fits.power_laws import check_points
from quanta.analysis.records import Record

Array = NDArray[np.float64]

MIN_FACTOR = 4.0
"""Largest over smallest x of a window; a slope over less is hardly about scaling."""
MIN_POINTS = 3
"""Of a window; two always lie on a line."""
_ROUNDING = 1e-9
"""A window that is shorter than asked by less than this share is long enough."""


@dataclass(frozen=True, eq=False)
class Windows(Record):
    """A power law in every window of x, by lower end, then upper.

    Attributes
    ----------
    lower, upper : ndarray, shape (m,)
        The x at the ends of each window.
    n_points : ndarray of int, shape (m,)
    slope : ndarray, shape (m,)
        Negative for a falling loss.
    stderr : ndarray, shape (m,)
        Of least squares with independent errors.
    """

    lower: Array
    upper: Array
    n_points: NDArray[np.int64]
    slope: Array
    stderr: Array


def audit_windows(x: ArrayLike, y: ArrayLike, *, min_factor: float = MIN_FACTOR) -> Windows:
    """Fit a power law in every window of x, to see how far its slope is a matter of where one looks.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite. Points at one x are in the same windows.
    min_factor : float, default 4
        Smallest ratio of the ends of a window; above 1.

    Returns
    -------
    Windows
        Of neighbouring points, at least three each; none if x spans less than the factor.

    Raises
    ------
    TooFewPoints
        If there are fewer than three points, or all at one x.
    ValueError
        If a point has no logarithm, or the factor is not above 1.
    """
    x, y = check_points(x, y)
    if not min_factor > 1:
        raise ValueError(f"min_factor must be above 1, not {min_factor!r}")
    by_x = np.argsort(x, kind="stable")
    x, log_x, log_y = x[by_x], np.log(x[by_x]), np.log(y[by_x])
    rises = np.diff(x) > 0
    starts, is_end = np.flatnonzero(np.append(True, rises)), np.append(rises, True)
    found = []
    for start in starts:
        # Running sums give all windows from here on; about their first point, they lose no digits.
        u, v = log_x[start:] - log_x[start], log_y[start:] - log_y[start]
        n = np.arange(1, u.size + 1)
        spread, joint, total = (
            np.cumsum(a * b) - np.cumsum(a) * np.cumsum(b) / n for a, b in ((u, u), (u, v), (v, v))
        )
        long = x[start:] >= min_factor * x[start] * (1 - _ROUNDING)
        chosen = (n >= MIN_POINTS) & long & is_end[start:]
        n, spread, joint, total = n[chosen], spread[chosen], joint[chosen], total[chosen]
        residual = np.maximum(total - joint**2 / spread, 0)  # rounding may leave less than nothing
        upper, slope = x[start:][chosen], joint / spread
        found.append((np.full(n.size, x[start]), upper, n, slope, np.sqrt(residual / (n - 2) / spread)))
    return Windows(*(np.concatenate(column) for column in zip(*found, strict=True)))
