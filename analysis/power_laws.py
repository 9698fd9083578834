"""Power-law fits, and intervals from resampling seeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


class FitError(RuntimeError):
    """An estimate that could not be made.

    Attributes
    ----------
    partial : PowerLawFit or Interval
        As far as it got.
    """

    def __init__(self, message: str, partial: "PowerLawFit | Interval") -> None:
        super().__init__(message)
        self.partial = partial


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
        `bootstrap_seeds` for intervals.
    r_squared : float
        Share of the variance of log y; NaN if y is constant.
    window : (float, float)
        Smallest and largest x that entered.
    n_points : int
        Number of points that entered.
    converged : bool
        True for every fit that is returned.
    message : str
        How the fit was made.
    """

    slope: float
    intercept: float
    slope_stderr: float
    r_squared: float
    window: tuple[float, float]
    n_points: int
    converged: bool
    message: str

    def predict(self, x: ArrayLike) -> NDArray[np.float64]:
        """Evaluate the law at positive x, of any shape."""
        return np.exp(self.intercept + self.slope * np.log(np.asarray(x, dtype=np.float64)))


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
    ValueError
        If the points do not allow a fit; says why.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x and y must have one dimension and the same length, not {x.shape} and {y.shape}")
    if x.size < 3:
        raise ValueError(f"x and y must hold at least 3 points, not {x.size}")
    for name, values in (("x", x), ("y", y)):
        bad = values[~(np.isfinite(values) & (values > 0))]
        if bad.size:
            raise ValueError(f"{name} must be positive and finite to have a logarithm, not {bad[0]:g}")
    if x.min() == x.max():
        raise ValueError(f"x must hold at least two different values, not only {x[0]:g}")
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
        converged=True,
        message="least squares of log y on log x, closed form",
    )


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    Attributes
    ----------
    estimate : float
        The statistic on all seeds.
    lower, upper : float or None
        None where there is no interval; `kind` says why.
    kind : str
        How the interval was made.
    n_seeds : int
        Number of seeds there were.
    confidence : float
        Nominal coverage.
    """

    estimate: float
    lower: float | None
    upper: float | None
    kind: str
    n_seeds: int
    confidence: float


def bootstrap_seeds(
    statistic: Callable[[NDArray[np.int64]], float],
    n_seeds: int,
    *,
    confidence: float = 0.9,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic from resampling seeds with replacement.

    Seeds are independent; widths, steps and subtasks of one seed are not, and are never resampled.

    Parameters
    ----------
    statistic : callable
        Takes indices of seeds, shape (n_seeds,), possibly repeated; returns a float. Must not depend on
        their order: each set of seeds is evaluated once.
    n_seeds : int
        Number of seeds, at least 1. With one there is no interval.
    confidence : float, default 0.9
        Nominal coverage, between 0 and 1.
    n_resamples : int, default 2000
        At least 1.
    seed : int, default 0
        Of the resampling.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If an argument is out of its range.
    FitError
        If the statistic is not finite on all seeds, or on more than half of the resamples.

    Notes
    -----
    With few seeds the interval is too short. For a normal mean its coverage tends to
    P(|t_{n-1}| < z·sqrt((n-1)/n)): where 0.9 is asked, 0.69 with 3 seeds, 0.78 with 5 and 0.85 with 10.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    if n_seeds < 1:
        raise ValueError(f"n_seeds must be at least 1, not {n_seeds}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, not {n_resamples}")
    estimate = float(statistic(np.arange(n_seeds)))
    alone = Interval(estimate, None, None, "none: one seed has no spread", n_seeds, confidence)
    if not math.isfinite(estimate):
        raise FitError(f"the statistic is {estimate} on all {n_seeds} seeds", alone)
    if n_seeds == 1:
        return alone
    drawn = np.random.default_rng(seed).integers(n_seeds, size=(n_resamples, n_seeds))
    # Few seeds give few distinct resamples (10 for 3 seeds): evaluate each once.
    distinct, which = np.unique(np.sort(drawn, axis=1), axis=0, return_inverse=True)
    values = np.array([statistic(indices) for indices in distinct])[which.ravel()]
    finite = values[np.isfinite(values)]
    if finite.size < n_resamples / 2:
        raise FitError(
            f"the statistic is not finite on {n_resamples - finite.size} of {n_resamples} resamples",
            Interval(estimate, None, None, "none: undefined on most resamples", n_seeds, confidence),
        )
    kind = "bootstrap over seeds, percentile"
    if finite.size < n_resamples:
        kind += f" ({n_resamples - finite.size} of {n_resamples} resamples undefined)"
    lower, upper = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(lower), float(upper), kind, n_seeds, confidence)
