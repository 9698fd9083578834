"""What a fit expects of scales beyond those it was fitted to, and how wrong it is there."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.scaling import ScalingFit

Array = NDArray[np.float64]

MIN_FITTED = 3
"""Points that are never held out: the fewest that leave a line something to miss."""


@dataclass(frozen=True)
class Forecast:
    """What a fit expects of new observations.

    Attributes
    ----------
    x : ndarray, shape (n,)
    estimate : ndarray, shape (n,)
        The curve at x.
    lower, upper : ndarray, shape (n,)
        NaN where the estimate is 0, as of a finite K once all is learned.
    confidence : float
        Nominal probability that an observation falls between them.
    kind : str
        How the interval was made.
    """

    x: Array
    estimate: Array
    lower: Array
    upper: Array
    confidence: float
    kind: str


def forecast(fit: ScalingFit, x: ArrayLike, confidence: float = 0.9) -> Forecast:
    """Forecast an observation of the loss: the curve, its uncertainty, and the scatter of a point about it.

    The interval is symmetric in log loss, t · sqrt(s² + e²) to each side: s is the residual standard
    deviation, e the standard error of the curve by the delta method, and t the quantile of Student's t with
    as many degrees of freedom as there are points less parameters of the curve. For a line and normal scatter
    this is exact; for the other curves it is as good as they are linear over the error of their parameters.
    It knows nothing of a curve that is wrong beyond the points.

    Parameters
    ----------
    fit : ScalingFit
        By squares.
    x : array_like, shape (n,)
        Positive.
    confidence : float, default 0.9
        Between 0 and 1.

    Returns
    -------
    Forecast

    Raises
    ------
    ValueError
        If the fit is not by squares, or an argument is out of its range.

    References
    ----------
    Bates and Watts (1988), Nonlinear Regression Analysis and Its Applications, section 2.3.
    """
    at = np.atleast_1d(np.asarray(x, dtype=np.float64))
    if not (np.isfinite(at) & (at > 0)).all():
        raise ValueError(f"x must be positive and finite, not {at[~(np.isfinite(at) & (at > 0))][0]:g}")
    if fit.loss != "squares":
        raise ValueError(f"fit must be by squares to have a forecast interval, not by {fit.loss!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    estimate = fit.predict(at)
    stderr = fit.residual_sd * fit.regression.stderr(fit.coordinates, at)
    t = float(stats.t.ppf((1 + confidence) / 2, fit.n_points - fit.coordinates.size))
    half = np.where(estimate > 0, t * np.hypot(fit.residual_sd, stderr), np.nan)
    kind = "delta method in log loss, Student t"
    return Forecast(at, estimate, estimate * np.exp(-half), estimate * np.exp(half), confidence, kind)


def forecast_error(fit: ScalingFit, x: ArrayLike, y: ArrayLike) -> float:
    """Return the root mean square of log y less the log of the forecast; inf where that is 0 bits."""
    estimate = fit.predict(x)
    if not (estimate > 0).all():
        return math.inf
    return float(np.sqrt(((np.log(np.asarray(y, dtype=np.float64)) - np.log(estimate)) ** 2).mean()))


def hold_out_largest(x: ArrayLike, factor: float = 2.0) -> NDArray[np.bool_]:
    """Choose the points at the largest scales: x above the largest over `factor`.

    At least the largest, and never so many that fewer than three are left.

    Parameters
    ----------
    x : array_like, shape (n,)
        Positive, in any order.
    factor : float, default 2
        At least 1.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    TooFewPoints
        If fewer than three are below the largest.
    ValueError
        If the factor is below 1.
    """
    x = np.asarray(x, dtype=np.float64)
    if not factor >= 1:
        raise ValueError(f"factor must be at least 1, not {factor!r}")
    n_below = int((x < x.max(initial=-np.inf)).sum())
    if n_below < MIN_FITTED:
        raise TooFewPoints(
            f"x must hold at least {MIN_FITTED} points below the largest to forecast it, not {n_below}"
        )
    below = x[x < x.max()].max()
    return np.asarray(x > max(min(x.max() / factor, below), np.sort(x)[MIN_FITTED - 1]))
