"""A straight line through log y on log x, by least squares in closed form."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.fits.errors import TooFewPoints


@dataclass(frozen=True)
class PowerLawFit:
    """A fitted power law, y = exp(intercept) x^slope.

    Attributes
    ----------
    slope : float
        The exponent with its sign: negative for a falling law.
    intercept : float
        Natural logarithm of y at x = 1.
    slope_stderr : float
        Of least squares with independent errors. Points that share a seed are not independent: use
        `mean_over_seeds` for intervals.
    r_squared : float
        Share of the variance of log y; NaN if y is constant.
    window : (float, float)
        Smallest and largest x that entered.
    n_points : int
        Number of points that entered.
    """

    slope: float
    intercept: float
    slope_stderr: float
    r_squared: float
    window: tuple[float, float]
    n_points: int

    def predict(self, x: ArrayLike) -> NDArray[np.float64]:
        """Evaluate the law at positive x, of any shape."""
        return np.exp(self.intercept + self.slope * np.log(np.asarray(x, dtype=np.float64)))


def check_points(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points that have logarithms and allow a slope, as arrays.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite; at least three points and two different x.

    Returns
    -------
    x, y : ndarray, shape (n,)

    Raises
    ------
    TooFewPoints
        If there are fewer, or all at one x.
    ValueError
        If they have no logarithm, or are not two arrays of one shape.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x and y must have one dimension and the same length, not {x.shape} and {y.shape}")
    if x.size < 3:
        raise TooFewPoints(f"x and y must hold at least 3 points, not {x.size}")
    for name, values in (("x", x), ("y", y)):
        bad = values[~(np.isfinite(values) & (values > 0))]
        if bad.size:
            raise ValueError(f"{name} must be positive and finite to have a logarithm, not {bad[0]:g}")
    if np.log(x.min()) == np.log(x.max()):
        raise TooFewPoints(f"x must hold at least two different values, not only {x[0]:g}")
    return x, y


def fit_power_law(x: ArrayLike, y: ArrayLike) -> PowerLawFit:
    """Fit a straight line to log y on log x by least squares, every point weighing the same.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite; at least three points and two different x.

    Returns
    -------
    PowerLawFit

    Raises
    ------
    TooFewPoints
        If there are fewer than three points, or all at one x.
    ValueError
        If a point has no logarithm, or the arrays do not have one shape.
    """
    x, y = check_points(x, y)
    log_x, log_y = np.log(x), np.log(y)
    dx, dy = log_x - log_x.mean(), log_y - log_y.mean()
    spread = float(dx @ dx)
    slope = float(dx @ dy) / spread
    residual = float(((dy - slope * dx) ** 2).sum())
    total = float(dy @ dy)
    return PowerLawFit(
        slope=slope,
        intercept=float(log_y.mean() - slope * log_x.mean()),
        slope_stderr=math.sqrt(residual / (x.size - 2) / spread),
        r_squared=1 - residual / total if total > 0 else math.nan,
        window=(float(x.min()), float(x.max())),
        n_points=x.size,
    )
