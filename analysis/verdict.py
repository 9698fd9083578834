"""The verdict: does the loss power law come from the count of subtasks learned."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.measurement import (
    Exponent,
    Measured,
    Resampling,
    count_slope,
    exponents,
    log_count,
    measure,
    order,
    reconstruction,
    slope_ratio,
    time_slope,
)

SCHEMA = 1
"""Version of the JSON that `Verdict.to_dict` returns."""

MIN_SEEDS = 3
"""Fewer seeds say next to nothing about the spread between seeds."""
MIN_WIDTHS = 4
"""A line through three points has one degree of freedom left to disagree."""
MIN_RANGE = 4.0
"""Largest over smallest number of parameters; a slope over less is hardly about scaling."""
MIN_LEARNED = 5
"""Subtasks learned at the widest, mean over seeds; with fewer, an order or a slope comes easily by chance."""

MIN_FALL = 1.5
"""Mean loss at the narrowest over that at the widest; less of a fall is no power law to explain."""

MIN_CONCORDANCE = 0.9
"""At least nine pairs of subtasks in ten in the order of frequency; without any order it is five."""
TIME_SLOPE_TOLERANCE = 0.25
"""About -1; keeps out -1/(1+α), -0.71 at α = 0.4, which serial learning predicts (arXiv:2501.12391)."""
MIN_COUNT_SLOPE = 0.0
"""The count has to grow with N; that it grows in proportion is the exponent gamma, reported beside its 1."""
MIN_R_SQUARED = 0.95
"""The count may leave a twentieth of the variance of log loss unexplained."""
SLOPE_RATIO_TOLERANCE = 0.2
"""About 1; less than the 29 % between α and α/(1+α) at α = 0.4, so that it could tell the two apart."""

ALLOWED = {
    "order": (MIN_CONCORDANCE, math.inf),
    "learning time": (-1 - TIME_SLOPE_TOLERANCE, -1 + TIME_SLOPE_TOLERANCE),
    "count": (MIN_COUNT_SLOPE, math.inf),
    "reconstruction": (MIN_R_SQUARED, math.inf),
    "exponent from the count": (1 - SLOPE_RATIO_TOLERANCE, 1 + SLOPE_RATIO_TOLERANCE),
}
"""Where the statistic of each check has to lie."""


@dataclass(frozen=True)
class Check:
    """One thing that has to hold.

    Attributes
    ----------
    name : str
    statistic : float or None
        What was measured; None if it could not be.
    lower, upper : float or None
        Its interval from resampling seeds; None with one seed.
    threshold : float or None
        What it is held against; for "learning time" and "exponent from the count" the distance allowed
        from -1 and from 1.
    passed : bool or None
        None if it could not be judged.
    why : str
        A plain sentence with the numbers.
    """

    name: str
    statistic: float | None
    lower: float | None
    upper: float | None
    threshold: float | None
    passed: bool | None
    why: str


@dataclass(frozen=True)
class Verdict:
    """What `judge` found.

    Attributes
    ----------
    study : str or None
        Name of the study, or what its curves say of where they come from.
    outcome : str
        "supported", "rejected" or "inconclusive".
    checks : tuple of Check
    exponents : dict of str to Exponent
        `alpha_N`, `alpha_S`, `alpha_D`, `beta` (S_k ∝ p_k^-beta) and `gamma` (n ∝ N^gamma).
    learned : list of dict
        One a (seed, width): seed, width, n_parameters, count, subtasks (ranks, ascending).
    scaling : DataFrame
        One row a (seed, width): seed, width, n_parameters, mean_loss, reconstructed_loss, n_learned,
        concordance.
    settings : dict
        What was judged and how: alpha, n_train, n_subtasks, n_seeds, tau, confidence.
    """

    study: str | None
    outcome: str
    checks: tuple[Check, ...]
    exponents: dict[str, Exponent]
    learned: list[dict[str, Any]]
    scaling: pd.DataFrame
    settings: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into verdict.json: plain types, None for what is not known, no NaN."""
        shown = ("estimate", "lower", "upper", "expected_infinite", "expected_finite")
        return {
            "schema": SCHEMA,
            "study": self.study,
            "outcome": self.outcome,
            "checks": [asdict(check) for check in self.checks],
            "exponents": {
                name: {part: getattr(exponent, part) for part in shown}
                for name, exponent in self.exponents.items()
            },
            "learned": self.learned,
        }


def judge(
    curves: xr.Dataset,
    *,
    tau: float = 0.1,
    confidence: float = 0.9,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Judge whether the loss power law of a slice comes from the count of subtasks learned.

    Parameters
    ----------
    curves : Dataset
        A slice (see `analysis.select`).
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    confidence : float, default 0.9
        Nominal coverage of the intervals.
    n_bootstrap : int, default 2000
        Resamples of the seeds behind each interval.
    seed : int, default 0
        Of the resampling.

    Returns
    -------
    Verdict
        "inconclusive" where there are too few data, except that an order which is clearly not that of
        frequency rejects whatever else is missing. "supported" if every check holds; "rejected" if one fails
        with its whole interval on the wrong side; "inconclusive" between the two.

    Raises
    ------
    ValueError
        If `curves` is not a slice, or an argument is out of its range.
    """
    measured = measure(curves, tau, Resampling(curves.sizes["seed"], confidence, n_bootstrap, seed))
    checks = (
        _check_data(measured),
        _check_order(measured),
        _check_learning_time(measured),
        _check_count(measured),
        _check_reconstruction(measured),
        _check_exponent(measured),
    )
    return Verdict(
        study=_study_name(curves.attrs.get("study")),
        outcome=_outcome(measured, checks),
        checks=checks,
        exponents=exponents(measured),
        learned=_learned(measured),
        scaling=_scaling(measured),
        settings={
            "alpha": measured.alpha,
            "n_train": float(curves["n_train"]),
            "n_subtasks": measured.frequency.size,
            "n_seeds": len(measured.n_learned),
            "tau": tau,
            "confidence": confidence,
        },
    )


# The checks.


def _check_data(m: Measured) -> Check:
    n_seeds, n_widths = m.n_learned.shape
    span = m.n_parameters[-1] / m.n_parameters[0]
    learned = m.n_learned[:, -1].mean()
    narrowest, widest = m.loss[:, 0].mean(), m.loss[:, -1].mean()
    fall = narrowest / widest if widest > 0 else math.inf if narrowest > 0 else 1.0
    needs = (
        (n_seeds, MIN_SEEDS, f"{_number(n_seeds, 'seed')} (at least {MIN_SEEDS})"),
        (n_widths, MIN_WIDTHS, f"{_number(n_widths, 'width')} (at least {MIN_WIDTHS})"),
        (span, MIN_RANGE, f"parameters over a factor of {span:.3g} (at least {MIN_RANGE:g})"),
        (learned, MIN_LEARNED, f"{learned:.3g} subtasks learned at the widest (at least {MIN_LEARNED})"),
        (fall, MIN_FALL, f"a mean loss that falls by a factor of {fall:.3g} (at least {MIN_FALL:g})"),
    )
    passed = all(found >= needed for found, needed, _ in needs)
    said = [text for found, needed, text in needs if passed or found < needed]
    why = ("There are " if passed else "Not enough: ") + ", ".join(said) + "."
    return Check("enough data", None, None, None, None, passed, why)


def _check(
    m: Measured, name: str, statistic: Callable[..., float], threshold: float, why: str, undefined: str
) -> Check:
    """Hold a statistic against its range.

    `why` takes the number at {}; `undefined` is the reason if there is none.
    """
    found = m.resampling.interval(partial(statistic, m))
    if found is None:
        return Check(name, None, None, None, threshold, None, f"Could not be measured: {undefined}.")
    if found.lower is None or found.upper is None:
        spread = "no interval from one seed"
    else:
        spread = f"{found.confidence:.0%} interval {_two_digits(found.lower)} to {_two_digits(found.upper)}"
    low, high = ALLOWED[name]
    passed = bool(low <= found.estimate <= high)
    text = why.format(f"{_two_digits(found.estimate)} ({spread})")
    return Check(name, found.estimate, found.lower, found.upper, threshold, passed, text)


def _check_order(m: Measured) -> Check:
    return _check(
        m,
        "order",
        order,
        MIN_CONCORDANCE,
        f"At width {m.width[-1]} the share of pairs of subtasks learned in the order of frequency is {{}}, "
        f"mean over seeds; at least {MIN_CONCORDANCE:g} is needed and 0.5 is no order.",
        "no pair of subtasks shows which was learned first",
    )


def _check_learning_time(m: Measured) -> Check:
    n_timed = int(np.isfinite(m.timed).sum())
    return _check(
        m,
        "learning time",
        time_slope,
        TIME_SLOPE_TOLERANCE,
        f"At width {m.width[-1]} the slope of log learning time on log frequency is {{}}; it should be "
        f"within {TIME_SLOPE_TOLERANCE:g} of -1. Only the {n_timed} learning times known over all seeds "
        "enter, which biases the slope towards 0 where they scatter.",
        f"a slope needs three learning times and two different frequencies, and {n_timed} times are known"
        if m.frequency.min() < m.frequency.max()
        else "all subtasks are equally frequent",
    )


def _check_count(m: Measured) -> Check:
    n_widths = int(np.isfinite(log_count(m, np.arange(len(m.n_learned)))).sum())
    kind = "where some subtasks were learned but not all"
    check = _check(
        m,
        "count",
        count_slope,
        MIN_COUNT_SLOPE,
        "The count of subtasks learned grows with the number of parameters to the power {}, over "
        f"{_number(n_widths, 'width')} {kind}; the interval must lie above {MIN_COUNT_SLOPE:g}.",
        f"a slope needs three widths {kind}, and there were {n_widths}",
    )
    if check.statistic is None or check.lower is None:
        return replace(check, passed=None)
    return replace(check, passed=check.lower > MIN_COUNT_SLOPE)


def _check_reconstruction(m: Measured) -> Check:
    return _check(
        m,
        "reconstruction",
        reconstruction,
        MIN_R_SQUARED,
        "The frequencies of the subtasks not learned, added up, explain a share R² of {} of the variance "
        f"of log mean loss over widths and seeds; at least {MIN_R_SQUARED:g} is needed. The measured loss is "
        f"{_gap(m)} times the reconstructed one.{_left_out(m)}",
        f"the reconstructed or the measured loss does not vary{_left_out(m)}",
    )


def _check_exponent(m: Measured) -> Check:
    return _check(
        m,
        "exponent from the count",
        slope_ratio,
        SLOPE_RATIO_TOLERANCE,
        "The slope of the reconstructed loss in the number of parameters over that of the measured loss "
        f"is {{}}; it should be within {SLOPE_RATIO_TOLERANCE:g} of 1.{_left_out(m)}",
        f"a slope needs three widths and a loss that changes{_left_out(m)}",
    )


def _gap(m: Measured) -> str:
    """Smallest and largest ratio of measured to reconstructed loss."""
    ratio = np.exp(m.log_loss - m.log_rebuilt)
    return f"{np.nanmin(ratio):.2f} to {np.nanmax(ratio):.2f}" if np.isfinite(ratio).any() else "unknown"


def _left_out(m: Measured) -> str:
    known = np.isfinite(m.log_loss) & np.isfinite(m.log_rebuilt)
    lost = int((~known).sum())
    return f" ({lost} of {known.size} networks left out: a loss of 0 has no logarithm)" if lost else ""


def _two_digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _outcome(m: Measured, checks: Sequence[Check]) -> str:
    enough_data, *others = checks
    clear = {check.name for check in others if _clearly_fails(check)}
    if "order" in clear and m.n_learned[:, -1].mean() >= MIN_LEARNED:
        return "rejected"
    if not enough_data.passed:
        return "inconclusive"
    if clear:
        return "rejected"
    return "supported" if all(check.passed for check in others) else "inconclusive"


def _clearly_fails(check: Check) -> bool:
    """Whether the whole interval lies outside the range allowed."""
    if check.lower is None or check.upper is None:
        return False
    low, high = ALLOWED[check.name]
    return check.upper < low or check.lower > high


def _learned(m: Measured) -> list[dict[str, Any]]:
    learned = m.times["learned"].transpose("seed", "width", "subtask").values
    return [
        {
            "seed": int(m.times["seed"][s]),
            "width": int(m.width[w]),
            "n_parameters": int(m.n_parameters[w]),
            "count": int(learned[s, w].sum()),
            "subtasks": m.times["subtask"].values[learned[s, w]].tolist(),
        }
        for s, w in np.ndindex(learned.shape[:2])
    ]


def _scaling(m: Measured) -> pd.DataFrame:
    n_seeds, n_widths = m.n_learned.shape
    return pd.DataFrame(
        {
            "seed": np.repeat(m.times["seed"].values, n_widths),
            "width": np.tile(m.width, n_seeds),
            "n_parameters": np.tile(m.n_parameters.astype(np.int64), n_seeds),
            "mean_loss": m.loss.ravel(),
            "reconstructed_loss": m.rebuilt.ravel(),
            "n_learned": m.n_learned.ravel(),
            "concordance": m.concordance.ravel(),
        }
    )


def _study_name(study: str | None) -> str | None:
    """Name in the JSON of a study; text that is something else is its own name."""
    if study is None:
        return None
    try:
        spec = json.loads(study)
    except json.JSONDecodeError:
        return study
    return str(spec["name"]) if isinstance(spec, dict) and "name" in spec else study
