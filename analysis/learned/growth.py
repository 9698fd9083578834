"""How learning times depend on frequency, x_k ∝ p_k^-β, and how the count depends on size, n ∝ N^γ.

One β for all ranks hides a drift: two effects, one early and one late, can cancel in it. So beside it stand
its drift, by a parabola in log frequency, which sees more than a difference of two halves, and β of the first
and of the later half of the ranks learned, and of their quarters.

Shapes: S seeds, K subtasks.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from quanta.analysis.fits.censored import fit_censored_power_law
from quanta.analysis.fits.errors import NoEstimate
from quanta.analysis.records import Record

Array = NDArray[np.float64]

MIN_INTERVALS = 4
"""Different evaluations between which subtasks must have been learned for a slope: in fewer, the intervals'
ends and not the times make it."""
MIN_FULL = 0.5
"""Share of networks whose count is their room, below which bounds would make the law."""
MIN_GROWN = 3
"""Networks that have learned something; two always lie on a law."""
ROUNDINGS = (0.0, 0.5)
"""By how much room may be less than the count: rounded down, it is not; to the nearest, by a half."""


@dataclass(frozen=True, eq=False)
class TimeLaw(Record):
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
    drift : ndarray, shape (S,)
        By how much β grows over half of the range of log frequency that is learned, as from the middle of its
        first half to that of its later; by `measure_curvature`.
    n_learned : ndarray of int, shape (S,)
        With both bounds: those learned before one could see when tell no slope.
    """

    beta: Array
    scatter: Array
    first: Array
    later: Array
    quarters: Array
    drift: Array
    n_learned: NDArray[np.int64]


def measure_time_law(frequency: Array, lower: Array, upper: Array, *, parts: bool = True) -> TimeLaw:
    """Measure β by censored regression in each seed.

    Parameters
    ----------
    frequency : ndarray, shape (K,)
    lower, upper : ndarray, shape (S, K)
        Bounds of x_k, as of `quanta.analysis.learned.times.time_bounds`.
    parts : bool, default True
        Whether the halves, the quarters and the drift are wanted.

    Returns
    -------
    TimeLaw
    """
    seeds = list(zip(lower, upper, strict=True))
    whole = np.array([_fit_times(frequency, *bounds) for bounds in seeds])
    seen = (lower > 0) & np.isfinite(upper)
    none = np.full(len(seeds), np.nan)
    extent = np.array([np.ptp(np.log(frequency[of_seed])) if of_seed.any() else np.nan for of_seed in seen])
    return TimeLaw(
        beta=whole[:, 0],
        scatter=whole[:, 1],
        first=np.array([_fit_part(frequency, *b, 0, 2) for b in seeds]) if parts else none,
        later=np.array([_fit_part(frequency, *b, 1, 2) for b in seeds]) if parts else none,
        quarters=np.array([[_fit_part(frequency, *b, i, 4) for i in range(4)] for b in seeds])
        if parts
        else np.full((len(seeds), 4), np.nan),
        drift=-measure_curvature(frequency, lower, upper)[1] * extent / 2 if parts else none,
        n_learned=seen.sum(axis=1),
    )


def measure_count_law(
    n_parameters: Array, n_learned: NDArray[np.int64], is_full: NDArray[np.bool_]
) -> tuple[Array, float]:
    """Measure γ in n ∝ N^γ in each seed.

    The room of a full network is known to within one subtask: its count is that room as a whole number. Of
    any other network the count is a lower bound: none is left out, and none that would have learned more
    pulls the law down. Whether room is rounded down or to the nearest is not known, and matters where counts
    are small: the two are averaged by their likelihoods, those of all seeds together.

    Parameters
    ----------
    n_parameters : ndarray, shape (W,)
    n_learned, is_full : ndarray, shape (S, W)

    Returns
    -------
    gamma : ndarray, shape (S,)
        NaN where less than `MIN_FULL` of the networks are full, fewer than `MIN_GROWN` have learned
        something, or they do not determine it.
    rounding : float
        Standard error that counting in whole subtasks makes, alike in all seeds; see `rounding_error`.
    """
    slopes, scatters, likelihoods = np.full((3, len(ROUNDINGS), len(n_learned)), np.nan)
    for seed in np.flatnonzero(
        (is_full.mean(axis=1) >= MIN_FULL) & ((n_learned > 0).sum(axis=1) >= MIN_GROWN)
    ):
        for i, less in enumerate(ROUNDINGS):
            lower = np.maximum(n_learned[seed] - less, 0.0)
            upper = np.where(is_full[seed], n_learned[seed] + 1 - less, np.inf)
            falling, scatters[i, seed], likelihoods[i, seed] = _fit(n_parameters, lower, upper)
            slopes[i, seed] = -falling
    in_both = np.isfinite(likelihoods).all(axis=0)
    if not in_both.any():
        return slopes[0], 0.0
    scatter = float(scatters[:, in_both].mean())
    gamma = special.softmax(likelihoods[:, in_both].sum(axis=1)) @ slopes
    return np.asarray(gamma), rounding_error(n_parameters, n_learned, is_full, scatter)


def rounding_error(
    n_parameters: Array, n_learned: NDArray[np.int64], is_full: NDArray[np.bool_], scatter: float
) -> float:
    """Measure the standard error of γ from counting in whole subtasks, which is alike in every seed.

    A count of n stands for room that is anything between two whole numbers: uniform, so that log n has the
    standard deviation log((n + 1) / n) / √12. Seeds of one size often have the same count, and no number of
    them tells how it was rounded.

    Parameters
    ----------
    n_parameters : ndarray, shape (W,)
    n_learned, is_full : ndarray, shape (S, W)
    scatter : float
        Standard deviation of log room about the law besides.

    Returns
    -------
    float
        Of the slope over the sizes at which most networks are full, each weighted by how well its room is
        known; 0 if there are not two.
    """
    count = np.where(is_full, n_learned, 0).sum(axis=0) / np.maximum(is_full.sum(axis=0), 1)
    there = (is_full.mean(axis=0) >= MIN_FULL) & (count > 0)
    x = np.log(n_parameters[there].astype(np.float64))
    if np.unique(x).size < 2:
        return 0.0
    error = np.log1p(1 / count[there]) / np.sqrt(12)
    weight = 1 / (error**2 + scatter**2)
    away = weight * (x - np.average(x, weights=weight))
    return float(np.sqrt(((away * error) ** 2).sum()) / (away @ x))


def likelihood_of_slope(frequency: Array, lower: Array, upper: Array, beta: float | None) -> Array:
    """Best log-likelihood with β held, or free if None, shape (S,); NaN where there is no fit."""
    slope = None if beta is None else -beta
    return np.array([_fit_times(frequency, *bounds, slope)[2] for bounds in zip(lower, upper, strict=True)])


def measure_curvature(frequency: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
    """Fit a parabola in log frequency to the log of x_k, in each seed.

    Parameters
    ----------
    frequency, lower, upper
        As of `measure_time_law`.

    Returns
    -------
    beta, curvature, log_likelihood : ndarray, shape (S,)
        β in the middle of the frequencies, by how much it grows while log frequency grows by 1, and the best
        log-likelihood; NaN where there is no fit.
    """
    found = np.full((len(lower), 3), np.nan)
    for seed, (low, high) in enumerate(zip(lower, upper, strict=True)):
        if not _are_told_apart(low, high):
            continue
        try:
            fit = fit_censored_power_law(frequency, low, high, bent=True)
        except NoEstimate:
            continue
        found[seed] = -fit.slope, -fit.curvature, fit.log_likelihood
    return found[:, 0], found[:, 1], found[:, 2]


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
    if ranks.size < MIN_INTERVALS:
        return np.nan
    inside = slice(ranks[0], x.size if part == n_parts - 1 else ranks[-1] + 1)
    return _fit_times(x[inside], lower[inside], upper[inside])[0]


def _fit_times(
    x: Array, lower: Array, upper: Array, slope: float | None = None
) -> tuple[float, float, float]:
    """As `_fit`, where evaluations tell the times apart."""
    return _fit(x, lower, upper, slope) if _are_told_apart(lower, upper) else (np.nan, np.nan, np.nan)


def _are_told_apart(lower: Array, upper: Array) -> bool:
    """Whether subtasks were learned between `MIN_INTERVALS` different evaluations."""
    return np.unique(lower[(lower > 0) & np.isfinite(upper)]).size >= MIN_INTERVALS
