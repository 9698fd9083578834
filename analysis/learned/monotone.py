"""Learning curves made monotone, and kept as the few steps that are left of them.

Shapes: T evaluations, K subtasks, R levels in all.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from quanta.analysis.records import Record

Array = NDArray[np.float64]


def remove_spikes(values: NDArray[Any]) -> NDArray[Any]:
    """Take out what stands above both its neighbours, along the last axis of an array of shape (K, T).

    By the median of every three: a falling curve is its own, and one spike in a hundred evaluations does not
    raise what isotonic regression makes of the rest. Of the last evaluation the two before it decide.
    """
    if values.shape[1] < 3:
        return values
    before, here, after = values[:, :-2], values[:, 1:-1], values[:, 2:]
    found = values.copy()
    np.minimum(here, np.maximum(before, after), out=found[:, 1:-1])
    np.maximum(found[:, 1:-1], np.minimum(before, after), out=found[:, 1:-1])
    found[:, -1] = np.minimum(values[:, -1], np.maximum(values[:, -2], values[:, -3]))
    return found


def make_monotone(values: NDArray[Any]) -> Array:
    """Isotonic regression, falling along the last axis, of the rows of an array of shape (K, T)."""
    found = values.astype(np.float64, order="C")
    # Curves that fall already, as most of a simulated world, are their own regression.
    rising = np.flatnonzero((found[:, 1:] > found[:, :-1]).any(axis=1))
    if rising.size:
        # One after the other, each so far below the one before it that nothing is pooled across: one call.
        rows = found[rising]
        below = 2 * np.ptp(rows) * np.arange(rising.size)[:, None]
        in_one = isotonic_regression((rows - below).ravel(), increasing=False).x
        found[rising] = in_one.reshape(rows.shape) + below
    return found


@dataclass(frozen=True, eq=False)
class MonotoneCurves(Record):
    """Falling curves of one network, kept as the levels that they go through.

    Regression makes one level of many evaluations: one in ten to one in a hundred begins another.

    Attributes
    ----------
    n_evaluations : int
        T.
    level : ndarray, shape (R,)
        Of one subtask after the other, falling in each.
    begin : ndarray of int, shape (R,)
        Where each level begins: k T + t for evaluation t of subtask k, both from 0.
    first : ndarray of int, shape (K + 1,)
        Place in `level` of each subtask's first, and R.
    """

    n_evaluations: int
    level: NDArray[Any]
    begin: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def n_subtasks(self) -> int:
        """K."""
        return self.first.size - 1

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """Keep curves that fall along the last axis of an array of shape (K, T)."""
        begins = np.ones(values.shape, dtype=bool)
        np.not_equal(values[:, 1:], values[:, :-1], out=begins[:, 1:])
        begin = np.flatnonzero(begins)
        n_subtasks, n_evaluations = values.shape
        first = np.searchsorted(begin, np.arange(n_subtasks + 1) * n_evaluations)
        return cls(n_evaluations, values[begins], begin, first)

    def dense(self) -> NDArray[Any]:
        """Return the curves at every evaluation, shape (K, T)."""
        length = np.diff(self.begin, append=self.n_subtasks * self.n_evaluations)
        return np.repeat(self.level, length).reshape(self.n_subtasks, self.n_evaluations)

    def at(self, evaluation: int | NDArray[np.int64]) -> NDArray[Any]:
        """Return the curves at evaluations: one, each at its own (K,), or many (..., 1); shape (..., K)."""
        of_subtask = np.arange(self.n_subtasks) * self.n_evaluations
        place = of_subtask + np.asarray(evaluation) % self.n_evaluations
        return np.asarray(self.level[np.searchsorted(self.begin, place, side="right") - 1])

    def n_not_below(self, level: float) -> NDArray[np.int64]:
        """Count the evaluations at which each subtask is not below a level, shape (K,)."""
        above = self.first[:-1] + np.add.reduceat((self.level >= level).astype(np.int64), self.first[:-1])
        ends = np.append(self.begin, 0)[above] - np.arange(self.n_subtasks) * self.n_evaluations
        return np.where(above < self.first[1:], ends, self.n_evaluations)

    def divided_by(self, divisor: NDArray[Any]) -> Self:
        """Divide each subtask's curve by a number of its own; `divisor` has the shape (K,)."""
        of_level = np.repeat(divisor.astype(self.level.dtype), np.diff(self.first))
        return type(self)(self.n_evaluations, self.level / of_level, self.begin, self.first)
