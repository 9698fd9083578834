"""Power laws fitted to values that are known only to lie in an interval.

log y = intercept + slope · log x + σ ε with ε standard normal, by maximum likelihood. In the parameters
(intercept / σ, slope / σ, 1 / σ) the log-likelihood is concave: Olsen (1978), doi:10.2307/1911445, for
censored values; Burridge (1981), Journal of the Royal Statistical Society B 43, 41, for intervals. So
Newton's method finds its maximum.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from quanta.analysis.fits.censored_likelihood import CensoredLikelihood
from quanta.analysis.fits.errors import FitError, TooFewPoints
from quanta.analysis.fits.intervals import Interval
from quanta.analysis.fits.newton import maximise

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_RESOLUTION = 1e-6
"""Differences of log y below this do not count: rounding would decide what is made of them."""

_STEEPEST = 1e4
"""A change of log y by this much within one standard deviation of log x counts as vertical."""


@dataclass(frozen=True)
class CensoredFit:
    """A power law with log-normal scatter, fitted to values known to lie in intervals.

    Attributes
    ----------
    slope : float
        The exponent with its sign: negative for a falling law. Of a bent law, that in the middle of log x.
    curvature : float
        By how much the slope changes while log x grows by 1; 0 unless it was fitted.
    intercept : float
        Natural logarithm of the median of y at x = 1, of a bent law of its tangent in the middle.
    sigma : float
        Standard deviation of log y about the law; of exact points, their root mean square. 0 where one line
        passes through all intervals.
    interval : Interval or None
        Of the slope, by profile likelihood; None if not asked for.
    log_likelihood : float
        Sum of the log densities of log y of the exact points and of the log probabilities of the others:
        compare it only between fits to the same points. inf if exact points meet sigma 0.
    n_exact, n_interval, n_left, n_right : int
        Number of points of which is known: y (to a millionth); both bounds; only the upper; only the lower.
    window : (float, float)
        Smallest and largest x that entered.
    message : str
        How the fit was made.
    """

    slope: float
    curvature: float
    intercept: float
    sigma: float
    interval: Interval | None
    log_likelihood: float
    n_exact: int
    n_interval: int
    n_left: int
    n_right: int
    window: tuple[float, float]
    message: str


def fit_censored_power_law(
    x: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    slope: float | None = None,
    bent: bool = False,
    confidence: float | None = None,
) -> CensoredFit:
    """Fit a power law with log-normal scatter to values known to lie between bounds.

    Parameters
    ----------
    x : array_like, shape (n,)
        Positive and finite; at least two different values.
    lower, upper : array_like, shape (n,)
        Bounds of y, themselves included. Equal: y is known. 0 and a number: left-censored. A number and inf:
        right-censored. 0 and inf: nothing is known, and the point is left out.
    slope : float, optional
        Holds the slope at this value and fits the rest, to compare theories by their likelihoods. One point
        with both bounds is then enough.
    bent : bool, default False
        Lets the slope change in proportion to log x, so that log y is a parabola. A line that passes through
        all intervals is not bent.
    confidence : float, optional
        Asks for the profile-likelihood interval of the slope with this nominal coverage, between 0 and 1.

    Returns
    -------
    CensoredFit

    Raises
    ------
    TooFewPoints
        If the points do not determine a slope: fewer than three are bounded, none has both bounds, those that
        have them are all at one x and a line may turn about it, or all share one interval and a line passes
        through it. (There the evaluations would say what the slope is: as many as are learned between two of
        them might have been learned in any order.)
    ValueError
        If an argument is not as it has to be; says which.
    FitError
        If the likelihood is flat to rounding, so that Newton's method finds no maximum.

    Notes
    -----
    Where a line passes through all intervals, sigma is 0 and all such lines are equally likely. The slope is
    then the middle of theirs, which is wrong by at most half their range; the message says the range. The
    profile interval holds this range. It is too short where there are too few points to show their scatter.

    The profile interval holds the slopes whose best log-likelihood falls short of the maximum by at most half
    the quantile of chi-square with one degree of freedom: Wilks (1938), doi:10.1214/aoms/1177732360. As the
    log-likelihood is concave they are an interval, and a finite one where the maximum is unique.
    """
    if slope is not None and not math.isfinite(slope):
        raise ValueError(f"slope must be finite, not {slope:g}")
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    if slope is not None and confidence is not None:
        raise ValueError("confidence must be None where the slope is given: what is held has no interval")
    if bent and not (slope is None and confidence is None):
        raise ValueError("slope and confidence must be None where the law may be bent")
    points = _Points.of(*_check(x, lower, upper))
    if slope is None:
        _check_extent(points)
    if slope is not None:
        return _fit_level(points, slope)
    fit = _fit_line(points, bent=bent)
    if confidence is None:
        return fit
    ends = _profile_interval(points, fit, confidence)
    return replace(fit, interval=Interval(fit.slope, *ends, "profile likelihood", points.x.size, confidence))


def _check(x: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array, Array]:
    """Return the points of which something is known."""
    x, lower, upper = (np.asarray(values, dtype=np.float64) for values in (x, lower, upper))
    if x.ndim != 1 or not x.shape == lower.shape == upper.shape:
        shapes = f"{x.shape}, {lower.shape} and {upper.shape}"
        raise ValueError(f"x, lower and upper must have one dimension and the same length, not {shapes}")
    for name, allowed, values, good in (
        ("x", "positive and finite", x, (x > 0) & (x < np.inf)),
        ("lower", "finite and not negative", lower, (lower >= 0) & (lower < np.inf)),
        ("upper", "positive", upper, upper > 0),
    ):
        if not good.all():
            raise ValueError(f"{name} must be {allowed}, not {values[~good][0]:g}")
    crossed = lower > upper
    if crossed.any():
        raise ValueError(f"lower must not exceed upper, not {lower[crossed][0]:g} and {upper[crossed][0]:g}")
    above, below = lower > 0, upper < np.inf
    known = above | below
    if not (above & below).any():
        n_left, n_right = (known & ~above).sum(), (known & ~below).sum()
        found = f"{n_left} points have only an upper bound and {n_right} only a lower"
        raise TooFewPoints(f"lower and upper must both bound at least one point: {found}")
    return x[known], lower[known], upper[known]


@dataclass(frozen=True)
class _Points:
    """Points, shape (n,): log x and bounds of log y, both less a typical value, and masks of their kinds."""

    x: Array
    lower: Array
    upper: Array
    exact: Mask
    interval: Mask
    left: Mask
    right: Mask
    x_center: float
    y_center: float
    window: tuple[float, float]

    @classmethod
    def of(cls, x: Array, lower: Array, upper: Array) -> "_Points":
        left, right = lower == 0, upper == np.inf
        log_x, log_upper = np.log(x), np.log(upper)
        log_lower = np.log(lower, out=np.full(lower.shape, -np.inf), where=~left)
        exact = log_upper - log_lower < _RESOLUTION
        interval = ~(exact | left | right)
        x_center, y_center = float(log_x.mean()), float(np.where(left, log_upper, log_lower).mean())
        window = float(x.min()), float(x.max())
        x, lower, upper = log_x - x_center, log_lower - y_center, log_upper - y_center
        return cls(x, lower, upper, exact, interval, left, right, x_center, y_center, window)

    @property
    def bounded(self) -> Mask:
        """Points with both bounds."""
        return self.exact | self.interval

    @property
    def share_one_interval(self) -> bool:
        """Whether all points with both bounds have the same two, which differ."""
        lower, upper = self.lower[self.bounded], self.upper[self.bounded]
        return not self.exact.any() and bool(max(np.ptp(lower), np.ptp(upper)) < _RESOLUTION)

    @property
    def steepest(self) -> float:
        """Slope of a line that counts as vertical."""
        return _STEEPEST / float(self.x.std())

    @property
    def sharpest(self) -> float:
        """Log-likelihood of a line without scatter through all intervals; densities grow without bound."""
        return math.inf if self.exact.any() else 0.0

    def along(self, slope: float) -> tuple[Array, Array]:
        """Bounds of log y less a slope: of the intercepts of lines through each interval."""
        return self.lower - slope * self.x, self.upper - slope * self.x

    def describe(
        self,
        slope: float,
        intercept: float,
        sigma: float,
        log_likelihood: float,
        message: str,
        curvature: float = 0.0,
    ) -> CensoredFit:
        """Translate a line through these points into a power law."""
        return CensoredFit(
            slope=slope,
            curvature=curvature,
            intercept=intercept + self.y_center - slope * self.x_center,
            sigma=sigma,
            interval=None,
            log_likelihood=log_likelihood,
            n_exact=int(self.exact.sum()),
            n_interval=int(self.interval.sum()),
            n_left=int(self.left.sum()),
            n_right=int(self.right.sum()),
            window=self.window,
            message=message,
        )


def _check_extent(points: _Points) -> None:
    if points.x.size < 3:
        raise TooFewPoints(f"lower and upper must bound at least 3 points, not {points.x.size}")
    if np.ptp(points.x) == 0:
        raise TooFewPoints(f"x must hold at least two different values, not only {points.window[0]:g}")


def _fit_line(points: _Points, *, bent: bool) -> CensoredFit:
    """Fit slope, intercept and sigma, and a curvature if the line may be bent."""
    slopes = _slopes_through_all(points)
    if slopes is None:
        if _turns_upright(points):
            found = "only points at one x have both bounds, and the steeper a line the likelier"
            raise TooFewPoints(f"the slope is undefined: {found}")
        if bent and np.unique(points.x[points.bounded]).size < 3:
            raise TooFewPoints("points with both bounds must lie at three different x for a curvature")
        return _regress(points, None, bent=bent)
    least, most = slopes
    lines = f"lines of slope {least:.6g} to {most:.6g} pass through all intervals"
    if points.share_one_interval:
        raise TooFewPoints(f"the slope is undefined: too few different intervals (1), {lines}")
    if math.isinf(least) or math.isinf(most):
        raise TooFewPoints(f"the slope is undefined: {lines}")
    return replace(_fit_level(points, (least + most) / 2), message=f"no scatter: {lines}")


def _turns_upright(points: _Points) -> bool:
    """Tell whether a line gets more likely without end as it turns about the only x with both bounds."""
    pivot = points.x[points.bounded]
    room = np.where(points.left, -1, 1) * (points.x - pivot[0])
    return bool(np.ptp(pivot) == 0 and ((room >= 0).all() or (room <= 0).all()))


def _fit_level(points: _Points, slope: float) -> CensoredFit:
    """Fit intercept and sigma at a slope."""
    lower, upper = points.along(slope)
    least, most = float(lower.max()), float(upper.min())
    if least - most > _RESOLUTION:
        return _regress(points, slope)
    message = "no scatter: a line of this slope passes through all intervals"
    return points.describe(slope, (least + most) / 2, 0.0, points.sharpest, message)


def _slopes_through_all(points: _Points) -> tuple[float, float] | None:
    """Find the least and the most slope of lines through all intervals; None if there is no such line.

    The lowest upper bound along a slope less the highest lower bound is the room left for a line: a concave
    function of the slope, made of straight pieces. Newton's method from outside ends at its zeros after a
    few pieces, or shows that it has none.
    """
    ends = []
    for side in (-1, 1):
        slope = side * points.steepest
        while True:
            lower, upper = points.along(slope)
            i, j = lower.argmax(), upper.argmin()
            if lower[i] - upper[j] <= _RESOLUTION:
                break
            run = float(points.x[i] - points.x[j])
            if side * run >= 0:  # the room shrinks on the way in
                return None
            slope = float(points.lower[i] - points.upper[j]) / run
        ends.append(slope if abs(slope) < points.steepest else side * math.inf)
    return min(ends), max(ends)  # from outside they cross where only rounding leaves room


def _profile_interval(points: _Points, fit: CensoredFit, confidence: float) -> tuple[float, float]:
    """Find the slopes beyond which the best log-likelihood falls too short of the maximum."""
    least, most = _slopes_through_all(points) or (fit.slope, fit.slope)
    if fit.log_likelihood == math.inf:  # other slopes are infinitely less likely
        return least, most
    allowed = float(special.ndtri((1 + confidence) / 2))  # its square is the quantile of chi-square

    def excess(slope: float) -> float:
        if least <= slope <= most:
            return -allowed
        level = _fit_level(points, slope)
        # The root is nearly linear in the slope, so that few steps are needed.
        return math.sqrt(2 * max(fit.log_likelihood - level.log_likelihood, 0.0)) - allowed

    # About the standard error; without scatter, the range of slopes.
    error = max(fit.sigma, _RESOLUTION) / float(points.x.std()) / math.sqrt(points.bounded.sum())
    if math.isfinite(most - least):
        error = max(error, most - least)
    ends = []
    for side, inside in ((-1, least), (1, most)):
        step = 1.5 * allowed * error
        outside = inside + side * step
        while abs(outside) < points.steepest and excess(outside) < 0:
            step *= 2
            inside, outside = outside, outside + side * step
        closes = abs(outside) < points.steepest
        end = optimize.brentq(excess, inside, outside, xtol=1e-4 * error) if closes else side * math.inf
        ends.append(float(end))
    return ends[0], ends[1]


def _regress(points: _Points, slope: float | None, *, bent: bool = False) -> CensoredFit:
    """Fit a line that misses intervals: its intercept and sigma, and its slope where none is given."""
    spread = float(points.x.std()) or 1.0
    powers = 0 if slope is not None else 1 + bent
    regressors = np.vander(points.x / spread, powers + 1, increasing=True)
    lower, upper = points.along(slope or 0.0)
    y = np.where(points.left, upper, np.where(points.right, lower, (lower + upper) / 2))
    first = np.linalg.lstsq(regressors[points.bounded], y[points.bounded])[0]
    residual = y - regressors @ first
    missed = np.where(points.left & (residual > 0) | points.right & (residual < 0), 0.0, residual)
    # In units of what least squares misses, all numbers are about 1, however small sigma is.
    scale = math.sqrt(float((missed**2).mean()))
    rows = np.column_stack([-regressors, residual / scale])
    likelihood = CensoredLikelihood(
        exact=rows[points.exact],
        censored=np.concatenate([rows[points.left], -rows[points.right]]),
        interval=rows[points.interval],
        half_width=(upper - lower)[points.interval] / 2 / scale,
    )
    theta, value, n_steps = maximise(likelihood.evaluate, np.append(np.zeros(len(first)), 1.0))
    intercept, *free = (float(value) for value in first + scale * theta[:-1] / theta[-1])
    fit = points.describe(
        slope=free[0] / spread if slope is None else slope,
        curvature=2 * free[1] / spread**2 if bent else 0.0,
        intercept=intercept,
        sigma=scale / float(theta[-1]),
        log_likelihood=value - int(points.exact.sum()) * math.log(scale),
        message=f"maximum likelihood, {n_steps} steps of Newton's method",
    )
    if n_steps is None:
        at = "" if slope is None else f" at slope {slope:.6g}"
        raise FitError(f"Newton's method finds no maximum of the likelihood{at}", fit)
    return fit
