"""The checks: what has to hold for the loss power law to come from the count of subtasks learned."""

import math
from dataclasses import dataclass, replace

import numpy as np

from quanta.analysis.fits.intervals import Interval
from quanta.analysis.learned.discreteness import MAX_DROP_FACTOR, Discreteness
from quanta.analysis.learned.reconstruction import Reconstruction
from quanta.analysis.verdict.measurement import (
    Array,
    Measured,
    average,
    count_slopes,
    naive_time_slopes,
    order,
    reconstructions,
    slope_ratios,
    time_scatters,
    time_slopes,
)

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


def check_data(m: Measured) -> Check:
    """Ask whether there is enough to judge: seeds, widths, a range of sizes, subtasks learned, a fall."""
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
        spread = f"{found.confidence:.0%} interval {ends} over {found.n} seeds"
        if found.upper < low or found.lower > high:
            passed = False
    text = why.format(f"{_two_digits(found.estimate)} ({spread})")
    return Check(name, found.estimate, found.lower, found.upper, threshold, passed, text)


def check_order(m: Measured) -> Check:
    """Ask whether subtasks are learned in the order of frequency."""
    return _check(
        average(order(m), m.confidence),
        "order",
        MIN_CONCORDANCE,
        f"At width {m.width[-1]} the share of pairs of subtasks learned in the order of frequency is {{}}, "
        f"mean over seeds; at least {MIN_CONCORDANCE:g} is needed and 0.5 is no order.",
        "no pair of subtasks shows which was learned first",
    )


def check_learning_time(m: Measured) -> Check:
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


def check_count(m: Measured) -> Check:
    """Ask whether the count of subtasks learned grows with the number of parameters."""
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


def check_reconstruction(m: Measured, rebuilt: Reconstruction) -> Check:
    """Ask whether the frequencies not learned, added up, explain the loss over widths."""
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


def check_which(rebuilt: Reconstruction) -> Check:
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


def check_exponent(m: Measured) -> Check:
    """Ask whether the loss rebuilt from the count falls as steeply as the one measured."""
    return _check(
        average(slope_ratios(m), m.confidence),
        "exponent from the count",
        SLOPE_RATIO_TOLERANCE,
        "The slope of the reconstructed loss in the number of parameters over that of the measured loss "
        f"is {{}}; it should be within {SLOPE_RATIO_TOLERANCE:g} of 1.",
        "slopes need three widths over which both losses change",
    )


def check_steps(steps: dict[str, Discreteness]) -> Check:
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
