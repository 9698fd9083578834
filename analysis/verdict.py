"""The verdict: does the loss power law come from the count of subtasks learned."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.discreteness import MAX_DROP_FACTOR, Discreteness, measure_discreteness
from analysis.exponents import Exponent, exponents
from analysis.intervals import Interval
from analysis.measurement import (
    Array,
    Measured,
    average,
    count_slopes,
    measure,
    naive_time_slopes,
    order,
    reconstructions,
    slope_ratios,
    time_scatters,
    time_slopes,
)
from analysis.reconstruction import Reconstruction, measure_reconstruction
from tasks.config import one_line

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

MIN_CONCORDANCE = 0.75
"""Half way between no order and a perfect one. Less than perfect is no objection: learning times that scatter
swap subtasks of nearly equal frequency, of which there are more the more are learned. A scatter of 0.3 in log
steps leaves 0.97 with 20 learned of 64, and 0.90 with 490 of 500."""
TIME_TOLERANCE = 0.1
"""About β = 1; a third of the way to serial learning's 1/(1+α) at α = 0.4, so that both cannot be meant."""
MIN_COUNT_SLOPE = 0.0
"""The count has to grow with N; whether in proportion is the exponent gamma, reported beside its 1."""
MIN_R_SQUARED = 0.95
"""The count may leave a twentieth of the variance of log loss unexplained."""
MAX_P_VALUE = 0.05
"""One in twenty random choices of the learned subtasks may rebuild the loss as well; the usual convention."""
SLOPE_RATIO_TOLERANCE = 0.2
"""About 1; less than the 29 % between α and α/(1+α) at α = 0.4, so that it could tell the two apart."""

ALLOWED = {
    "order": (MIN_CONCORDANCE, math.inf),
    "learning time": (1 - TIME_TOLERANCE, 1 + TIME_TOLERANCE),
    "count": (MIN_COUNT_SLOPE, math.inf),
    "reconstruction": (MIN_R_SQUARED, math.inf),
    "which subtasks": (0.0, MAX_P_VALUE),
    "exponent from the count": (1 - SLOPE_RATIO_TOLERANCE, 1 + SLOPE_RATIO_TOLERANCE),
    "steps": (0.0, MAX_DROP_FACTOR),
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
        Its interval over seeds; None with one seed, and for a p-value.
    threshold : float or None
        What it is held against; for "learning time" and "exponent from the count" the distance allowed
        from 1.
    passed : bool or None
        False only if it clearly fails, with its whole interval; None if it could not be told.
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
        `alpha_N`, `alpha_S`, `alpha_D`, `beta` (S_k ∝ p_k^-beta), `gamma` (n ∝ N^gamma) and `gamma_S`
        (n ∝ S^gamma_S).
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
        """Return what goes into verdict.json: plain types, None for what is not known or not finite."""
        record = {
            "schema": SCHEMA,
            "study": self.study,
            "outcome": self.outcome,
            "settings": self.settings,
            "checks": [asdict(check) for check in self.checks],
            "exponents": {name: asdict(exponent) for name, exponent in self.exponents.items()},
            "learned": self.learned,
        }
        return {name: _plain(value) for name, value in record.items()}


def judge(
    curves: xr.Dataset,
    *,
    tau: float = 0.1,
    confidence: float = 0.9,
    n_bootstrap: int = 2000,
    n_permutations: int = 999,
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
        Resamples of the seeds behind the bootstrap intervals of the exponents.
    n_permutations : int, default 999
        Random choices of the learned subtasks behind the p-values.
    seed : int, default 0
        Of resamples and permutations.

    Returns
    -------
    Verdict
        "inconclusive" where there are too few data, except that an order which is clearly not that of
        frequency rejects whatever else is missing. "supported" if every check passes; "rejected" if one
        clearly fails, with its whole interval on the wrong side; "inconclusive" between the two.

    Raises
    ------
    ValueError
        If `curves` is not a slice, or an argument is out of its range.
    """
    m = measure(curves, tau, confidence)
    rebuilt = measure_reconstruction(curves, m.times, n_permutations=n_permutations, seed=seed)
    steps = measure_discreteness(curves, confidence=confidence)
    checks = (
        _check_data(m),
        _check_order(m),
        _check_learning_time(m),
        _check_count(m),
        _check_reconstruction(m, rebuilt),
        _check_which(rebuilt),
        _check_exponent(m),
        _check_steps(steps),
    )
    return Verdict(
        study=_study_name(curves.attrs.get("study")),
        outcome=_outcome(m, checks),
        checks=checks,
        exponents=exponents(m, n_bootstrap, seed),
        learned=_learned(m),
        scaling=_scaling(m),
        settings={
            "alpha": m.alpha,
            "n_train": float(curves["n_train"]),
            "n_subtasks": m.frequency.size,
            "n_seeds": m.n_seeds,
            "tau": tau,
            "confidence": confidence,
            "n_bootstrap": n_bootstrap,
            "n_permutations": n_permutations,
            "seed": seed,
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


def _check(found: Interval | None, name: str, threshold: float, why: str, undefined: str) -> Check:
    """Hold a statistic against its range.

    `why` takes the number at {}; `undefined` is the reason if there is none.
    """
    if found is None:
        return Check(name, None, None, None, threshold, None, f"Could not be measured: {undefined}.")
    low, high = ALLOWED[name]
    passed: bool | None = bool(low <= found.estimate <= high) or None
    if found.lower is None or found.upper is None:
        spread = "no interval from one seed"
    else:
        ends = f"{_two_digits(found.lower)} to {_two_digits(found.upper)}"
        spread = f"{found.confidence:.0%} interval {ends} over {found.n_seeds} seeds"
        if found.upper < low or found.lower > high:
            passed = False
    text = why.format(f"{_two_digits(found.estimate)} ({spread})")
    return Check(name, found.estimate, found.lower, found.upper, threshold, passed, text)


def _check_order(m: Measured) -> Check:
    return _check(
        average(order(m), m.confidence),
        "order",
        MIN_CONCORDANCE,
        f"At width {m.width[-1]} the share of pairs of subtasks learned in the order of frequency is {{}}, "
        f"mean over seeds; at least {MIN_CONCORDANCE:g} is needed and 0.5 is no order.",
        "no pair of subtasks shows which was learned first",
    )


def _check_learning_time(m: Measured) -> Check:
    """Ask whether β is 1, and whether it is not what serial learning gives.

    Its interval has to meet 1 ± TIME_TOLERANCE and to leave out the serial value.
    """
    naive, scatter = _mean(naive_time_slopes(m)), _mean(time_scatters(m))
    serial = m.serial_beta
    check = _check(
        average(time_slopes(m), m.confidence),
        "learning time",
        TIME_TOLERANCE,
        f"At width {m.width[-1]} the learning time falls with frequency to the power {{}}, subtasks not "
        f"learned counted as later than the last that was; about a scatter of {scatter} in log steps. The "
        f"interval must meet 1 ± {TIME_TOLERANCE:g}"
        f"{f' and leave out {serial:.2f}, learning one by one' if serial else ''}. "
        f"(Learned subtasks alone would give {naive}, biased towards 0.)",
        f"a slope needs learned subtasks of different frequencies, and {m.n_learned[:, -1].mean():.3g} are "
        "learned"
        if m.frequency.min() < m.frequency.max()
        else "all subtasks are equally frequent",
    )
    if check.lower is None or check.upper is None:
        return replace(check, passed=None)
    if check.passed is False:
        return check
    serial_fits = serial is not None and check.lower <= serial <= check.upper
    return replace(check, passed=None if serial_fits else True)


def _check_count(m: Measured) -> Check:
    check = _check(
        average(count_slopes(m), m.confidence),
        "count",
        MIN_COUNT_SLOPE,
        "The count of subtasks learned grows with the number of parameters to the power {}; the interval "
        f"must lie above {MIN_COUNT_SLOPE:g}.",
        "a slope needs three widths that were full, with counts that differ",
    )
    if check.statistic is None or check.lower is None or check.upper is None:
        return replace(check, passed=None)
    proportion = "may be" if check.lower <= 1 <= check.upper else "is not"
    why = f"{check.why} Growth in proportion, to the power 1, {proportion} what this is."
    if check.passed is False:
        return replace(check, why=why)
    return replace(check, passed=True if check.lower > MIN_COUNT_SLOPE else None, why=why)


def _check_reconstruction(m: Measured, rebuilt: Reconstruction) -> Check:
    return _check(
        average(reconstructions(m), m.confidence),
        "reconstruction",
        MIN_R_SQUARED,
        "The frequencies of the subtasks not learned, added up, explain a share R² of {} of the variance "
        f"of log mean loss over widths; at least {MIN_R_SQUARED:g} is needed. With nothing fitted they are "
        f"off by {math.expm1(rebuilt.rms_gap):.0%}, at most by a factor of {rebuilt.largest_gap:.2f} (width "
        f"{rebuilt.largest_gap_width}, seed {rebuilt.largest_gap_seed}).{_left_out(rebuilt)}",
        f"the reconstructed or the measured loss does not vary{_left_out(rebuilt)}",
    )


def _check_which(rebuilt: Reconstruction) -> Check:
    """Ask whether chance would rebuild the loss as well from as many subtasks."""
    nulls = {"other subtasks": rebuilt.null_of_sets, "exchanged frequencies": rebuilt.null_of_frequencies}
    worst = max(null.p_value for null in nulls.values())
    if not math.isfinite(worst):
        why = "Could not be measured: no loss is left."
        return Check("which subtasks", None, None, None, MAX_P_VALUE, None, why)
    said = " and ".join(f"{null.p_value:.2g} for {name}" for name, null in nulls.items())
    n = nulls["other subtasks"].rms_gap.size
    return Check(
        "which subtasks",
        worst,
        None,
        None,
        MAX_P_VALUE,
        worst <= MAX_P_VALUE or None,
        f"The share of {n} random choices that rebuild the loss as well from as many subtasks is {said}; "
        f"both must be at most {MAX_P_VALUE:g}.",
    )


def _check_exponent(m: Measured) -> Check:
    return _check(
        average(slope_ratios(m), m.confidence),
        "exponent from the count",
        SLOPE_RATIO_TOLERANCE,
        "The slope of the reconstructed loss in the number of parameters over that of the measured loss "
        f"is {{}}; it should be within {SLOPE_RATIO_TOLERANCE:g} of 1.",
        "slopes need three widths over which both losses change",
    )


def _check_steps(steps: dict[str, Discreteness]) -> Check:
    """Ask whether a subtask is learned in a step, in the metric where it takes longest."""
    factors = {name: found.drop_factor for name, found in steps.items() if found.drop_factor is not None}
    if not factors:
        return _check(None, "steps", MAX_DROP_FACTOR, "", "no subtask was learned")
    slowest = max(factors, key=lambda name: factors[name].estimate)
    found = steps[slowest]
    metric = f"{slowest}, the slowest of {', '.join(factors)}" if len(factors) > 1 else slowest
    share = "unknown" if found.share_in_drops is None else f"{found.share_in_drops.estimate:.0%}"
    return _check(
        factors[slowest],
        "steps",
        MAX_DROP_FACTOR,
        f"From nine tenths to one tenth of chance a subtask takes a factor of {{}} in steps ({metric}); at "
        f"most {MAX_DROP_FACTOR:g} is a step, and smooth modes take 22 or more. Of the fall of the mean "
        f"{share} happens in such steps.",
        "",
    )


def _left_out(rebuilt: Reconstruction) -> str:
    if not rebuilt.n_left_out:
        return ""
    total = rebuilt.n_left_out + rebuilt.n_networks
    return f" ({rebuilt.n_left_out} of {total} networks left out: a loss of 0 has no logarithm)"


def _mean(values: Array) -> str:
    known = values[np.isfinite(values)]
    return _two_digits(float(known.mean())) if known.size else "an unknown number"


def _two_digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _outcome(m: Measured, checks: Sequence[Check]) -> str:
    enough_data, *others = checks
    clear = {check.name for check in others if check.passed is False}
    if "order" in clear and m.n_learned[:, -1].mean() >= MIN_LEARNED:
        return "rejected"
    if not enough_data.passed:
        return "inconclusive"
    if clear:
        return "rejected"
    return "supported" if all(check.passed for check in others) else "inconclusive"


def _plain(value: Any) -> Any:
    """Put None for numbers that JSON does not have, at any depth."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    except (ValueError, RecursionError):  # no JSON, or some that goes on and on
        return one_line(study)
    return one_line(spec["name"] if isinstance(spec, dict) and "name" in spec else study)
