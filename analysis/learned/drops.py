"""How sharply subtasks fall: which share of a subtask's own fall happens within a factor of steps.

Each subtask is asked by its own fall, from where it begins (chance at most) to where it ends, so that neither
the unit of the loss nor a floor nor the length of training decides. Known values of the share within a factor
10: exp(−p t) .697, a ridge filter (1+p t)^-2 .595, (1+(p t)²)^-2 .88, a drop log-logistic in t with
t(.1)/t(.9) = f tanh(2.53/ln f), that is .98 at f = 3, .92 at 5 and .82 at 9, the multilinear model .97.

Shapes: T steps, K subtasks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.records import Record

Array = NDArray[np.float64]

FACTOR = 10.0
"""In steps. Within it a quantum of the multilinear model falls by .97 of its fall, and no smooth mode by
.9."""
MIN_FALL = 0.5
"""Of what a subtask starts with; a smaller fall may be the beginning of a larger one."""
MAX_GAP = 4.0
"""The fall from 90 to 10 % of its height must be placed to within this factor: less than half of the factor
that is asked about, on a log scale, is left to evaluations."""


@dataclass(frozen=True, eq=False)
class Drops(Record):
    """How sharply the subtasks of one network fell.

    Attributes
    ----------
    share : ndarray, shape (K,)
        Largest share of the subtask's own fall within `FACTOR`; NaN of what has not fallen by `MIN_FALL`.
    weight : ndarray, shape (K,)
        How much it took off the mean loss, as a share of chance; 0 of what has not fallen.
    factor : ndarray, shape (K,)
        In steps, from 90 to 10 % of its fall; NaN where either lies before the first evaluation.
    gap : ndarray, shape (K,)
        Factor to within which evaluations place the two; inf where one lies before the first evaluation
        after step 0.
    """

    share: Array
    weight: Array
    factor: Array
    gap: Array

    @property
    def _placed(self) -> NDArray[np.bool_]:
        # Where evaluations are this factor apart, rounding must not decide.
        return (self.weight > 0) & (self.gap <= MAX_GAP * (1 + 1e-9))

    @property
    def resolved(self) -> float:
        """Share of the fall in subtasks whose fall is placed to within `MAX_GAP`; NaN if nothing fell."""
        total = float(self.weight.sum())
        return float(self.weight[self._placed].sum()) / total if total > 0 else np.nan

    @property
    def n_placed(self) -> int:
        """Subtasks whose fall is placed to within `MAX_GAP`."""
        return int(self._placed.sum())

    @property
    def mean_share(self) -> float:
        """Share of the fall of the mean loss that happens in drops; NaN if nothing fell.

        Over the subtasks whose fall is placed well enough, or over all if none is.
        """
        fell = self._placed if self._placed.any() else self.weight > 0
        return float(np.average(self.share[fell], weights=self.weight[fell])) if fell.any() else np.nan

    @property
    def median_factor(self) -> float:
        """Median factor in steps from 90 to 10 % over the subtasks whose fall is placed; NaN if none is."""
        return float(np.median(self.factor[self._placed])) if self._placed.any() else np.nan


def measure_drops(step: Array, left: Array, mass: Array, factor: float = FACTOR) -> Drops:
    """Measure how sharply the subtasks of one network fell.

    Parameters
    ----------
    step : ndarray, shape (T,)
        Increasing; step 0 says from where a subtask falls and is no place on a logarithmic axis.
    left : ndarray, shape (T, K)
        Monotone, as a share of chance; above 1 it counts as 1.
    mass : ndarray, shape (K,)
        p_k h_k.
    factor : float, default 10
        In steps.

    Returns
    -------
    Drops
    """
    left = np.minimum(left, 1.0)
    top, end = left[0], left[-1]
    n_subtasks = left.shape[1]
    share, found, gap = (np.full(n_subtasks, np.nan) for _ in range(3))
    fell = end < (1 - MIN_FALL) * top
    after = step > 0
    log_step, width = np.log(step[after]), np.log(factor)
    # What is lost in a window is piecewise linear in where it begins, so that the most is at an end of a
    # piece: where the window begins or ends at an evaluation, or begins just before the first.
    begin = np.concatenate([np.nextafter(log_step[:1], -np.inf), log_step, log_step - width])
    for k in np.flatnonzero(fell):
        height = (left[after, k] - end[k]) / (top[k] - end[k])
        lost = np.interp(begin, log_step, height, left=1.0) - np.interp(
            begin + width, log_step, height, left=1.0
        )
        share[k] = lost.max()
        (early, first), (late, last) = (_cross(log_step, height, level) for level in (0.9, 0.1))
        found[k], gap[k] = np.exp(late - early), np.exp(max(first, last))
    return Drops(share, np.where(fell, mass * (top - end), 0.0), found, gap)


def _cross(log_step: Array, height: Array, level: float) -> tuple[float, float]:
    """Where a falling curve crosses a level, and the log distance of the evaluations about it.

    NaN and inf if it is below from the first evaluation on.
    """
    after = int((height >= level).sum())  # monotone: the first below
    if after == 0:
        return np.nan, np.inf
    low, high = height[after - 1], height[after]
    part = (low - level) / (low - high)
    gap = log_step[after] - log_step[after - 1]
    return float(log_step[after - 1] + part * gap), float(gap)
