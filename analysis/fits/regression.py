"""Regression of a curve on points: down to a minimum, what is wrong with it, and the profile around it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares, minimize

from quanta.analysis.fits.curves import ScalingCurve

Array = NDArray[np.float64]

Loss = Literal["squares", "huber"]
"""What is summed over residuals: squares, or Huber's function, which grows linearly beyond a delta."""

MAX_EVALUATIONS = 3000
"""Of a curve, from one start; squares take tens and Huber's function hundreds."""
N_TRIED = 10
"""Starts, the lowest, from which a descent is tried."""
MAX_TRIAL = 40
"""Evaluations of a trial."""
N_FINISHED = 3
"""Trials, the lowest, that go on to their ends: the lowest need not end lowest."""
TOLERANCE = 1e-12
"""Relative change of the sum or of the coordinates at which a descent ends; near rounding."""
MAX_GRADIENT = 1e-6
"""Of half the sum at a minimum; coordinates are of order one, so that is about the error it leaves."""
MIN_SINGULAR_VALUE = 1e-5
"""Of the derivatives, over sqrt(n): a direction in which a unit moves log loss less is not determined."""
AT_BOUND = 1e-7
"""A coordinate this close to a bound is at it: the solver stays a little inside."""
SIMPLEX = 0.02
"""First step of the search without a gradient, which starts next to a minimum."""
SIMPLEX_END = 1e-9
"""Its last step, and the precision of the ends of a profile."""


@dataclass(frozen=True)
class End:
    """Where a descent ended.

    Attributes
    ----------
    t : ndarray, shape (T,)
        Coordinates; those within `AT_BOUND` of a bound are at it.
    cost : float
        Half the sum.
    converged : bool
        Whether it is a minimum.
    """

    t: Array
    cost: float
    converged: bool


@dataclass(frozen=True)
class Regression:
    """A curve to be fitted to points.

    Attributes
    ----------
    curve : ScalingCurve
    x, y : ndarray, shape (n,)
        The points.
    loss : {"squares", "huber"}
    huber_delta : float
        In log y.
    """

    curve: ScalingCurve
    x: Array
    y: Array
    loss: Loss = "squares"
    huber_delta: float = 1e-3

    @cached_property
    def origin(self) -> float:
        """Log of the smallest x."""
        return float(np.log(self.x.min()))

    @cached_property
    def u(self) -> Array:
        """Points on the axis of the curve (n,)."""
        return self.place(self.x)

    @cached_property
    def v(self) -> Array:
        """Log loss of the points (n,)."""
        return np.log(self.y)

    def place(self, x: Array) -> Array:
        """Return where x lies on the axis of the curve."""
        return np.asarray(np.log(x) - self.origin)

    def residuals(self, t: Array) -> Array:
        """Return curve minus points (n,)."""
        return self.curve.evaluate(t, self.u)[0] - self.v

    def cost(self, t: Array) -> float:
        """Return half the sum over residuals of squares or, twice, of Huber's function."""
        size = np.abs(self.residuals(t))
        if self.loss == "squares":
            return float(size @ size) / 2
        delta = self.huber_delta
        return float(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum())

    def fit(self, near: Array | None = None) -> End:
        """Return the best end from the best start of each group; or that from coordinates near it."""
        if near is not None:
            return self.descend(near)
        best = [min(group, key=self.cost) for group in self.curve.starts(self.u, self.v)]
        starts = sorted(best, key=self.cost)[:N_TRIED]
        tried = sorted((self.descend(start, most=MAX_TRIAL) for start in starts), key=lambda end: end.cost)
        finished = (end if end.converged else self.descend(end.t) for end in tried[:N_FINISHED])
        return min(finished, key=lambda end: end.cost)

    def descend(self, start: Array, fixed: int | None = None, most: int | None = None) -> End:
        """Go downhill from a start, with one coordinate fixed and in so many evaluations at most if asked."""
        start = self.curve.make_finite(start, self.u)
        free = np.arange(start.size) != fixed
        lower, upper = (bound[free] for bound in self.curve.bounds(self.u))

        def complete(part: Array) -> Array:
            t = start.copy()
            t[free] = part
            return t

        found = least_squares(
            lambda part: self.residuals(complete(part)),
            np.clip(start[free], lower, upper),
            jac=lambda part: self.curve.evaluate(complete(part), self.u)[1][:, free],
            bounds=(lower, upper),
            loss="linear" if self.loss == "squares" else "huber",
            f_scale=self.huber_delta,
            x_scale="jac",
            xtol=TOLERANCE,
            ftol=TOLERANCE,
            gtol=TOLERANCE,
            max_nfev=min(most or MAX_EVALUATIONS, MAX_EVALUATIONS),
        )
        converged = found.status > 0 and found.optimality < MAX_GRADIENT
        if converged or not self.curve.kinked:
            part = np.where(found.x - lower < AT_BOUND, lower, found.x)
            part = np.where(upper - found.x < AT_BOUND, upper, part)
            return End(complete(part), float(found.cost), converged)
        # In a kink the gradient does not vanish at a minimum and does not lead to it.
        n_free = int(free.sum())
        searched = minimize(
            lambda part: self.cost(complete(part)),
            found.x,
            method="Nelder-Mead",
            options={
                "initial_simplex": found.x + SIMPLEX * np.eye(n_free + 1, n_free),
                "xatol": SIMPLEX_END,
                "fatol": np.inf,
            },
        )
        return End(complete(searched.x), float(searched.fun), bool(searched.success))

    def free(self, t: Array) -> NDArray[np.bool_]:
        """Find the coordinates (T,) that are not at a bound."""
        lower, upper = self.curve.bounds(self.u)
        return np.asarray((t - lower > AT_BOUND) & (upper - t > AT_BOUND))

    def find_fault(self, end: End) -> str | None:
        """Say why an end is no answer; None if it is one."""
        if not end.converged:
            return f"no minimum found in {MAX_EVALUATIONS} evaluations"
        free = self.free(end.t)
        for name, value in zip(np.array(self.curve.names)[~free], end.t[~free], strict=True):
            if name not in self.curve.at_rest:
                return f"{name} ran to its bound {value:.3g}"
        sizes = np.linalg.svd(self.curve.evaluate(end.t, self.u)[1][:, free], compute_uv=False)
        if sizes[-1] < MIN_SINGULAR_VALUE * math.sqrt(self.u.size):
            return f"the {self.u.size} points do not determine the parameters"
        return None

    def stderr(self, t: Array, x: Array) -> Array:
        """Return the standard error of log loss at x (m,) for points of unit variance, by the delta method.

        Coordinates at a bound count as known.
        """
        free = self.free(t)
        at_points, at_x = (self.curve.evaluate(t, u)[1][:, free] for u in (self.u, self.place(x)))
        # With J = Q R, g (J'J)^-1 g' is the square of g R^-1.
        _, triangle = np.linalg.qr(at_points)
        return np.asarray(np.linalg.norm(np.linalg.solve(triangle.T, at_x.T), axis=0))

    def profile(self, t: Array, which: int, threshold: float) -> tuple[float, float]:
        """Find where the cost, with one coordinate fixed and the others fitted anew, is `threshold`.

        Returns the values of the coordinate below and above that at the minimum t.
        """
        derivatives = self.curve.evaluate(t, self.u)[1]
        others = np.delete(derivatives, which, axis=1)
        alone = derivatives[:, which] - others @ np.linalg.lstsq(others, derivatives[:, which])[0]
        step = math.sqrt(2 * (threshold - self.cost(t)) / float(alone @ alone))  # exact for a line
        lower, upper = (float(bound[which]) for bound in self.curve.bounds(self.u))
        return self._cross(t, which, threshold, -step, lower), self._cross(t, which, threshold, step, upper)

    def _cross(self, t: Array, which: int, threshold: float, step: float, bound: float) -> float:
        """Walk away from t in growing steps until the profile is above `threshold`, then close in."""

        def profile(value: float) -> End:
            start = t.copy()
            start[which] = value
            return self.descend(start, which)

        while True:
            beyond = t[which] + step
            if abs(step) > abs(bound - t[which]):
                beyond = bound
            end = profile(beyond)
            if end.cost > threshold:
                return float(
                    brentq(lambda at: profile(at).cost - threshold, t[which], beyond, xtol=SIMPLEX_END)
                )
            if beyond == bound:
                return bound if bound == 0 else math.copysign(math.inf, bound)
            t, step = end.t, 2 * step
