"""How learning times depend on frequency, x_k ∝ p_k^-β, and how the count depends on size, n ∝ N^γ.

One β for all ranks hides a drift: two effects, one early and one late, can cancel in it. So it stands beside
those of the first and of the later half of the ranks learned, and of their quarters.

Shapes: S seeds, K subtasks.
"""

from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.fits.censored import fit_censored_power_law
from quanta.analysis.fits.counts import fit_count_power_law
from quanta.analysis.fits.errors import NoEstimate, TooFewPoints

Array = NDArray[np.float64]

MIN_IN_PART = 3
"""Learned subtasks that a slope over a part of the ranks needs; two always lie on a line."""
MIN_INTERVALS = 4
"""Different evaluations between which they must have been learned: in fewer, the intervals' ends and not the
times make the slope."""
MIN_FULL = 0.5
"""Share of networks whose count is their room, below which bounds would make the law."""
DISPERSION = 0.1
"""Variance of a count over that of Poisson's law: what is rounded to a whole number varies by a quarter at
most, and does not grow with the count."""


@dataclass(frozen=True, eq=False)
class TimeLaw:
    """The law x_k ∝ p_k^-β of one network in each seed; NaN where it is not known.

    Attributes
    ----------
    beta : ndarray, shape (S,)
    scatter : ndarray, shape (S,)
        Standard deviation of log x_k about the law.
    first, later : ndarray, shape (S,)
        β of the first and of the later half of the ranks learned.
    quarters : ndarray, shape (S, 4)
        β of each quarter of the ranks learned.
    n_learned : ndarray of int, shape (S,)
        With both bounds: those learned before one could see when tell no slope.
    """

    beta: Array
    scatter: Array
    first: Array
    later: Array
    quarters: Array
    n_learned: NDArray[np.int64]

    @property
    def drift(self) -> Array:
        """β of the later half less that of the first, shape (S,)."""
        return self.later - self.first


def measure_time_law(frequency: Array, lower: Array, upper: Array, *, parts: bool = True) -> TimeLaw:
    """Measure β by censored regression in each seed.

    Parameters
    ----------
    frequency : ndarray, shape (K,)
    lower, upper : ndarray, shape (S, K)
        Bounds of x_k, as of `quanta.analysis.learned.times.time_bounds`.
    parts : bool, default True
        Whether the halves and quarters are wanted.

    Returns
    -------
    TimeLaw
    """
    seeds = list(zip(lower, upper, strict=True))
    whole = np.array([_fit_times(frequency, *bounds) for bounds in seeds])
    seen = (lower > 0) & np.isfinite(upper)
    none = np.full(len(seeds), np.nan)
    return TimeLaw(
        beta=whole[:, 0],
        scatter=whole[:, 1],
        first=np.array([_fit_part(frequency, *b, 0, 2) for b in seeds]) if parts else none,
        later=np.array([_fit_part(frequency, *b, 1, 2) for b in seeds]) if parts else none,
        quarters=np.array([[_fit_part(frequency, *b, i, 4) for i in range(4)] for b in seeds])
        if parts
        else np.full((len(seeds), 4), np.nan),
        n_learned=seen.sum(axis=1),
    )


def measure_count_law(n_parameters: Array, n_learned: NDArray[np.int64], is_full: NDArray[np.bool_]) -> Array:
    """Measure γ in n ∝ N^γ in each seed.

    The count of a full network is its room, that of any other a lower bound: no network is left out, and none
    that would have learned more pulls the law down. Whether room for a part of a subtask is rounded down, so
    that it is half a subtask more than the count on average, or to the nearest, is not known, and matters
    where counts are small: of the two the one is taken that lets the full networks of all seeds lie closer to
    their laws.

    Parameters
    ----------
    n_parameters : ndarray, shape (W,)
    n_learned, is_full : ndarray, shape (S, W)

    Returns
    -------
    ndarray, shape (S,)
        NaN where less than `MIN_FULL` of the networks are full, or they do not determine it.
    """
    readings = []
    for halves in (2 * n_learned, 2 * n_learned + 1):
        slopes, misfit = np.full(len(n_learned), np.nan), 0.0
        for seed, (counts, full) in enumerate(zip(halves, is_full, strict=True)):
            if full.mean() < MIN_FULL:
                continue
            with suppress(TooFewPoints):
                fit = fit_count_power_law(n_parameters, counts, ~full, dispersion=2 * DISPERSION)
                expected = np.exp(fit.intercept + fit.slope * np.log(n_parameters[full]))
                slopes[seed], misfit = fit.slope, misfit + ((counts[full] - expected) ** 2 / expected).sum()
        readings.append((misfit, slopes))
    return min(readings, key=lambda reading: reading[0])[1]


def likelihood_of_slope(frequency: Array, lower: Array, upper: Array, beta: float | None) -> Array:
    """Best log-likelihood with β held, or free if None, shape (S,); NaN where there is no fit."""
    slope = None if beta is None else -beta
    return np.array([_fit_times(frequency, *bounds, slope)[2] for bounds in zip(lower, upper, strict=True)])


def _fit(x: Array, lower: Array, upper: Array, slope: float | None = None) -> tuple[float, float, float]:
    """Return β, scatter and log-likelihood; NaN where there is no fit."""
    try:
        fit = fit_censored_power_law(x, lower, upper, slope=slope)
    except NoEstimate:
        return np.nan, np.nan, np.nan
    return -fit.slope, fit.sigma, fit.log_likelihood


def split_ranks(lower: Array, upper: Array, n_parts: int) -> list[NDArray[np.int64]]:
    """Split the ranks learned in one seed into equal parts.

    Parameters
    ----------
    lower, upper : ndarray, shape (K,)
        Bounds of x_k; what is learned has both.
    n_parts : int

    Returns
    -------
    list of ndarray of int
        Ranks from 0 up.
    """
    ranks = np.flatnonzero((lower > 0) & np.isfinite(upper))
    ends = np.linspace(0, ranks.size, n_parts + 1).round().astype(int)
    return [ranks[begin:end] for begin, end in pairwise(ends)]


def _fit_part(x: Array, lower: Array, upper: Array, part: int, n_parts: int) -> float:
    """β over one of equal parts of the ranks learned; the last goes on to rank K."""
    ranks = split_ranks(lower, upper, n_parts)[part]
    if ranks.size < MIN_IN_PART:
        return np.nan
    inside = slice(ranks[0], x.size if part == n_parts - 1 else ranks[-1] + 1)
    return _fit_times(x[inside], lower[inside], upper[inside])[0]


def _fit_times(
    x: Array, lower: Array, upper: Array, slope: float | None = None
) -> tuple[float, float, float]:
    """As `_fit`, where evaluations tell the times apart."""
    seen = (lower > 0) & np.isfinite(upper)
    if np.unique(lower[seen]).size < MIN_INTERVALS:
        return np.nan, np.nan, np.nan
    return _fit(x, lower, upper, slope)
