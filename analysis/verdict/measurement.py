"""What a slice says in numbers: every statistic for each seed alone.

Seeds are independent, and nothing else is. So every statistic is estimated for each seed, the estimate is the
mean over seeds, and its interval is Student's t over seeds, which covers as it says with few of them.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from quanta.analysis.fits.censored import CensoredFit, fit_censored_power_law
from quanta.analysis.fits.errors import FitError
from quanta.analysis.fits.intervals import Interval, jackknife_seeds
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.learned.order import concordance
from quanta.analysis.learned.reconstruction import FLAT, explained_variance
from quanta.analysis.learned.times import count_learned, final_mean_loss, learning_times, unlearned_mass

Array = NDArray[np.float64]

_STEEPEST = 100.0
"""Change of the log of an expected count from one width to the next that is beyond any data."""

FULL_FACTOR = 2.0
"""Factor in steps without a new subtask after which a network counts as full. With S_k ∝ 1/p_k a network that
has room learns 2^(1/(1+α)) times as many in a factor of 2: 1.6 times at α = 0.4."""


@dataclass(frozen=True)
class Measured:
    """What the checks and the exponents read. S seeds, W widths, T steps, K subtasks.

    Attributes
    ----------
    alpha : float
    frequency : ndarray, shape (K,)
    width : ndarray of int, shape (W,)
    n_parameters : ndarray, shape (W,)
    loss : ndarray, shape (S, W)
        Final mean loss in bits.
    rebuilt : ndarray, shape (S, W)
        The same, reconstructed from the learned set.
    n_learned : ndarray of int, shape (S, W)
    concordance : ndarray, shape (S, W)
    times : Dataset
        From `analysis.learning_times`.
    timed : ndarray, shape (S, K)
        Learning times at the widest; NaN if not learned, or only bounded from above.
    step : ndarray, shape (T,)
    log_curve : ndarray, shape (S, T)
        Of the mean loss of the widest.
    confidence : float
    """

    alpha: float
    frequency: Array
    width: NDArray[np.int64]
    n_parameters: Array
    loss: Array
    rebuilt: Array
    n_learned: NDArray[np.int64]
    concordance: Array
    times: xr.Dataset
    timed: Array
    step: Array
    log_curve: Array
    confidence: float

    @property
    def n_seeds(self) -> int:
        """S."""
        return len(self.loss)

    @property
    def log_loss(self) -> Array:
        """Shape (S, W); NaN where the loss is 0."""
        return log(self.loss)

    @property
    def log_rebuilt(self) -> Array:
        """Shape (S, W); NaN where the loss is 0."""
        return log(self.rebuilt)

    @property
    def counts(self) -> Array:
        """Subtasks learned where that says something of the capacity, else NaN, shape (S, W).

        None learned bounds the capacity only from above, all learned only from below.
        """
        inside = (self.n_learned >= 1) & (self.n_learned < self.frequency.size)
        return np.where(inside, self.n_learned, np.nan)

    @property
    def serial_beta(self) -> float | None:
        """β in S_k ∝ p_k^-β if subtasks are learned one after another, S_k ∝ k: 1/(1+α) under a Zipf law.

        None if all subtasks are equally frequent. Source: Liu et al. (2025), arXiv:2501.12391.
        """
        slope = log_slope(self.frequency, np.arange(1.0, self.frequency.size + 1))
        return -slope if math.isfinite(slope) else None


def measure(curves: xr.Dataset, tau: float = 0.1, confidence: float = 0.9) -> Measured:
    """Take from a slice what is needed.

    Parameters
    ----------
    curves : Dataset
        A slice (see `analysis.select`).
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    confidence : float, default 0.9
        Nominal coverage of the intervals.

    Returns
    -------
    Measured

    Raises
    ------
    ValueError
        If `curves` is not a slice, or an argument is out of its range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    times = learning_times(curves, tau)
    widest = times.isel(width=-1).transpose("seed", "subtask")
    return Measured(
        alpha=float(curves["alpha"]),
        frequency=curves["frequency"].values,
        width=curves["width"].values,
        n_parameters=curves["n_parameters"].values.astype(np.float64),
        loss=final_mean_loss(curves).values.astype(np.float64),
        rebuilt=unlearned_mass(times).values,
        n_learned=count_learned(times).values,
        concordance=concordance(times).values,
        times=times,
        timed=widest["step"].where(widest["step_lower"] > 0).values,
        step=curves["step"].values.astype(np.float64),
        log_curve=log(curves["mean_loss"].isel(width=-1).transpose("seed", "step").values),
        confidence=confidence,
    )


def average(values: ArrayLike, confidence: float) -> Interval | None:
    """Mean over seeds of a statistic (S,) with Student's interval.

    Seeds in which it is not known (NaN) are left out: `n` counts the others, and `kind` says so. None
    if it is known in less than half of them.
    """
    values = np.asarray(values, dtype=np.float64)
    known = values[np.isfinite(values)]
    if not known.size or known.size < values.size / 2:
        return None
    found = jackknife_seeds(lambda seeds: float(known[seeds].mean()), known.size, confidence=confidence)
    if known.size == values.size:
        return found
    kind = f"{found.kind} ({values.size - known.size} of {values.size} seeds undefined)"
    return replace(found, kind=kind)


def log(values: NDArray[Any]) -> Array:
    """Natural logarithm; NaN, which the fits leave out, where there is none."""
    return np.log(np.where(values > 0, values, np.nan).astype(np.float64))


def log_slope(x: Array, y: Array) -> float:
    """Least-squares slope of log y on log x over the positive points; NaN if they do not allow one."""
    there = (x > 0) & (y > 0) & np.isfinite(x) & np.isfinite(y)
    try:
        return fit_power_law(x[there], y[there]).slope
    except ValueError:
        return math.nan


# The statistics of every seed, shape (S,); NaN where undefined.


def order(m: Measured) -> Array:
    """Concordance with the order of frequency at the widest."""
    return m.concordance[:, -1]


def time_slopes(m: Measured, width: int = -1) -> Array:
    """β: slope of log learning time on log frequency with its sign turned, by censored regression.

    `width` is an index. Subtasks not learned count as later than the last that was, see `time_bounds`.
    """
    return np.array([-fit.slope if fit else math.nan for fit in _time_fits(m, width)])


def time_scatters(m: Measured, width: int = -1) -> Array:
    """Get the standard deviation of log learning time about the power law of `time_slopes`."""
    return np.array([fit.sigma if fit else math.nan for fit in _time_fits(m, width)])


def time_bounds(m: Measured, width: int = -1) -> tuple[Array, Array]:
    """Bounds of learning times at a width (an index), each of shape (S, K).

    What is not learned is later than the evaluation by which the last was learned, which is all that can be
    said: a full network learns no more however long it trains, so that the time from there to the end is no
    sign that the rest take longer. This is type II censoring, at the n-th event: Lawless (2003), Statistical
    Models and Methods for Lifetime Data, chapter 2. Taken as later than the end instead, β would grow with
    the length of training once the network is full.
    """
    network = m.times.isel(width=width).transpose("seed", "subtask")
    learned, lower, upper = (network[name].values for name in ("learned", "step_lower", "step_upper"))
    latest = np.where(learned, upper, 0.0).max(axis=1, keepdims=True)
    return np.where(learned, lower, np.where(latest > 0, latest, lower)), upper


def _time_fits(m: Measured, width: int) -> list[CensoredFit | None]:
    return [_fit(m.frequency, *bounds) for bounds in zip(*time_bounds(m, width), strict=True)]


def _fit(x: Array, lower: Array, upper: Array) -> CensoredFit | None:
    try:
        return fit_censored_power_law(x, lower, upper)
    except (ValueError, FitError):
        return None


def naive_time_slopes(m: Measured) -> Array:
    """β by least squares on the learned subtasks alone: biased towards 0, shown for comparison."""
    return np.array([-log_slope(m.frequency, times) for times in m.timed])


def count_slopes(m: Measured) -> Array:
    """γ: exponent of the expected count in N, n ∝ N^γ, over the networks that are full.

    By Poisson regression, whose weights suit counts and which takes a count of 0 as it comes. Its standard
    errors are not used: a count varies less between seeds than Poisson's law has it.
    """
    seeds = zip(is_full(m), m.n_learned, strict=True)
    return np.array([_count_slope(m.n_parameters[full], counts[full]) for full, counts in seeds])


def _count_slope(n_parameters: Array, counts: NDArray[np.int64]) -> float:
    """NaN unless three counts are above 0 and they differ: fewer do not hold a slope."""
    if np.count_nonzero(counts) < 3 or np.ptp(counts) == 0:
        return math.nan
    log_n = np.log(n_parameters)
    mean = float(log_n @ counts) / float(counts.sum())

    def excess(slope: float) -> float:
        # At the best intercept the law gives as many in all as there are, and at the best slope their mean.
        expected = np.exp(slope * log_n - (slope * log_n).max())
        return float(expected @ log_n / expected.sum()) - mean

    steepest = _STEEPEST / float(np.diff(np.sort(log_n)).min())
    return float(optimize.brentq(excess, -steepest, steepest))


def is_full(m: Measured) -> NDArray[np.bool_]:
    """Whether networks have room for no more subtasks, as far as can be seen: shape (S, W).

    They learned nothing in the last factor `FULL_FACTOR` of steps, and not everything there is.
    """
    times = m.times.transpose("seed", "width", "subtask")
    learned = times["learned"].values
    latest = np.where(learned, times["step"].values, 0).max(axis=2)
    end = times["step_lower"].values.max(axis=2)  # before `latest` where all are learned
    return np.asarray(latest < end / FULL_FACTOR)


def count_slopes_in_steps(m: Measured) -> Array:
    """γ_S: slope of the log of the count on log S at the widest, over the times when it grew.

    At the n-th learning time the count goes from n - 1 to n; it is taken as n - 1/2.
    """
    seeds = zip(m.timed, n_learned_before(m), strict=True)
    return np.array([growth(np.sort(times[np.isfinite(times)]), n_before) for times, n_before in seeds])


def n_learned_before(m: Measured) -> NDArray[np.int64]:
    """Count the subtasks learned at the widest before one could see when, shape (S,)."""
    return np.asarray(m.n_learned[:, -1] - np.isfinite(m.timed).sum(axis=1))


def growth(times: Array, n_before: int) -> float:
    """Slope of log count on log time from ascending learning times, `n_before` learned before the first."""
    return log_slope(times, np.arange(times.size, dtype=np.float64) + n_before + 0.5)


def reconstructions(m: Measured) -> Array:
    """`explained_variance` of log mean loss by its reconstruction, over widths."""
    return np.array([explained_variance(*pair) for pair in zip(m.log_loss, m.log_rebuilt, strict=True)])


def loss_slopes(m: Measured) -> Array:
    """α_N: slope of log mean loss on log N with its sign turned."""
    return np.array([-log_slope(m.n_parameters, loss) for loss in m.loss])


def step_slopes(m: Measured) -> Array:
    """α_S: slope of log mean loss on log S at the widest with its sign turned, over `step_windows`."""
    windows = step_windows(m)
    curves = np.exp(m.log_curve)
    return np.array([-log_slope(m.step[there], y[there]) for there, y in zip(windows, curves, strict=True)])


def step_windows(m: Measured) -> NDArray[np.bool_]:
    """Find the evaluations between the first and the last learning time of the widest, shape (S, T).

    Before it nothing is learned and after it nothing more will be: the loss has no slope to explain.
    """
    known = np.isfinite(m.timed)
    first = np.where(known, m.timed, np.inf).min(axis=1)
    last = np.where(known, m.timed, -np.inf).max(axis=1)
    return np.asarray((m.step >= first[:, None]) & (m.step <= last[:, None]))


def slope_ratios(m: Measured) -> Array:
    """Slope in N of the reconstructed over that of the measured loss, over the widths where both are known.

    NaN where either does not vary: the slope of a constant says nothing.
    """
    return np.array([_slope_ratio(m.n_parameters, *pair) for pair in zip(m.loss, m.rebuilt, strict=True)])


def _slope_ratio(n_parameters: Array, loss: Array, rebuilt: Array) -> float:
    there = (loss > 0) & (rebuilt > 0)
    n_parameters, loss, rebuilt = n_parameters[there], loss[there], rebuilt[there]
    if not there.any() or min(np.ptp(np.log(loss)), np.ptp(np.log(rebuilt))) < FLAT:
        return math.nan
    return log_slope(n_parameters, rebuilt) / log_slope(n_parameters, loss)
