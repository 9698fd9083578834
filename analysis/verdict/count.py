"""The first question: whether the loss follows from the count of subtasks learned.

Along N and D it is asked of the budget: the count alone, and the count with all that still falls in drops on
its way to be counted, must carry the whole exponent. Along S something always falls, and for smooth modes the
count is in proportion to the loss, so there the question is whether subtasks fall in drops.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.axes import Axis
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.budget import PARTS, Budget
from quanta.analysis.learned.drops import FACTOR, MAX_GAP
from quanta.analysis.verdict.claims import (
    Claim,
    describe,
    hold,
    is_inside,
    number,
    p_beyond,
    seeds_needed,
    unknown,
)
from quanta.analysis.verdict.statistics import AtTau

Array = NDArray[np.float64]

COUNT_TOLERANCE = 0.1
"""About 1. The smallest rival worth seeing, a sixth of the exponent from loss that is not learned away, gives
.83 and lies outside; in worlds that are true the share is from .97 to 1.04, since what falls is counted a
little late."""
MAX_FALLING = 0.25
"""Share of the exponent in what still falls, up to which falling in drops is on its way to be counted. With
more, the networks are so far from done that the count at the end says little."""
DRIFT_TOLERANCE = 0.08
"""About 0, of the exponent in loss that changes without anything being learned. Where a sixth of the exponent
does, .10 to .13 is seen so, since what crosses a threshold by drifting counts as learned; in true worlds it
is within .02."""
MIN_DROP_SHARE = 0.9
"""A quantum of the multilinear model has .97 of its fall within a factor 10 of steps; the sharpest smooth
mode, (1+(p t)²)^-2, has .88."""
MIN_DROP_SHARE_BESIDE = 0.8
"""The same where the budget along N or D is asked too, and sees modes that fall smoothly there. It does not
see modes that room cuts off, all of a sudden; of these an exponential one is at .70, in studies at .71 to
.78, and a drop that takes a factor 9 in steps at .82."""
SMOOTH_SHARE = 0.75
"""Below it the claim fails: an exponential mode, the sharpest that gradient flow has, is at .70."""

MIN_PLACED = 5
"""Subtasks whose drop evaluations have to place, if those carry less than half of the fall: the first ones,
which weigh most, have often fallen before one looks, and how sharply the others do tells as much."""

COUNT_WINDOW = (1 - COUNT_TOLERANCE, 1 + COUNT_TOLERANCE)
DRIFT_WINDOW = (-DRIFT_TOLERANCE, DRIFT_TOLERANCE)


def claim_drops(here: AtTau, confidence: float, *, beside: bool = False) -> Claim:
    """Ask along S whether subtasks fall in drops; `beside` the budget along N or D, or alone."""
    drops = here.base.drops["loss"]
    window = (MIN_DROP_SHARE_BESIDE if beside else MIN_DROP_SHARE, np.inf)
    why = (
        "Of the fall of the mean loss of the widest network {} happens within a factor "
        f"{FACTOR:g} of steps for each subtask"
    )
    known = np.array([one.mean_share for one in drops])
    if not np.isfinite(known).any():
        why = "No subtask of the widest network fell by half."
        return unknown("S", "drops", window, why, "longer training")
    resolved = np.array([one.resolved for one in drops])
    claim = hold(
        "S",
        "drops",
        known,
        window,
        confidence,
        f"{why}; quanta have {MIN_DROP_SHARE:g} or more, smooth modes {SMOOTH_SHARE:g} or less.",
        fails=(SMOOTH_SHARE, np.inf),
    )
    if np.nanmean(resolved) < 0.5 and np.mean([one.n_placed for one in drops]) < MIN_PLACED:
        apart = f"more than {MAX_GAP:g}-fold apart about most drops"
        why = f"{claim.why} But evaluations are too coarse: {apart}."
        needs = f"evaluations at most {MAX_GAP:g}-fold in steps apart, also before the first drop"
        return replace(claim, holds=None, p_fails=None, why=why, needs=needs)
    return claim


def claim_count(axis: Axis, here: AtTau, budget: Budget, drops: Claim, confidence: float) -> Claim:
    """Ask along N or D whether the count carries the exponent of the loss."""
    alone = budget.shares[:, PARTS.index("count")]
    falling = budget.shares[:, PARTS.index("falling")]
    both = alone + falling
    exponent = mean_over_seeds(budget.exponent, confidence)
    if not np.isfinite(exponent.estimate):
        return unknown(axis.name, "count", COUNT_WINDOW, f"The loss has no exponent along {axis.name}.", None)
    if exponent.lower is not None and p_beyond(budget.exponent, 0.0, 1) > (1 - confidence) / 2:
        why = f"The loss does not clearly fall along {axis.name}: exponent {describe(exponent)}."
        return unknown(axis.name, "count", COUNT_WINDOW, why, "a wider range of sizes, or longer training")
    fall = mean_over_seeds(falling, confidence)
    sharp = drops.holds is True and drops.lower is not None and drops.lower >= MIN_DROP_SHARE
    one_end = sharp and abs(fall.estimate) <= MAX_FALLING
    ends = [both] if one_end else [alone, both]
    if not np.isfinite(fall.estimate):
        why = "It is not known what still falls: no evaluation lies about half the steps."
        return unknown(axis.name, "count", COUNT_WINDOW, why, "an evaluation at half the steps")
    found = [mean_over_seeds(values, confidence) for values in ends]
    parts = {name: budget.shares[:, i] for i, name in enumerate(PARTS)}
    rest = ", ".join(
        f"{name} {number(mean_over_seeds(values, confidence).estimate)}"
        for name, values in parts.items()
        if name != "count"
    )
    alone_said = describe(mean_over_seeds(alone, confidence))
    why = (
        f"Of the exponent {describe(exponent)} of the mean loss along {axis.name} "
        f"the count carries {alone_said}, "
        f"with what still falls {describe(mean_over_seeds(both, confidence))} (besides: {rest}); "
        + (
            "what falls in drops is on its way to be counted, so the second decides."
            if one_end
            else "both are asked."
        )
    )
    lowers = [one.lower for one in found if one.lower is not None]
    uppers = [one.upper for one in found if one.upper is not None]
    inside = all(is_inside(one, COUNT_WINDOW) for one in found)
    # It fails if all ends lie outside on one side.
    p_fails = min(
        max(p_beyond(values, edge, side) for values in ends)
        for edge, side in ((COUNT_WINDOW[0], -1), (COUNT_WINDOW[1], 1))
    )
    return Claim(
        axis=axis.name,
        name="count",
        statistic=found[-1].estimate,
        lower=min(lowers) if lowers else None,
        upper=max(uppers) if uppers else None,
        window=COUNT_WINDOW,
        holds=True if inside else None,
        why=why,
        needs=None if inside else seeds_needed(ends[-1], COUNT_WINDOW, confidence),
        p_fails=p_fails,
    )


def claim_drift(axis: Axis, here: AtTau, confidence: float) -> Claim:
    """Ask along N or D whether the loss changes without anything being learned."""
    exponent = mean_over_seeds(here.budgets[axis.name].exponent, confidence)
    if (
        exponent.lower is not None
        and p_beyond(here.budgets[axis.name].exponent, 0.0, 1) > (1 - confidence) / 2
    ):
        why = f"The loss does not clearly fall along {axis.name}."
        return unknown(axis.name, "drift", DRIFT_WINDOW, why, None)
    why = (
        f"Of the exponent along {axis.name} {{}} is loss that changes without anything being "
        "learned: of subtasks "
        "that are learned, unlearned or stuck at two neighbouring sizes."
    )
    return hold(axis.name, "drift", here.base.drifts[axis.name], DRIFT_WINDOW, confidence, why)
