"""An estimate with its interval, and such from the spread between seeds.

Seeds are independent; widths, steps and subtasks of one seed are not, and are never resampled.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quanta.analysis.fits.errors import FitError

Statistic = Callable[[NDArray[np.int64]], float]
"""Takes indices of seeds, shape (n,), possibly repeated; its value must not depend on their order."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval, of every kind there is.

    Attributes
    ----------
    estimate : float
        NaN where it is not known.
    lower, upper : float or None
        None where there is no interval; `kind` says why.
    kind : str
        How the interval was made.
    n : int
        Number of what it rests on: seeds, or the points of a single fit.
    confidence : float
        Nominal coverage.
    """

    estimate: float
    lower: float | None
    upper: float | None
    kind: str
    n: int
    confidence: float


def mean_over_seeds(values: ArrayLike, confidence: float = 0.9, *, shared: float = 0.0) -> Interval:
    """Mean of a statistic over seeds, with Student's t interval.

    The one rule for seeds that do not know a statistic: they are left out, and the mean over the others is
    given if these are at least half.

    Parameters
    ----------
    values : array_like, shape (S,)
        The statistic of each seed, NaN where it is not known. At least one seed.
    confidence : float, default 0.9
        Nominal coverage, between 0 and 1.
    shared : float, default 0
        Standard error of what moves all seeds alike, of which their spread tells nothing; normal, and added
        in squares.

    Returns
    -------
    Interval
        `n` seeds know it, and `kind` says how many do not. The estimate is NaN where less than half do; one
        seed that does has an estimate and no interval.

    Raises
    ------
    ValueError
        If the values are not one finite or NaN number a seed, or the confidence is out of its range.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"values must have one dimension, the seeds, not shape {values.shape}")
    _check(values.size, confidence)
    if np.isinf(values).any():
        raise ValueError(f"values must be finite, or NaN where not known, not {values[np.isinf(values)][0]}")
    known = values[~np.isnan(values)]
    n, n_unknown = known.size, values.size - known.size
    said = f" ({n_unknown} of {values.size} seeds left out: not known)" if n_unknown else ""
    if 2 * n < values.size:
        return Interval(math.nan, None, None, f"none: known in {n} of {values.size} seeds", n, confidence)
    estimate = float(known.mean())
    if n == 1:
        return Interval(estimate, None, None, f"none: one seed has no spread{said}", n, confidence)
    upper = (1 + confidence) / 2
    own = float(stats.t.ppf(upper, n - 1) * known.std(ddof=1)) / math.sqrt(n)
    half = math.hypot(own, float(stats.norm.ppf(upper)) * shared)
    return Interval(
        estimate, estimate - half, estimate + half, f"mean over seeds, Student t{said}", n, confidence
    )


def difference_of_means(
    after: ArrayLike, before: ArrayLike, confidence: float = 0.9
) -> tuple[Interval, float | None]:
    """Compare the means of a statistic over two sets of seeds, by Welch's test.

    Parameters
    ----------
    after, before : array_like, shapes (S,) and (R,)
        The statistic of each seed, NaN where it is not known. The sets need not be equally spread.
    confidence : float, default 0.9
        Nominal coverage, between 0 and 1.

    Returns
    -------
    Interval
        Of the mean after less the mean before.
    float or None
        p-value of no difference, two-sided. None, and no interval, where a set has fewer than two seeds that
        know the statistic or neither has a spread.

    Raises
    ------
    ValueError
        As of `mean_over_seeds`.

    References
    ----------
    Welch (1947), doi:10.1093/biomet/34.1-2.28.
    """
    means = [mean_over_seeds(values, confidence) for values in (after, before)]
    difference, n = means[0].estimate - means[1].estimate, means[0].n + means[1].n
    one, other = (values[~np.isnan(values)] for values in map(np.asarray, (after, before)))
    if math.isnan(difference) or min(one.size, other.size) < 2 or max(one.std(), other.std()) == 0:
        return Interval(difference, None, None, "none: no spread over seeds in both", n, confidence), None
    test = stats.ttest_ind(one, other, equal_var=False)
    lower, upper = (float(end) for end in test.confidence_interval(confidence))
    kind = "difference of means over seeds, Welch t"
    return Interval(difference, lower, upper, kind, n, confidence), float(test.pvalue)


def jackknife_seeds(statistic: Statistic, n_seeds: int, *, confidence: float = 0.9) -> Interval:
    """Student interval of a statistic from leaving out one seed at a time.

    The pseudo-values n·θ − (n − 1)·θ₍₋ᵢ₎ are treated as n independent measurements: their standard error
    times the quantile of t with n − 1 degrees of freedom. For a mean over seeds this is the classical t
    interval, which covers as it says however few seeds there are, if seeds are normally distributed.

    Parameters
    ----------
    statistic : callable
        Takes indices of seeds; must not depend on their order.
    n_seeds : int
        Number of seeds, at least 1. With one there is no interval.
    confidence : float, default 0.9
        Nominal coverage, between 0 and 1.

    Returns
    -------
    Interval
        About the estimate on all seeds.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    FitError
        If the statistic is not finite on all seeds, or when one is left out.

    References
    ----------
    Tukey (1958), Annals of Mathematical Statistics 29, 614; Efron and Tibshirani (1993), chapter 11.
    """
    _check(n_seeds, confidence)
    estimate, alone = _on_all(statistic, n_seeds, confidence)
    if n_seeds == 1:
        return alone
    seeds = np.arange(n_seeds)
    without = np.array([statistic(np.delete(seeds, i)) for i in seeds])
    if not np.isfinite(without).all():
        raise FitError(
            f"the statistic is not finite without one of {(~np.isfinite(without)).sum()} of {n_seeds} seeds",
            Interval(estimate, None, None, "none: rests on single seeds", n_seeds, confidence),
        )
    standard_error = math.sqrt((n_seeds - 1) / n_seeds * float(((without - without.mean()) ** 2).sum()))
    half = float(stats.t.ppf((1 + confidence) / 2, n_seeds - 1)) * standard_error
    kind = "jackknife over seeds, Student t"
    return Interval(estimate, estimate - half, estimate + half, kind, n_seeds, confidence)


def _check(n_seeds: int, confidence: float) -> None:
    if n_seeds < 1:
        raise ValueError(f"n_seeds must be at least 1, not {n_seeds}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")


def _on_all(statistic: Statistic, n_seeds: int, confidence: float) -> tuple[float, Interval]:
    """Evaluate on all seeds; the interval of one seed is none."""
    estimate = float(statistic(np.arange(n_seeds)))
    alone = Interval(estimate, None, None, "none: one seed has no spread", n_seeds, confidence)
    if not math.isfinite(estimate):
        raise FitError(f"the statistic is {estimate} on all {n_seeds} seeds", alone)
    return estimate, alone
