"""The measured exponents beside what the Quantization Hypothesis predicts for the data at hand."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.theories.protocol import Theory
from quanta.analysis.theories.quanta import expected_exponents
from quanta.analysis.verdict.predictions import expect
from quanta.analysis.verdict.statistics import AtTau, Statistics

Array = NDArray[np.float64]

LAWS = {
    "alpha_N": "L ∝ N^-alpha_N",
    "alpha_S": "L ∝ S^-alpha_S",
    "alpha_D": "L ∝ D^-alpha_D",
    "beta": "S_k ∝ p_k^-beta",
    "beta_first": "first half of ranks",
    "beta_later": "later half of ranks",
    "beta_D": "D_k ∝ p_k^-beta_D",
    "gamma": "n ∝ N^gamma",
}
"""What each exponent is of."""


@dataclass(frozen=True)
class Exponent:
    """A measured exponent beside what the hypothesis predicts; None where not known.

    Attributes
    ----------
    law : str
    estimate, lower, upper : float or None
        Mean over seeds with Student's interval; of a loss, positive for a falling one.
    expected : float or None
        What the same measurement gives, on average, on curves that the hypothesis itself makes at the fitted
        constants, with the same sizes, steps and scatter.
    expected_infinite : float or None
        For infinitely many subtasks.
    """

    law: str
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    expected: float | None = None
    expected_infinite: float | None = None


def measure_exponents(here: AtTau) -> dict[str, Array]:
    """Measure every exponent in each seed, shape (S,); NaN where not known."""
    found = {one.axis.exponent: here.loss_exponent(one.axis) for one in here.base.traces.values()}
    law = here.time_laws["S"]
    found |= {"beta": law.beta, "beta_first": law.first, "beta_later": law.later}
    if "D" in here.time_laws:
        found["beta_D"] = here.time_laws["D"].beta
    return found | {"gamma": here.gamma}


def exponents(statistics: Statistics, confidence: float, seed: int = 0) -> dict[str, Exponent]:
    """Put every measured exponent beside what the hypothesis predicts.

    Parameters
    ----------
    statistics : Statistics
    confidence : float
    seed : int, default 0
        Of the simulations.

    Returns
    -------
    dict of str to Exponent
        In the order of `LAWS`.
    """
    limits = expected_exponents(statistics.base.alpha) | dict.fromkeys(
        ("beta", "beta_first", "beta_later", "beta_D", "gamma"), 1.0
    )
    measured = measure_exponents(statistics.here)
    expected = predict(statistics.here, seed=seed)
    found = {}
    for name, law in LAWS.items():
        if name not in measured:
            continue
        here = statistics.here
        mean = here.mean_gamma(confidence) if name == "gamma" else mean_over_seeds(measured[name], confidence)
        known = bool(np.isfinite(mean.estimate))
        found[name] = Exponent(
            law,
            mean.estimate if known else None,
            mean.lower,
            mean.upper,
            expected.get(name),
            limits.get(name),
        )
    return found


def predict(here: AtTau, theory: type[Theory] = Multilinear, *, seed: int = 0) -> dict[str, float | None]:
    """Measure every exponent on curves that a theory makes at the fitted constants, as on the slice.

    Parameters
    ----------
    here : AtTau
        The slice.
    theory : type of Theory, default Multilinear
    seed : int, default 0
        Of the simulation.

    Returns
    -------
    dict of str to float or None
        Means over simulated seeds; empty where the constants are not known.
    """
    simulated = expect(here, theory, seed=seed)
    if simulated is None:
        return {}
    return {name: _mean(values) for name, values in measure_exponents(simulated).items()}


def _mean(values: Array) -> float | None:
    """Mean over the simulated seeds in which it is known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if 2 * known.size >= values.size else None
