"""The measured exponents beside what the Quantization Hypothesis predicts."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.fits.censored import fit_censored_power_law
from quanta.analysis.fits.errors import FitError
from quanta.analysis.fits.intervals import bootstrap_seeds
from quanta.analysis.fits.scaling import fit_scaling, profile_interval
from quanta.analysis.theories.theory import (
    expected_exponents,
    expected_loss_vs_parameters,
    expected_loss_vs_steps,
)
from quanta.analysis.verdict.measurement import (
    Array,
    Measured,
    average,
    count_slopes,
    count_slopes_in_steps,
    growth,
    is_full,
    log_slope,
    loss_slopes,
    n_learned_before,
    step_slopes,
    step_windows,
    time_bounds,
    time_slopes,
)


@dataclass(frozen=True)
class Exponent:
    """A measured exponent beside what the hypothesis predicts; None where not known.

    Attributes
    ----------
    estimate, lower, upper : float or None
        As a positive number for a falling law: mean over seeds, and Student's interval over seeds.
    bootstrap : (float, float) or None
        Percentile interval from resampling seeds: too short with few of them.
    profile : (float, float) or None
        Profile-likelihood interval of one fit to all seeds, as if its points were independent: for few seeds.
    expected_infinite : float or None
        For infinitely many subtasks.
    expected_finite : float or None
        For this study's frequencies, by the same fit over the same points.
    expected_count : float or None
        The same with the measured γ in n ∝ N^γ where the hypothesis has 1.
    window : (float, float) or None
        Smallest and largest abscissa that entered.
    n_points : int or None
        Number of points that entered, over all seeds.
    """

    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    bootstrap: tuple[float, float] | None = None
    profile: tuple[float, float] | None = None
    expected_infinite: float | None = None
    expected_finite: float | None = None
    expected_count: float | None = None
    window: tuple[float, float] | None = None
    n_points: int | None = None


def exponents(m: Measured, n_bootstrap: int = 2000, seed: int = 0) -> dict[str, Exponent]:
    """Measure every exponent and put it beside its theory.

    Parameters
    ----------
    m : Measured
    n_bootstrap : int, default 2000
        Resamples of the seeds behind each bootstrap interval.
    seed : int, default 0
        Of the resampling.

    Returns
    -------
    dict of str to Exponent
        `alpha_N`, `alpha_S`, `alpha_D`, `beta`, `gamma` and `gamma_S`; see `Verdict`. A slice holds one
        n_train, so `alpha_D` is not known.
    """
    limit = expected_exponents(m.alpha)
    gamma = count_slopes(m)
    lower, upper = time_bounds(m)

    def exponent(values: Array, x: Array, entered: NDArray[np.bool_], **fields: Any) -> Exponent:
        """Average values (S,) that come from those of the x, (n,) or (S, n), which entered, (S, n)."""
        found = average(values, m.confidence)
        if found is None:
            return Exponent(**{name: fields[name] for name in fields if name.startswith("expected")})
        there = np.isfinite(values)
        known = values[there]
        at = np.broadcast_to(x, entered.shape)[entered & there[:, None]]
        resampled = bootstrap_seeds(
            lambda seeds: float(known[seeds].mean()),
            known.size,
            confidence=m.confidence,
            n_resamples=n_bootstrap,
            seed=seed,
        )
        return Exponent(
            found.estimate,
            found.lower,
            found.upper,
            bootstrap=_pair(resampled.lower, resampled.upper),
            window=(float(at.min()), float(at.max())),
            n_points=at.size,
            **fields,
        )

    return {
        "alpha_N": exponent(
            loss_slopes(m),
            m.n_parameters,
            m.loss > 0,
            profile=_regression_interval(m),
            expected_infinite=limit["alpha_N"],
            expected_finite=_expected_alpha_n(m, gamma=None),
            expected_count=_expected_alpha_n(m, gamma=gamma),
        ),
        "alpha_S": exponent(
            step_slopes(m),
            m.step,
            step_windows(m),
            expected_infinite=limit["alpha_S"],
            expected_finite=_expected_alpha_s(m),
        ),
        "alpha_D": Exponent(expected_infinite=limit["alpha_D"]),
        # A finite K changes neither of these: S_k = c / p_k and n = c N hold for every subtask there is.
        "beta": exponent(
            time_slopes(m),
            m.frequency,
            (lower > 0) | np.isfinite(upper),
            profile=_beta_profile(m),
            expected_infinite=1.0,
            expected_finite=1.0,
        ),
        "gamma": exponent(
            gamma,
            m.n_parameters,
            is_full(m),
            expected_infinite=1.0,
            expected_finite=1.0,
        ),
        "gamma_S": exponent(
            count_slopes_in_steps(m),
            m.timed,
            np.isfinite(m.timed),
            expected_infinite=1 / (1 + m.alpha) if limit["alpha_S"] is not None else None,
            expected_finite=_expected_gamma_s(m),
        ),
    }


def _pair(lower: float | None, upper: float | None) -> tuple[float, float] | None:
    return None if lower is None or upper is None else (lower, upper)


def _mean(values: list[float]) -> float | None:
    """Mean over the seeds in which an expectation exists."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def _expected_alpha_n(m: Measured, gamma: Array | None) -> float | None:
    """Exponent over each seed's widths if n = c N^γ, c from its counts; γ = 1 unless given."""
    values = []
    for seed, counts in enumerate(m.n_learned):
        power = 1.0 if gamma is None else float(gamma[seed])
        if not (math.isfinite(power) and np.isfinite(m.counts[seed]).any()):
            continue
        size = (m.n_parameters / m.n_parameters[0]) ** power  # so that no power is too large for a float
        expected = expected_loss_vs_parameters(m.frequency, size, counts)
        there = m.loss[seed] > 0
        if (expected[there] > 0).all():
            values.append(-log_slope(m.n_parameters[there], expected[there]))
    return _mean(values)


def _expected_alpha_s(m: Measured) -> float | None:
    """Exponent over each seed's window if S_k = c / p_k, c from its learning times."""
    values = []
    for times, there in zip(m.timed, step_windows(m), strict=True):
        if there.any():
            expected = expected_loss_vs_steps(m.frequency, m.step[there], times)
            if (expected > 0).all():
                values.append(-log_slope(m.step[there], expected))
    return _mean(values)


def _expected_gamma_s(m: Measured) -> float | None:
    """Growth of the count if S_k = c / p_k and as many are learned as were."""
    seeds = zip(n_learned_before(m), m.n_learned[:, -1], strict=True)
    return _mean([growth(1 / m.frequency[n_before:n], n_before) for n_before, n in seeds])


def _regression_interval(m: Measured) -> tuple[float, float] | None:
    """Profile-likelihood interval of α_N in the line through the geometric means over seeds."""
    mean = np.exp(m.log_loss.mean(axis=0))
    there = np.isfinite(mean)
    try:
        fit = fit_scaling(m.n_parameters[there], mean[there], "power")
        found = profile_interval(fit, "a", m.confidence)
        return _pair(found.lower, found.upper)
    except (ValueError, FitError):
        return None


def _beta_profile(m: Measured) -> tuple[float, float] | None:
    lower, upper = time_bounds(m)
    x = np.broadcast_to(m.frequency, lower.shape)
    try:
        fit = fit_censored_power_law(x.ravel(), lower.ravel(), upper.ravel(), confidence=m.confidence)
    except (ValueError, FitError):
        return None
    found = fit.interval
    ends = None if found is None else _pair(found.lower, found.upper)
    return None if ends is None else (-ends[1], -ends[0])
