"""The exponent of a rank-frequency law, by maximum likelihood on counts.

A line through log counts against log ranks weighs the rarest, of which least is known, as the most frequent,
and drops those that were not seen. The likelihood does neither.

Shapes: m ranks.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import chi2

from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.intervals import Interval

STEEPEST = 20.0
"""Largest exponent looked for, in absolute value: at it the second rank has a millionth of the first."""


def fit_zipf(counts: ArrayLike, confidence: float = 0.9) -> Interval:
    """Fit z of p_i ∝ i^-z on the ranks i = 1..m to counts.

    Parameters
    ----------
    counts : array_like of int, shape (m,)
        How often each rank was seen, by rank; some may be 0. Where ranks are made of the counts themselves,
        by sorting, z is overestimated, the more the smaller the counts;
        `quanta.analysis.discovery.calibration` puts that right.
    confidence : float, default 0.9
        Nominal coverage of the interval.

    Returns
    -------
    Interval
        Of the Zipf exponent z = 1 + α, with `n` the sum of the counts, by the profile of the likelihood.

    Raises
    ------
    TooFewPoints
        If there are fewer than two ranks, or nothing was counted.

    References
    ----------
    Clauset, Shalizi and Newman (2009), doi:10.1137/070710111, of which this is the truncated, discrete case.
    """
    counts = np.asarray(counts, dtype=np.float64)
    total = float(counts.sum()) if counts.ndim == 1 else 0.0
    if counts.ndim != 1 or counts.size < 2 or total <= 0:
        raise TooFewPoints(f"counts must be of two ranks or more and not all 0, not of shape {counts.shape}")
    if not (counts >= 0).all():
        raise ValueError(f"counts must be at least 0, not {counts.min():g}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    log_rank = np.log(np.arange(1, counts.size + 1))
    mean = float(counts @ log_rank) / total

    def log_likelihood(z: float) -> float:
        return -total * (z * mean + _log_sum(log_rank, z))

    # The derivative: the mean of log ranks that the law expects, less the one seen. It falls with z.
    def excess(z: float) -> float:
        weight = np.exp(-z * log_rank - _log_sum(log_rank, z))
        return float(weight @ log_rank) - mean

    estimate = _root(excess, -STEEPEST, STEEPEST)
    drop = float(chi2.ppf(confidence, 1)) / 2
    best = log_likelihood(estimate)

    def below(z: float) -> float:
        return best - log_likelihood(z) - drop

    lower = -_root(lambda x: -below(-x), -estimate, STEEPEST)
    upper = _root(lambda z: -below(z), estimate, STEEPEST)
    return Interval(estimate, lower, upper, "profile of the likelihood", round(total), confidence)


def count_sizes(names: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Count members of clusters 0..n-1 and sort the counts: the largest first, shape (n,)."""
    return np.sort(np.bincount(names, minlength=n))[::-1]


def fit_line_to_envelope(curves: Sequence[NDArray[np.int64]]) -> float:
    """Fit a line to the upper envelope of rank-frequency curves, as the paper reads an exponent.

    For comparison: what it gives hardly depends on the exponent, as the null of equal frequencies shows.

    Parameters
    ----------
    curves : sequence of ndarray of int64, shape (m,)
        Sizes of clusters, the largest first, for several numbers of clusters m.

    Returns
    -------
    float
        Minus the least-squares slope of log size on log rank, over all ranks.

    References
    ----------
    Michaud et al. (2023), arXiv:2303.13506, section 5.
    """
    envelope = np.zeros(max(map(len, curves)))
    for sizes in curves:
        envelope[: sizes.size] = np.maximum(envelope[: sizes.size], sizes)
    seen = envelope > 0
    log_rank = np.log(np.arange(1, envelope.size + 1))[seen]
    return float(-np.polyfit(log_rank, np.log(envelope[seen]), 1)[0])


def _log_sum(log_rank: NDArray[np.float64], z: float) -> float:
    exponent = -z * log_rank
    highest = float(exponent.max())
    return highest + math.log(float(np.exp(exponent - highest).sum()))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, or the end that it does not reach."""
    if falling(high) >= 0:
        return high
    return low if falling(low) <= 0 else float(brentq(falling, low, high, xtol=1e-10))
