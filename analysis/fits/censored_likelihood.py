"""The log-likelihood of censored normal regression in Olsen's parameters, in which it is concave.

Olsen (1978), doi:10.2307/1911445, for censored values; Burridge (1981), Journal of the Royal Statistical
Society B 43, 41, for intervals.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

_LOG_HUGE = 230.0
"""Ratios of density to probability that seem larger than this are rounding, at steps that are refused."""

_LOG_SQRT_2PI = math.log(2 * math.pi) / 2


@dataclass(frozen=True)
class CensoredLikelihood:
    """Log-likelihood of θ, shape (p,): the coefficients of p - 1 regressors, and 1, all over σ.

    The residual of a point, over σ, is linear in θ: a row (-regressors, log y) times θ.

    Shapes: `exact` (n_exact, p); `censored` (n_left + n_right, p), rows at the bound, with the sign for which
    the normal distribution function is the probability; `interval` (n_interval, p), rows in the middle, and
    `half_width` (n_interval,).
    """

    exact: Array
    censored: Array
    interval: Array
    half_width: Array

    def evaluate(self, theta: Array) -> tuple[float, Array, Array]:
        """Return the value, -inf unless 1 / σ is positive, the gradient (p,) and the Hessian (p, p)."""
        n_exact, h, p = len(self.exact), float(theta[-1]), theta.size
        if not h > 0:
            return -math.inf, np.zeros(p), np.zeros((p, p))
        z = self.exact @ theta
        value = n_exact * (math.log(h) - _LOG_SQRT_2PI) - float(z @ z) / 2
        gradient = -z @ self.exact
        gradient[-1] += n_exact / h
        hessian = -self.exact.T @ self.exact
        hessian[-1, -1] -= n_exact / h**2

        z = self.censored @ theta
        log_p = special.log_ndtr(z)
        ratio = _density(z, log_p)
        value += float(log_p.sum())
        gradient += ratio @ self.censored
        hessian -= (self.censored.T * (ratio * (z + ratio))) @ self.censored

        # Derivatives by middle and half width: those by the two bounds would cancel in narrow intervals.
        z, half = self.interval @ theta, self.half_width * h
        log_p = _log_probability(z, half)
        at_lower, at_upper = _density(z - half, log_p), _density(z + half, log_p)
        slope_lower, slope_upper = (z - half) * at_lower, (z + half) * at_upper
        by_z, by_half = at_upper - at_lower, at_upper + at_lower
        mixed = (-slope_lower - slope_upper - by_z * by_half) * self.half_width @ self.interval
        value += float(log_p.sum())
        gradient += by_z @ self.interval
        gradient[-1] += by_half @ self.half_width
        hessian += (self.interval.T * (slope_lower - slope_upper - by_z**2)) @ self.interval
        hessian[-1] += mixed
        hessian[:, -1] += mixed
        hessian[-1, -1] += (slope_lower - slope_upper - by_half**2) @ self.half_width**2
        return value, gradient, hessian


def _log_probability(z: Array, half: Array) -> Array:
    """Logarithm of the probability that a standard normal value lies within `half` of z."""
    z = -np.abs(z)  # by symmetry; far above 0 both distribution functions round to 1
    log_upper, log_lower = special.log_ndtr(z + half), special.log_ndtr(z - half)
    share = np.maximum(-np.expm1(log_lower - log_upper), math.exp(-_LOG_HUGE))
    return np.asarray(log_upper + np.log(share))


def _density(z: Array, log_p: Array) -> Array:
    """Return the standard normal density at z over a probability."""
    return np.asarray(np.exp(np.minimum(-(z**2) / 2 - _LOG_SQRT_2PI - log_p, _LOG_HUGE)))
