"""The second question: whether the count grows as the hypothesis says.

In the order of frequency; at x_k ∝ 1/p_k along steps and along data, by one law for all ranks; and n ∝ N.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.axes import Axis
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.verdict.claims import (
    Claim,
    Window,
    describe,
    hold,
    is_inside,
    number,
    p_beyond,
    p_outside,
    seeds_needed,
    unknown,
)
from quanta.analysis.verdict.statistics import AtTau

Array = NDArray[np.float64]

ORDER_MARGIN = 0.1
"""How far C may lie below what the scatter alone would leave. No order at all is at .5, while in a true world
whose scatter is as large as the spread of its learning times .75 is left: less than half of that distance."""
BETA_TOLERANCE = 0.1
"""About 1, or half the distance to serial learning's 1/(1+α) where that is less, so that both cannot be
meant."""
GAMMA_TOLERANCE = 0.2
"""About 1; half the distance to n ∝ N^0.6, which with α = .4 would make the loss fall as N^-0.24 and not
N^-0.4."""
DRIFT_CONFIDENCE = 0.98
"""At which β drifts with rank: one true world in fifty is said to."""
DRIFT_TOLERANCE = 0.4
"""By how much β may at the most grow or fall over half of the frequencies learned, for one β to describe them
all: it is then within 1 ± .2 in either half. Trained networks drift by .4 to .9 once much is learned."""

GAMMA_WINDOW = (1 - GAMMA_TOLERANCE, 1 + GAMMA_TOLERANCE)
DRIFT_WINDOW = (-DRIFT_TOLERANCE, DRIFT_TOLERANCE)


def beta_window(here: AtTau) -> Window:
    """Where β has to lie at the frequencies at hand."""
    serial = here.base.serial_beta
    half = abs(1 - serial) / 2 if math.isfinite(serial) else math.inf
    tolerance = min(BETA_TOLERANCE, half)
    return 1 - tolerance, 1 + tolerance


def claim_order(here: AtTau, confidence: float) -> Claim:
    """Ask whether subtasks are learned in the order of frequency, as far as their scatter lets them."""
    if np.ptp(here.base.left.frequency) == 0:
        why = "All subtasks are equally frequent, so that there is no order to learn them in."
        return unknown("S", "order", (0.5, math.inf), why, "frequencies that differ")
    measured, expected = here.concordance_of_widest, here.expected_concordance
    level = mean_over_seeds(expected, confidence).estimate
    if not math.isfinite(level):
        return unknown("S", "order", (0.5, math.inf), "Too few subtasks are learned.", "longer training")
    found = mean_over_seeds(measured, confidence)
    window = (level - ORDER_MARGIN, math.inf)
    why = (
        f"The share of pairs of subtasks learned in the order of frequency is {describe(found)}; "
        "their scatter "
        f"in time would leave {number(level)} of a perfect order, and no order has 0.5."
    )
    # The difference is what scatters over seeds; the window is moved by the mean of what is expected.
    claim = hold("S", "order", measured - expected + level, window, confidence, "")
    return replace(claim, why=why, statistic=found.estimate)


def claim_beta(axis: Axis, here: AtTau, confidence: float) -> Claim:
    """Ask whether x_k ∝ 1/p_k, by one law for all ranks."""
    law, window = here.time_laws[axis.name], beta_window(here)
    name = "learning time" if axis.name == "S" else "examples needed"
    if axis.name == "S" and _may_lack_examples(here):
        why = "What is not learned from a finite training set may lack examples, and not steps."
        # Where there is an axis D, the examples needed say it in its place.
        asked = "D" not in here.base.traces
        return unknown(axis.name, name, window, why, "online data", asked=asked)
    if not np.isfinite(law.beta).any():
        why = (
            f"A slope needs learned subtasks of different frequencies, "
            f"and {law.n_learned.mean():.3g} are seen "
            f"being learned along {axis.name}."
        )
        return unknown(axis.name, name, window, why, "longer training")
    serial = here.base.serial_beta
    first, later, drift = (
        mean_over_seeds(values, confidence) for values in (law.first, law.later, law.drift)
    )
    halves = ""
    if math.isfinite(first.estimate) and math.isfinite(later.estimate):
        halves = (
            f" {describe(first)} over the first half of the ranks learned, {describe(later)} over the later."
        )
    why = (
        f"{name.capitalize()} falls with frequency to the power {{}}; 1 is all at once, "
        f"{serial:.2f} one after another.{halves}"
    )
    claim = hold(axis.name, name, law.beta, window, confidence, why)
    p_drift = _p_two_sided(law.drift)
    if p_drift < 1 - DRIFT_CONFIDENCE:
        # Two laws, of which at least one is not the theory's.
        p_half = min(1.0, 2 * min(p_outside(law.first, window), p_outside(law.later, window)))
        p_fails = min(1.0, 2 * min(claim.p_fails or 1.0, max(p_drift, p_half)))
        why = f"{claim.why} It drifts with rank, by {describe(drift)}: one β does not describe it."
        return replace(claim, holds=None, p_fails=p_fails, needs=None, why=why)
    if claim.holds and not is_inside(drift, DRIFT_WINDOW):
        known = describe(drift) if math.isfinite(drift.estimate) else "not known"
        why = f"{claim.why} But how much it drifts with rank is {known}: one β may not describe it."
        needs = seeds_needed(law.drift, DRIFT_WINDOW, confidence) or "longer training"
        return replace(claim, holds=None, needs=needs, why=why)
    return claim


def _may_lack_examples(here: AtTau) -> bool:
    """Whether the networks that are followed along N and S were trained on a finite training set."""
    return math.isfinite(here.base.left.n_train[-1])


def _p_two_sided(values: Array) -> float:
    """p-value that the mean over seeds is 0; 1 if not known."""
    known = values[np.isfinite(values)]
    if known.size < 2 or 2 * known.size < values.size or np.ptp(known) == 0:
        return 1.0
    return 2 * min(p_beyond(known, 0.0, 1), p_beyond(known, 0.0, -1))


def claim_gamma(here: AtTau, confidence: float) -> Claim:
    """Ask whether the count is in proportion to the number of parameters where room is the limit."""
    if _may_lack_examples(here):
        why = "What ended learning on a finite training set may be a lack of examples, and not of room."
        return unknown("N", "room", GAMMA_WINDOW, why, "online data", asked=False)
    if not math.isfinite(here.mean_gamma(confidence).estimate):
        why = (
            f"In {here.is_full.sum()} of {here.is_full.size} networks room is the limit: "
            "too few to say how it grows; the others would have learned more."
        )
        return unknown("N", "room", GAMMA_WINDOW, why, "training at least twice as long", asked=False)
    n_full = int(here.is_full.sum())
    why = (
        f"The count grows with the number of parameters to the power {{}}; {n_full} of {here.is_full.size} "
        "networks are full, and the counts of the others are lower bounds."
    )
    claim = hold("N", "room", here.gamma, GAMMA_WINDOW, confidence, why, shared=here.gamma_rounding)
    if claim.holds is None and claim.needs is None:
        return replace(claim, needs="more sizes at which networks are full: counts are whole numbers")
    return claim


def nearest_law(here: AtTau, confidence: float) -> list[dict[str, float | str | None]]:
    """Compare laws of the learning time by their likelihoods, seeds as blocks.

    Returns
    -------
    list of dict
        One a law, the likeliest first, then those with free constants: "free" β, and "bent", where β changes
        with log frequency. Each has law, beta, `curvature` (by how much β grows while log frequency grows by
        1, 0 of all but the bent one), log_likelihood (mean over seeds), and `behind` with `lower` and
        `upper`: how much the first is likelier, with its interval over seeds.
    """
    alpha, serial = here.base.alpha, here.base.serial_beta
    laws: dict[str, float | None] = {"parallel": 1.0, "free": None}
    if math.isfinite(serial):
        laws["serial"] = serial
    if alpha > 0:
        laws["clock"] = clock_beta(alpha)
    betas, curvatures, of_bent = here.curvature
    found = dict(zip(laws, here.likelihoods(list(laws.values())).T, strict=True)) | {"bent": of_bent}

    def mean(values: Array) -> float:
        return mean_over_seeds(values, confidence).estimate

    beta = laws | {"free": mean(here.time_laws["S"].beta), "bent": mean(betas)}
    fixed = [name for name in laws if name != "free"]
    ranked = sorted(fixed, key=lambda name: -np.nan_to_num(mean(found[name]), nan=-np.inf))
    rows: list[dict[str, float | str | None]] = []
    for name in [*ranked, "free", "bent"]:
        behind = mean_over_seeds(found[ranked[0]] - found[name], confidence)
        rows.append(
            {
                "law": name,
                "beta": beta[name],
                "curvature": mean(curvatures) if name == "bent" else 0.0,
                "log_likelihood": mean(found[name]),
                "behind": behind.estimate,
                "lower": behind.lower,
                "upper": behind.upper,
            }
        )
    return rows


def clock_beta(alpha: float, c: float = 0.5) -> float:
    """β if the optimiser's clock runs as L^-c: 1/(1 + c α_S) with α_S = x/(1 − c x) and x = α/(1+α).

    Adam divides by the root of the gradients' variance, which falls with the loss while noise dominates: c =
    1/2.
    """
    x = alpha / (1 + alpha)
    return 1 / (1 + c * x / (1 - c * x))
