"""Power laws fitted to counts, some of which are only bounded from below.

A count is Poisson with mean μ = exp(intercept) x^slope. Its weights suit counts, and it takes a count of 0 as
it comes. A bound says that there is room for at least that many: its probability is that of a Poisson count
as large or larger, Γ's distribution function at μ. The density of log Γ is log-concave, and so then is this
probability in log μ (Prékopa 1973, Acta Scientiarum Mathematicarum 34, 335): the log-likelihood is concave.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from quanta.analysis.fits.errors import FitError, TooFewPoints
from quanta.analysis.fits.newton import maximise

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_POSITIVE = 3
"""Counts above 0 that a slope needs: with two, it has nothing to miss."""


@dataclass(frozen=True)
class CountFit:
    """A power law fitted to counts, exp(intercept) x^slope expected at x.

    Attributes
    ----------
    slope : float
        The exponent with its sign; positive for a growing count.
    intercept : float
        Natural logarithm of the expected count at x = 1.
    log_likelihood : float
        Compare it only between fits to the same points, with the same dispersion.
    n_values, n_bounds : int
        Number of counts that are known, and of those that are bounded from below.
    window : (float, float)
        Smallest and largest x that entered.
    message : str
        How the fit was made.
    """

    slope: float
    intercept: float
    log_likelihood: float
    n_values: int
    n_bounds: int
    window: tuple[float, float]
    message: str

    def predict(self, x: ArrayLike) -> Array:
        """Return the expected count at positive x, of any shape."""
        return np.exp(self.intercept + self.slope * np.log(np.asarray(x, dtype=np.float64)))


def fit_count_power_law(
    x: ArrayLike,
    count: ArrayLike,
    lower_bound: ArrayLike,
    *,
    slope: float | None = None,
    dispersion: float = 1.0,
) -> CountFit:
    """Fit a power law to counts, of which some are lower bounds.

    Parameters
    ----------
    x : array_like, shape (n,)
        Positive and finite, equal values allowed.
    count : array_like, shape (n,)
        Whole numbers from 0 up.
    lower_bound : array_like of bool, shape (n,)
        True where the count would have been at least this, as of a network that was still learning.
    slope : float, optional
        Holds the slope at this value and fits the intercept alone.
    dispersion : float, default 1
        Variance of a count over its mean; Poisson's law has 1. Known counts alone do not ask for it. The
        smaller it is, the harder a bound: a law that is a little below one is then as good as excluded. With
        1 where counts vary less, bounds pull the law up too far.

    Returns
    -------
    CountFit
        The maximum of the likelihood; of the quasi-likelihood, if counts are not dispersed as Poisson's. It
        has no standard errors, since that would take the dispersion for known: take the spread over seeds.

    Raises
    ------
    TooFewPoints
        If the counts do not determine the law: fewer than three are above 0, bounds do not stop it from
        rising, or all known counts above 0 are at one x and the law may turn about it. Where the slope is
        held, one known count above 0 is enough.
    ValueError
        If an argument is not as it has to be; says which.
    FitError
        If Newton's method does not converge.
    """
    x, count, is_bound = _check(x, count, lower_bound)
    if slope is not None and not math.isfinite(slope):
        raise ValueError(f"slope must be finite, not {slope!r}")
    if not 0 < dispersion < math.inf:
        raise ValueError(f"dispersion must be positive and finite, not {dispersion!r}")
    n_positive, needed = int((count > 0).sum()), MIN_POSITIVE if slope is None else 1
    if n_positive < needed:
        raise TooFewPoints(f"count must be above 0 at {needed} points or more, not {n_positive}")
    log_x = np.log(x)
    center, spread = float(log_x.mean()), float(log_x.std())
    u = (log_x - center) / (spread or 1.0)
    regressors = np.ones((x.size, 1)) if slope is not None else np.column_stack([np.ones(x.size), u])
    if not _is_determined(regressors, count, is_bound):
        n_known, n_bounds = int((~is_bound & (count > 0)).sum()), int((is_bound & (count > 0)).sum())
        n_zero = int((~is_bound).sum()) - n_known
        counts = f"{n_known} known above 0, {n_zero} of 0, {n_bounds} lower bounds above 0"
        raise TooFewPoints(f"count does not determine the law: {counts}")
    # Counted in units of the dispersion, they are dispersed as Poisson's.
    offset = (slope or 0.0) * (log_x - center) - math.log(dispersion)
    likelihood = CountLikelihood(regressors, offset, count / dispersion, is_bound)
    theta = np.zeros(regressors.shape[1])
    theta[0] = math.log(count.mean())
    theta, value, n_steps = maximise(likelihood.evaluate, theta)
    found = float(theta[1]) / spread if slope is None else slope
    fit = CountFit(
        slope=found,
        intercept=float(theta[0]) - found * center,
        log_likelihood=value,
        n_values=int((~is_bound).sum()),
        n_bounds=int(is_bound.sum()),
        window=(float(x.min()), float(x.max())),
        message=f"maximum likelihood of Poisson counts, {n_steps} steps of Newton's method",
    )
    if n_steps is None:
        raise FitError("Newton's method finds no maximum of the likelihood of the counts", fit)
    return fit


@dataclass(frozen=True)
class CountLikelihood:
    """Log-likelihood of θ, shape (p,), where log μ = regressors · θ + offset.

    Shapes: `regressors` (n, p); `offset`, `count`, `is_bound` (n,).
    """

    regressors: Array
    offset: Array
    count: Array
    is_bound: Mask

    def evaluate(self, theta: Array) -> tuple[float, Array, Array]:
        """Return the value, the gradient (p,) and the Hessian (p, p)."""
        log_mean = self.regressors @ theta + self.offset
        with np.errstate(over="ignore"):  # a step that goes too far has no likelihood, and is halved
            mean = np.exp(log_mean)
        if np.isinf(mean).any():
            p = theta.size
            return -math.inf, np.zeros(p), np.zeros((p, p))
        value = self.count * log_mean - mean - special.gammaln(self.count + 1)
        by_log_mean, curvature = self.count - mean, -mean
        informs = self.is_bound & (self.count > 0)  # at least 0 is no news
        value[self.is_bound] = by_log_mean[self.is_bound] = curvature[self.is_bound] = 0.0
        least, mu = self.count[informs], mean[informs]
        log_p = _log_at_least(least, mu)
        # The density of log Γ at log μ, over its distribution function.
        ratio = np.exp(least * log_mean[informs] - mu - special.gammaln(least) - log_p)
        value[informs], by_log_mean[informs] = log_p, ratio
        curvature[informs] = ratio * (least - mu - ratio)
        hessian = (self.regressors.T * curvature) @ self.regressors
        return float(value.sum()), by_log_mean @ self.regressors, hessian


def _check(x: ArrayLike, count: ArrayLike, lower_bound: ArrayLike) -> tuple[Array, Array, Mask]:
    x, count = np.asarray(x, dtype=np.float64), np.asarray(count, dtype=np.float64)
    is_bound = np.asarray(lower_bound)
    if x.ndim != 1 or not x.shape == count.shape == is_bound.shape:
        shapes = f"{x.shape}, {count.shape} and {is_bound.shape}"
        raise ValueError(f"x, count and lower_bound must have one dimension and one length, not {shapes}")
    if is_bound.dtype != np.bool_:
        raise ValueError(f"lower_bound must be bool, not {is_bound.dtype}")
    for name, allowed, values, good in (
        ("x", "positive and finite", x, (x > 0) & (x < np.inf)),
        (
            "count",
            "a whole number from 0 up",
            count,
            (count >= 0) & (count == np.floor(count)) & (count < np.inf),
        ),
    ):
        if not good.all():
            raise ValueError(f"{name} must be {allowed}, not {values[~good][0]:g}")
    return x, count, is_bound


def _is_determined(regressors: Array, count: Array, is_bound: Mask) -> bool:
    """Tell whether no direction of θ leaves all points as likely or makes them likelier without end.

    A law may not leave a known count above 0, nor rise above one of 0, nor fall below a bound. The
    directions that remain are a cone. If there are any, then one of a cone's edges, which keep some point
    where it is; or, with the intercept alone, one of up and down.
    """
    known, positive = ~is_bound, count > 0
    matters = known | positive
    rows = regressors[matters]
    if regressors.shape[1] == 1:
        directions = np.array([[1.0], [-1.0]])
    else:
        through = np.column_stack([-rows[:, 1], rows[:, 0]])
        directions = np.concatenate([through, -through])
    change = directions @ rows.T  # of log μ, a row a direction
    may_fall = (known & ~positive)[matters]
    may_rise = is_bound[matters]
    allowed = (change == 0) | (change < 0) & may_fall | (change > 0) & may_rise
    return not allowed.all(axis=1).any()


def _log_at_least(least: Array, mean: Array) -> Array:
    """Log of the probability that a Poisson count is `least` (positive) or more."""
    # Γ's distribution function underflows far below its mean; there its series is short, and starts with 1.
    below = mean < least
    share = np.where(below, 1.0, special.gammainc(least, mean))
    series = special.hyp1f1(1.0, least + 1, np.where(below, mean, 0.0))
    log_first = least * np.log(np.where(below, mean, 1.0)) - mean - special.gammaln(least + 1)
    return np.where(below, log_first + np.log(series), np.log(share))
