"""What the loss is made of at every point, and which part of an exponent each part carries.

At every point, exactly::

    L = C + R + F + T + D
    C (count)    Σ p_k h_k over what is not learned, h_k its chance
    R (rest)     loss left in what is learned
    F (falling)  −Σ p_k (h_k − l_k) over what is half-learned and still falls
    T (stuck)    the same over what is half-learned and does not
    D (drift)    Σ p_k (l_k − h_k) over what is not begun

Each change of a part between neighbouring points, over the logarithmic mean of L there, sums to the change of
log L. So log L along an axis is the sum of five curves, whose least-squares slopes add up to that of log L:
the exponent α = α_C + α_R + α_F + α_T + α_D, exactly.

Shapes: S seeds, X places along the axis, K subtasks.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quanta.analysis.axes import Trace
from quanta.analysis.records import Record

Array = NDArray[np.float64]

PARTS = ("count", "rest", "falling", "stuck", "drift")
"""C, R, F, T and D."""

FALL = 0.1
"""What is half-learned still falls if it lost more than this share since half the steps. Between two
evaluations noise moves a loss by a few per cent; a drop within a factor 10 loses half and more in a factor
2."""

STATES = (0.1, 0.9)
"""Shares of chance below which a subtask is all but learned, and above which it is all but unlearned."""

Weights = Literal["neighbours", "ends"]


@dataclass(frozen=True, eq=False)
class Budget(Record):
    """The parts of the loss along an axis, and of its exponent.

    Attributes
    ----------
    x : ndarray, shape (X,)
        Different places; networks of equal size are averaged.
    parts : ndarray, shape (S, X, 5)
        In bits, in the order of `PARTS`; they sum to the mean loss. NaN in falling and stuck where it is
        not known which of the two it is.
    exponent : ndarray, shape (S,)
        Least-squares exponent of the mean loss, positive for a falling one.
    exponents : ndarray, shape (S, 5)
        What each part carries of it; they sum to it.
    """

    x: Array
    parts: Array
    exponent: Array
    exponents: Array

    @property
    def shares(self) -> Array:
        """What each part carries, as a share of the exponent, shape (S, 5); NaN where that is 0."""
        return np.asarray(self.exponents / np.where(self.exponent == 0, np.nan, self.exponent)[:, None])


def split_loss(left: Array, at_half: Array, mass: Array, tau: float = 0.1, fall: float = FALL) -> Array:
    """Split mean losses into `PARTS`.

    Parameters
    ----------
    left, at_half : ndarray, shape (..., K)
        Share of chance left, and the same at half the steps (NaN: not known).
    mass : ndarray, shape (K,)
        p_k h_k in bits.
    tau : float, default 0.1
        Share of chance below which a subtask is learned, and below 1 less which it is begun.
    fall : float, default 0.1
        Share lost since half the steps by which what is half-learned counts as falling.

    Returns
    -------
    ndarray, shape (..., 5)
        In bits; the sum over the last axis is Σ p_k h_k left_k.
    """
    learned, begun = left < tau, left < 1 - tau
    falling = left < (1 - fall) * at_half
    # What is not known of one half-learned subtask is not known of the sum.
    gone = np.where(begun & ~learned, left - 1 + 0 * at_half, 0.0)
    return np.stack(
        [
            ~learned @ mass,
            (left * learned) @ mass,
            (gone * falling) @ mass,
            (gone * ~falling) @ mass,
            np.where(begun, 0.0, left - 1) @ mass,
        ],
        axis=-1,
    )


def measure_budget(
    trace: Trace, tau: float = 0.1, fall: float = FALL, weights: Weights = "neighbours"
) -> Budget:
    """Split the loss along a trace, and its exponent.

    Parameters
    ----------
    trace : Trace
        At two different places or more.
    tau, fall : float
        As in `split_loss`.
    weights : {"neighbours", "ends"}, default "neighbours"
        "ends" takes the exponent between the first and the last place alone, as a second reading.

    Returns
    -------
    Budget
    """
    mass = trace.frequency * trace.chance
    # A seed at a time, since there may be thousands of places.
    networks = zip(trace.left, trace.at_half, strict=True)
    parts = np.stack([split_loss(*of_seed, mass, tau, fall) for of_seed in networks])
    x, place = np.unique(trace.x, return_inverse=True)
    parts, loss = _mean_by_place(parts, place), _mean_by_place(trace.mean_loss, place)
    used = slice(None) if weights == "neighbours" else [0, -1]
    seeds = zip(parts[:, used], loss[:, used], strict=True)
    exponents = np.stack([split_exponent(x[used], *of_seed) for of_seed in seeds])
    whole = np.stack([split_exponent(x[used], of_seed[:, None], of_seed) for of_seed in loss[:, used]])
    return Budget(x, parts, whole[:, 0], exponents)


def measure_drift(trace: Trace) -> Array:
    """Exponent of the loss that changes along a trace without anything being learned.

    Between neighbouring places, the change of those subtasks that are learned, unlearned or stuck half-way at
    both; where several networks are of one size, the mean over their pairs. The budget's parts D and R are
    what lies off chance and off 0 at a point; of a loss that is not learned and is a share c(N) of chance
    everywhere, D and the excess of C over what is measured cancel, this does not.

    What counts as learned for the count is no matter here: the three states are `STATES`, since at a τ of a
    half there would be none between learned and unlearned, and all half-learning would be drift.

    Parameters
    ----------
    trace : Trace

    Returns
    -------
    ndarray, shape (S,)
        Positive for what falls; NaN where it is not known what still falls.
    """
    mass = trace.frequency * trace.chance
    low, high = STATES
    left, half = trace.left, (trace.left >= low) & (trace.left < high)
    moves = np.where(half & np.isnan(trace.at_half), np.nan, half & (left < (1 - FALL) * trace.at_half))
    state = (left >= low).astype(int) + (left >= high)
    x, place = np.unique(trace.x, return_inverse=True)
    loss, change = _mean_by_place(trace.mean_loss, place), np.empty((len(left), x.size - 1))
    for i in range(x.size - 1):  # every network of one size with every one of the next
        here, there = np.flatnonzero(place == i)[:, None], np.flatnonzero(place == i + 1)[None]
        rests = (state[:, here] == state[:, there]) * (1 - moves[:, here]) * (1 - moves[:, there])
        change[:, i] = ((rests * (left[:, there] - left[:, here])) @ mass).mean(axis=(1, 2))
    return np.array([_exponents(x, *of_seed)[0] for of_seed in zip(change[..., None], loss, strict=True)])


def _mean_by_place(values: Array, place: NDArray[np.int64]) -> Array:
    """Average (S, X, ...) over what has the same place."""
    return np.stack([values[:, place == i].mean(axis=1) for i in range(place.max() + 1)], axis=1)


def split_exponent(x: Array, parts: Array, loss: Array) -> Array:
    """Split the least-squares exponent of log loss on log x among the parts of the loss.

    Parameters
    ----------
    x : ndarray, shape (X,)
    parts : ndarray, shape (X, P)
    loss : ndarray, shape (X,)
        Their sum.

    Returns
    -------
    ndarray, shape (P,)
        Positive for what falls; they sum to the exponent, to rounding. NaN where a part is not known, or a
        loss is not positive.
    """
    return _exponents(x, np.diff(parts, axis=0), loss)


def _exponents(x: Array, change: Array, loss: Array) -> Array:
    """Return what changes (X - 1, P) between neighbouring places carry of the exponent, (P,)."""
    if not (loss > 0).all():
        return np.full(change.shape[1], np.nan)
    of_log = change / logarithmic_mean(loss[:-1], loss[1:])[:, None]
    path = np.concatenate([np.zeros((1, change.shape[1])), of_log.cumsum(axis=0)])
    centred = np.log(x) - np.log(x).mean()
    return np.asarray(-(centred @ path) / (centred @ centred))


def logarithmic_mean(a: Array, b: Array) -> Array:
    """(b − a) / (log b − log a), which is a where both are equal."""
    ratio = np.log(b / a)
    near = np.abs(ratio) < 1e-6  # there a·(1 + r/2) is as exact as a float
    return np.asarray(np.where(near, a * (1 + ratio / 2), (b - a) / np.where(near, 1.0, ratio)))
