"""What a slice says in numbers: the statistics behind the checks, and the exponents beside their theory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.intervals import FitError, Interval, bootstrap_seeds
from analysis.learning import count_learned, final_mean_loss, learning_times, unlearned_mass
from analysis.power_laws import fit_power_law
from analysis.q_sequence import concordance
from analysis.theory import expected_exponents, expected_loss_vs_parameters, expected_loss_vs_steps

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Statistic = Callable[[Indices], float]

_FLAT = 1e-9
"""Log losses that differ by less differ by rounding."""


@dataclass(frozen=True)
class Exponent:
    """A measured exponent beside what the hypothesis predicts; None where not known.

    Attributes
    ----------
    estimate, lower, upper : float or None
        As a positive number for a falling law; the interval is from resampling seeds.
    expected_infinite : float or None
        For infinitely many subtasks.
    expected_finite : float or None
        For this study's frequencies, by the same fit over the same points.
    window : (float, float) or None
        Smallest and largest abscissa that entered.
    n_points : int or None
        Number of points that entered.
    """

    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    expected_infinite: float | None = None
    expected_finite: float | None = None
    window: tuple[float, float] | None = None
    n_points: int | None = None


@dataclass(frozen=True)
class Resampling:
    """How every interval is made."""

    n_seeds: int
    confidence: float
    n_resamples: int
    seed: int

    def interval(self, statistic: Statistic) -> Interval | None:
        """Estimate and bootstrap; None where the statistic is undefined."""
        try:
            return bootstrap_seeds(
                statistic,
                self.n_seeds,
                confidence=self.confidence,
                n_resamples=self.n_resamples,
                seed=self.seed,
            )
        except FitError:
            return None


@dataclass(frozen=True)
class Measured:
    """What the checks and the exponents read. S seeds, W widths, T steps, K subtasks."""

    alpha: float
    frequency: Array  # (K,)
    width: NDArray[np.int64]  # (W,)
    n_parameters: Array  # (W,)
    loss: Array  # (S, W) final mean loss
    rebuilt: Array  # (S, W) the same, reconstructed from the learned set
    n_learned: NDArray[np.int64]  # (S, W)
    concordance: Array  # (S, W)
    times: xr.Dataset
    timed: Array  # (S, K) learning times at the widest; NaN if not learned, or only bounded from above
    step: Array  # (T,)
    log_curve: Array  # (S, T) of the mean loss of the widest
    resampling: Resampling

    @property
    def log_loss(self) -> Array:
        """Shape (S, W); NaN where the loss is 0."""
        return _log(self.loss)

    @property
    def log_rebuilt(self) -> Array:
        """Shape (S, W); NaN where the loss is 0."""
        return _log(self.rebuilt)


def measure(curves: xr.Dataset, tau: float, resampling: Resampling) -> Measured:
    """Take from a slice what is needed."""
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
        log_curve=_log(curves["mean_loss"].isel(width=-1).transpose("seed", "step").values),
        resampling=resampling,
    )


def _log(values: NDArray[Any]) -> Array:
    """Natural logarithm; NaN, which the fits leave out, where there is none."""
    return np.log(np.where(values > 0, values, np.nan).astype(np.float64))


def _slope(log_x: Array, log_y: Array) -> float:
    """Least-squares slope over the points that are there; NaN if they do not allow one."""
    there = np.isfinite(log_x) & np.isfinite(log_y)
    try:
        return fit_power_law(np.exp(log_x[there]), np.exp(log_y[there])).slope
    except ValueError:
        return math.nan


# The statistics, as functions of the seeds drawn; NaN where undefined.


def order(m: Measured, seeds: Indices) -> float:
    """Concordance at the widest, mean over the seeds in which it is known."""
    known = m.concordance[seeds, -1]
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else math.nan


def time_slope(m: Measured, seeds: Indices) -> float:
    """Slope of log learning time on log frequency at the widest, seeds pooled."""
    log_p = np.broadcast_to(np.log(m.frequency), m.timed.shape)
    return _slope(log_p.ravel(), _log(m.timed[seeds]).ravel())


def log_count(m: Measured, seeds: Indices) -> Array:
    """Log of the count, mean over seeds (W,); NaN below 1, and at K, where nothing is left to learn."""
    n = m.n_learned[seeds].mean(axis=0)
    return _log(np.where((n >= 1) & (n < m.frequency.size), n, np.nan))


def count_slope(m: Measured, seeds: Indices) -> float:
    """Slope of the log of the count, mean over seeds, on log N."""
    return _slope(np.log(m.n_parameters), log_count(m, seeds))


def explained_variance(log_loss: Array, log_rebuilt: Array) -> float:
    """Share of the variance of log loss that a line in log reconstructed loss explains.

    The squared correlation over the points where both are there; NaN for fewer than three, or where either
    does not vary. Whether that line is the identity is asked elsewhere, of the slopes.
    """
    there = np.isfinite(log_loss) & np.isfinite(log_rebuilt)
    measured, rebuilt = log_loss[there], log_rebuilt[there]
    if measured.size < 3 or np.ptp(measured) < _FLAT or np.ptp(rebuilt) < _FLAT:
        return math.nan
    return float(np.corrcoef(measured, rebuilt)[0, 1] ** 2)


def reconstruction(m: Measured, seeds: Indices) -> float:
    """`explained_variance` over the networks of the seeds."""
    return explained_variance(m.log_loss[seeds].ravel(), m.log_rebuilt[seeds].ravel())


def loss_slope(m: Measured, seeds: Indices) -> float:
    """Slope of log mean loss, averaged over seeds, on log N."""
    return _slope(np.log(m.n_parameters), m.log_loss[seeds].mean(axis=0))


def slope_ratio(m: Measured, seeds: Indices) -> float:
    """Slope of the reconstructed over that of the measured loss, over the widths where both are known."""
    measured, rebuilt = m.log_loss[seeds].mean(axis=0), m.log_rebuilt[seeds].mean(axis=0)
    there = np.isfinite(measured) & np.isfinite(rebuilt)
    log_n = np.log(m.n_parameters)[there]
    if log_n.size == 0 or np.ptp(measured[there]) < _FLAT:
        return math.nan
    return _slope(log_n, rebuilt[there]) / _slope(log_n, measured[there])


# The exponents.


def exponents(m: Measured) -> dict[str, Exponent]:
    """Measure every exponent and put it beside its theory.

    Parameters
    ----------
    m : Measured

    Returns
    -------
    dict of str to Exponent
        `alpha_N`, `alpha_S`, `alpha_D`, `beta` and `gamma`; see `Verdict`. A slice holds one n_train, so
        `alpha_D` is not known.
    """
    timed = np.isfinite(m.timed)
    counted = np.isfinite(log_count(m, np.arange(len(m.n_learned))))
    return {
        "alpha_N": _alpha_n(m),
        "alpha_S": _alpha_s(m),
        "alpha_D": Exponent(expected_infinite=expected_exponents(m.alpha)["alpha_D"]),
        # A finite K changes neither of these: S_k = c / p_k and n = c N hold for every subtask there is.
        "beta": _exponent(m, time_slope, -1, m.frequency[timed.any(axis=0)], int(timed.sum()), 1.0, 1.0),
        "gamma": _exponent(m, count_slope, 1, m.n_parameters[counted], int(counted.sum()), 1.0, 1.0),
    }


def _exponent(
    m: Measured,
    slope: Callable[[Measured, Indices], float],
    sign: int,
    abscissa: Array,
    n_points: int,
    infinite: float | None,
    finite: float | None,
) -> Exponent:
    found = m.resampling.interval(lambda seeds: sign * slope(m, seeds) + 0.0)  # never -0.0
    if found is None:
        return Exponent(expected_infinite=infinite, expected_finite=finite)
    window = (float(abscissa.min()), float(abscissa.max()))
    return Exponent(found.estimate, found.lower, found.upper, infinite, finite, window, n_points)


def _alpha_n(m: Measured) -> Exponent:
    """Over all widths whose loss is not 0 for some seed."""
    there = np.isfinite(m.log_loss.mean(axis=0))
    finite = None
    if ((m.n_learned >= 1) & (m.n_learned < m.frequency.size)).any():
        expected = expected_loss_vs_parameters(m.frequency, m.n_parameters, m.n_learned)
        finite = _expected(m.n_parameters[there], expected[there])
    infinite = expected_exponents(m.alpha)["alpha_N"]
    return _exponent(m, loss_slope, -1, m.n_parameters[there], int(there.sum()), infinite, finite)


def _alpha_s(m: Measured) -> Exponent:
    """At the widest, over the evaluations between the first and the last learned subtask.

    Each end of the window is the median over seeds. Before it nothing is learned and after it nothing
    more will be, so that the loss has no slope to explain.
    """
    infinite = expected_exponents(m.alpha)["alpha_S"]
    timed = m.timed[np.isfinite(m.timed).any(axis=1)]
    if not timed.size:
        return Exponent(expected_infinite=infinite)
    first, last = np.median(np.nanmin(timed, axis=1)), np.median(np.nanmax(timed, axis=1))
    there = (m.step >= first) & (m.step <= last) & np.isfinite(m.log_curve.mean(axis=0))
    step = m.step[there]
    if not step.size:
        return Exponent(expected_infinite=infinite)
    finite = _expected(step, expected_loss_vs_steps(m.frequency, step, m.timed))

    def slope(m: Measured, seeds: Indices) -> float:
        return _slope(np.log(step), m.log_curve[seeds][:, there].mean(axis=0))

    return _exponent(m, slope, -1, step, step.size, infinite, finite)


def _expected(x: Array, loss: Array) -> float | None:
    """Exponent of an expected loss; None where it has none over all of these points."""
    exponent = -_slope(np.log(x), _log(loss)) if (loss > 0).all() else math.nan
    return exponent if math.isfinite(exponent) else None
