"""Whether subtasks are learned in steps: in the final values, and along each curve.

So that nobody can say that the metric made the steps (Schaeffer et al. 2023, arXiv:2304.15004), loss,
accuracy and Brier score are all asked, on one scale: 1 at chance, 0 where the subtask is perfectly done.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.fits.intervals import Interval, jackknife_seeds
from quanta.analysis.learned.dip import UNIFORM_DIP, dip_statistic
from quanta.analysis.learned.times import final_loss, learning_times

Array = NDArray[np.float64]

METRICS: dict[str, Callable[[Any], Any]] = {
    "loss": lambda loss: loss,
    "accuracy": lambda accuracy: 2 * (1 - accuracy),
    "brier": lambda brier: 4 * brier,
}
"""What brings each metric of Curves to the common scale: chance is 1 bit, accuracy .5 and Brier score .25."""

LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
"""A subtask is done below `LOW` and at chance above `HIGH`, since rise times are given from 10 % to 90 %; its
place is where it crosses `MIDDLE`."""

MAX_DROP_FACTOR = 10.0
"""A curve that takes more than this factor in steps from .9 to .1 is no step.

Hard steps take at most the spacing of evaluations, and a skill of the multilinear model 2 to 4
(`logistic_drop`). Learning without quanta takes much longer: 22 for a mode that decays exponentially, as in
gradient flow on a linear model (`exponential_drop`), and 40 for one that a ridge-type filter lets through
(`ridge_drop`). 10 is half way, in the logarithm, between 4 and 22.
"""

WINDOW = 10.0
"""Factor in steps, about its crossing of `MIDDLE`, inside which a decrease belongs to a subtask's drop: as
wide as a drop may be and still be a step."""

_FAR_ABOVE_CHANCE = 2.0
"""Values above count as this for the dip: a loss that diverged is one mode with the rest, however large."""

_MAX_LOG = math.log(np.finfo(np.float64).max)
"""The end of an interval may lie beyond what a float can hold."""

SKILL_RATIO = 100.0
"""Strength of a skill over what there is of it at the start, S / R(0), in `logistic_drop`."""


@dataclass(frozen=True)
class Discreteness:
    """How far one metric moves in steps.

    Intervals are Student's over seeds (`analysis.jackknife_seeds`), and their `n` says in how many the
    number is known.

    Attributes
    ----------
    metric : str
    share_between, share_between_widest : Interval
        Share of the final values of all subtasks between `LOW` and `HIGH`, neither done nor at chance: of all
        networks, and of the widest. An accuracy measured on n samples scatters about chance by 1/√n, so that
        with 256 samples one in twenty of those at chance counts as between.
    dip : float
        `dip_statistic` of the final values of all networks: how far they are from having one mode.
    dip_uniform : float
        What 95 % of samples of that size from the uniform distribution stay below. Values of one network are
        not independent, so this is a yardstick and no test. Nor are two modes quanta: the modes of a filter
        over a wide spectrum gather at 0 and at 1 as well. With one mode, however, there are none.
    drop_factor : Interval or None
        Factor in steps from the last time above `HIGH` to below `LOW` for good: the median over all drops of
        a seed, geometric mean over seeds. See `MAX_DROP_FACTOR`. None without a drop.
    n_drops : int
        Drops seen: subtasks that cross `LOW` for good, over all networks and seeds.
    n_cut : int
        Drops that had begun by the first evaluation. They count from there, so their factors are too small.
    resolution : float
        Median factor in steps between the two evaluations in which a crossing of `MIDDLE` fell. Where this is
        large, nothing could have been told from a step. NaN without a crossing.
    drop_over_spacing : Interval or None
        Median width of a drop at the widest network over the median distance between consecutive ones, both
        in log steps; geometric mean over seeds. Above 1 quanta overlap: each is a step, and their sum, the
        mean loss, is smooth all the same. None unless two drops at different steps were seen in one network.
    share_in_drops : Interval or None
        Share of the decrease of the mean, Σ p_k times the value, from the first to the last evaluation, that
        falls inside drops: within `WINDOW` about the crossing of `MIDDLE`. The decreases of all widths are
        added up; mean over seeds. Increases count as negative, so it may exceed 1. Hard steps give 1, the
        skill of `logistic_drop` .96, exponential modes .69, and those of a ridge-type filter .59. None where
        the mean does not decrease.
    """

    metric: str
    share_between: Interval
    share_between_widest: Interval
    dip: float
    dip_uniform: float
    drop_factor: Interval | None
    n_drops: int
    n_cut: int
    resolution: float
    drop_over_spacing: Interval | None
    share_in_drops: Interval | None


def measure_discreteness(
    curves: xr.Dataset, *, metrics: Sequence[str] = tuple(METRICS), confidence: float = 0.9
) -> dict[str, Discreteness]:
    """Measure in each metric how far subtasks are learned in steps.

    Parameters
    ----------
    curves : Dataset
        A slice.
    metrics : sequence of str
        Some of "loss", "accuracy" and "brier"; all by default. What the curves do not have is left out.
    confidence : float, default 0.9
        Nominal coverage of the intervals.

    Returns
    -------
    dict of str to Discreteness
        By metric, in the order asked.

    Raises
    ------
    ValueError
        If a metric is none of the three, or is not measured everywhere the loss is; if `curves` is not a
        slice, or `confidence` is not between 0 and 1.
    """
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        raise ValueError(f"metrics must be among {', '.join(METRICS)}, not {unknown[0]!r}")
    return {metric: _measure(curves, metric, confidence) for metric in metrics if metric in curves}


def rescale(curves: xr.Dataset, metric: str) -> xr.Dataset:
    """Put a metric, on the common scale, in the place of the loss.

    What works on the loss of a slice then works on the metric.

    Parameters
    ----------
    curves : Dataset
        A slice that holds the metric.
    metric : str
        One of "loss", "accuracy" and "brier".

    Returns
    -------
    Dataset
        The same slice, its `loss` 1 at chance and 0 where the subtask is perfectly done.

    Raises
    ------
    ValueError
        If the metric is not measured everywhere the loss is.
    """
    if metric == "loss":
        return curves
    value = METRICS[metric](curves[metric])
    if (value.isnull() != curves["mean_loss"].isnull()).any():
        raise ValueError(f"{metric} must be measured wherever the loss is, and nowhere else")
    return curves.assign(loss=value)


def _measure(curves: xr.Dataset, metric: str, confidence: float) -> Discreteness:
    scaled = rescale(curves, metric)
    done, halfway, begun = (learning_times(scaled, threshold) for threshold in (LOW, MIDDLE, HIGH))
    final = final_loss(scaled).values
    between = (final > LOW) & (final < HIGH)
    first = scaled["loss"].isel(step=0).transpose("seed", "width", "subtask").values
    dropped, crossed = _seen(done, first, LOW), _seen(halfway, first, MIDDLE)
    log_factor = np.log(np.where(dropped, done["step"].values / begun["step"].values, np.nan))
    log_step = np.log(halfway["step"].values)
    upper, lower = halfway["step_upper"].values[crossed], halfway["step_lower"].values[crossed]
    overlap = [_log_overlap(*of_seed) for of_seed in zip(log_factor[:, -1], log_step[:, -1], strict=True)]
    return Discreteness(
        metric=metric,
        share_between=_mean_over_seeds(between.mean(axis=(1, 2)), confidence),
        share_between_widest=_mean_over_seeds(between[:, -1].mean(axis=1), confidence),
        dip=dip_statistic(np.minimum(final, _FAR_ABOVE_CHANCE)),
        dip_uniform=UNIFORM_DIP / math.sqrt(final.size),
        drop_factor=_exponential(_if_known([_median(of_seed) for of_seed in log_factor], confidence)),
        n_drops=int(dropped.sum()),
        n_cut=int((dropped & ~_seen(begun, first, HIGH)).sum()),
        resolution=_median(upper / np.maximum(lower, 1)),
        drop_over_spacing=_exponential(_if_known(overlap, confidence)),
        share_in_drops=_if_known(_share_in_drops(scaled, log_step, crossed), confidence),
    )


def _seen(times: xr.Dataset, first: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Whether a crossing for good (S, W, K) was seen: not so if the value was always below."""
    return np.asarray(times["learned"].values & ((first >= threshold) | (times["step_lower"].values > 0)))


def _median(values: Array) -> float:
    """Median of the values that are not NaN; NaN if there is none."""
    there = values[np.isfinite(values)]
    return float(np.median(there)) if there.size else math.nan


def _mean_over_seeds(by_seed: Array, confidence: float) -> Interval:
    return jackknife_seeds(lambda seeds: float(by_seed[seeds].mean()), by_seed.size, confidence=confidence)


def _if_known(by_seed: Sequence[float] | Array, confidence: float) -> Interval | None:
    """Mean over the seeds in which a number is known (not NaN); None if in none."""
    values = np.asarray(by_seed)
    known = values[np.isfinite(values)]
    return _mean_over_seeds(known, confidence) if known.size else None


def _exponential(log: Interval | None) -> Interval | None:
    """Turn the interval of a logarithm into that of the quantity."""
    if log is None:
        return None
    estimate = math.exp(log.estimate)
    if log.lower is None or log.upper is None:
        return replace(log, estimate=estimate)
    upper = math.exp(log.upper) if log.upper < _MAX_LOG else math.inf
    kind = f"{log.kind}, of the logarithm"
    return replace(log, estimate=estimate, lower=math.exp(log.lower), upper=upper, kind=kind)


def _log_overlap(log_factor: Array, log_step: Array) -> float:
    """Log of median drop over median spacing, of one network; NaN where no two drops have a distance."""
    spacing = _median(np.diff(np.sort(log_step[np.isfinite(log_factor)])))
    width = _median(log_factor)
    return math.log(width / spacing) if width > 0 and spacing > 0 else math.nan


def _share_in_drops(scaled: xr.Dataset, log_crossing: Array, crossed: NDArray[np.bool_]) -> Array:
    """Share of the decrease inside drops (S,); NaN where there is no decrease."""
    frequency = scaled["frequency"].values
    values = scaled["loss"].transpose("seed", "width", "step", "subtask").values
    n_measured = scaled["mean_loss"].notnull().sum("step").transpose("seed", "width").values
    log_step = np.log(np.maximum(scaled["step"].values, 1.0))
    inside, total = np.zeros((2, *n_measured.shape))
    for network in np.ndindex(n_measured.shape):
        n = n_measured[network]
        one = values[network][:n]
        total[network] = frequency @ (one[0] - one[-1])
        subtask = np.flatnonzero(crossed[network])
        middle, half = log_crossing[network][subtask], math.log(WINDOW) / 2
        before = _interpolate(one, log_step[:n], middle - half, subtask)
        after = _interpolate(one, log_step[:n], middle + half, subtask)
        inside[network] = frequency[subtask] @ (before - after)
    inside, total = inside.sum(axis=1), total.sum(axis=1)
    return np.asarray(np.divide(inside, total, out=np.full(total.shape, np.nan), where=total > 0))


def _interpolate(values: NDArray[Any], log_step: Array, at: Array, subtask: NDArray[np.int64]) -> Array:
    """Read the curves of some subtasks (n,), each at a log step of its own, linear between evaluations.

    Before the first evaluation it is the first value, after the last one the last.
    """
    after = np.clip(np.searchsorted(log_step, at), 1, max(log_step.size - 1, 1))
    before = after - 1
    gap = log_step[after] - log_step[before]
    # Steps 0 and 1 are at the same place on the axis.
    fraction = np.clip((at - log_step[before]) / np.where(gap > 0, gap, 1.0), 0, 1)
    return np.asarray((1 - fraction) * values[before, subtask] + fraction * values[after, subtask])


# Shapes of a drop, for reference.


def logistic_drop(x: ArrayLike) -> Array:
    """Loss of a skill of the multilinear model against steps, in units of its crossing of 1/2.

    The loss is (1 - R/S)² over what it is at the start, where the skill R grows logistically from R(0) to S,
    here `SKILL_RATIO` times as much. From .9 to .1 it takes a factor of 2.9 in steps; of 4 to 2, if S/R(0) is
    from 37 to 700.

    Parameters
    ----------
    x : array_like
        Steps over the step of the crossing.

    Returns
    -------
    ndarray, shaped like x

    References
    ----------
    Nam et al. (2024), arXiv:2404.17563.
    """
    start = 1 - 1 / SKILL_RATIO  # 1 - R/S
    middle = math.sqrt(MIDDLE) * start
    # The odds (1 - R/S) / (R/S) fall exponentially.
    odds_at_start, odds_at_middle = SKILL_RATIO - 1, middle / (1 - middle)
    odds = odds_at_start * (odds_at_middle / odds_at_start) ** np.asarray(x, dtype=np.float64)
    return np.asarray((odds / (1 + odds) / start) ** 2)


def exponential_drop(x: ArrayLike) -> Array:
    """Loss exp(-2 λ t) of a mode in gradient flow on a linear model, in units of its crossing of 1/2.

    From .9 to .1 it takes a factor of ln .1 / ln .9 = 21.9 in steps, whatever λ.

    Parameters
    ----------
    x : array_like
        Steps over the step of the crossing.

    Returns
    -------
    ndarray, shaped like x
    """
    return np.asarray(MIDDLE ** np.asarray(x, dtype=np.float64))


def ridge_drop(x: ArrayLike) -> Array:
    """Loss (1 + λ t)^-2 of a mode behind a ridge-type filter, in units of its crossing of 1/2.

    From .9 to .1 it takes a factor of (√10 - 1) / (√(10/9) - 1) = 40 in steps, whatever λ.

    Parameters
    ----------
    x : array_like
        Steps over the step of the crossing.

    Returns
    -------
    ndarray, shaped like x

    References
    ----------
    Maloney, Roberts and Sully (2022), arXiv:2210.16859.
    """
    return np.asarray((1 + (MIDDLE**-0.5 - 1) * np.asarray(x, dtype=np.float64)) ** -2)
