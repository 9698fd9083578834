"""What the Quantization Hypothesis predicts: in the limit of infinitely many subtasks, and exactly on K."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from quanta.analysis.fits.curves import MAX_FALL, ScalingCurve, exp_or_inf, solve_line
from quanta.analysis.theories.constants import fit_room, fit_scale
from quanta.analysis.theories.protocol import Observed, Theory
from quanta.tasks.frequencies import tail_mass

Array = NDArray[np.float64]

_TURNS = (0.85, 1.0, 1.15)
"""Factors of gamma, and of n at the first point, that are tried about those that the inverted law gives."""
_SMALLEST_COUNT = 1e-6
"""Bound of n at the first point, whose loss is then that of chance to the sixth decimal."""


def ideal_loss(frequency: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Mean loss in bits once exactly the n most frequent subtasks are learned, Σ_{k>n} p_k.

    Parameters
    ----------
    frequency : array_like, shape (K,)
        p_k, most frequent first.
    n : array_like
        Number of subtasks learned, between 0 and K. Exact at integers; linear between them, as if a part
        of the next subtask were learned.

    Returns
    -------
    ndarray, shaped like n

    Raises
    ------
    ValueError
        If some n is outside 0..K.

    References
    ----------
    Michaud et al. (2023), arXiv:2303.13506, section 2.
    """
    tail = tail_mass(np.asarray(frequency, dtype=np.float64))
    n = np.asarray(n, dtype=np.float64)
    if not ((n >= 0) & (n <= tail.size - 1)).all():
        raise ValueError(f"n must be between 0 and K = {tail.size - 1}, not {n.min():g}..{n.max():g}")
    return np.asarray(np.interp(n, np.arange(tail.size), tail))


def local_slope(frequency: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Local exponent of the ideal loss, -dlog L / dlog n.

    On a Zipf law this tends to α / (1 - (n/K)^α) and is steeper than α wherever K is finite.

    Parameters
    ----------
    frequency : array_like, shape (K,)
        p_k, most frequent first.
    n : array_like
        Number of subtasks learned, between 0 and K. The derivative is the change of `ideal_loss`
        from n - 1/2 to n + 1/2 (within 0..K).

    Returns
    -------
    ndarray, shaped like n
        inf at n = K, where the loss is 0.

    Raises
    ------
    ValueError
        If some n is outside 0..K.
    """
    frequency, n = np.asarray(frequency, dtype=np.float64), np.asarray(n, dtype=np.float64)
    loss = ideal_loss(frequency, n)
    below, above = np.maximum(n - 0.5, 0), np.minimum(n + 0.5, frequency.size)
    fall = (ideal_loss(frequency, below) - ideal_loss(frequency, above)) / (above - below)
    return np.asarray(np.divide(n * fall, loss, out=np.full(n.shape, np.inf), where=loss > 0))


def expected_exponents(alpha: float) -> dict[str, float | None]:
    """Exponents in the limit of infinitely many subtasks.

    Parameters
    ----------
    alpha : float
        The quanta exponent α.

    Returns
    -------
    dict
        `alpha_N`: α, in parameters. `alpha_S` and `alpha_D`: α / (1 + α), in steps and in data. None where
        there is no such limit: α unknown (NaN), or not positive (-1 stands for uniform frequencies).

    References
    ----------
    Michaud et al. (2023), arXiv:2303.13506, section 2.
    """
    if not (math.isfinite(alpha) and alpha > 0):
        return {"alpha_N": None, "alpha_S": None, "alpha_D": None}
    return {"alpha_N": alpha, "alpha_S": alpha / (1 + alpha), "alpha_D": alpha / (1 + alpha)}


def count_from_threshold(frequency: ArrayLike, threshold: ArrayLike) -> NDArray[np.float64]:
    """Find the real n at which p_n equals a threshold, log p interpolated over log rank.

    Parameters
    ----------
    frequency : array_like, shape (K,)
        p_k, most frequent first.
    threshold : array_like
        Positive.

    Returns
    -------
    ndarray, shaped like threshold
        0 above p_1, K at and below p_K. Its integer part is the number of subtasks with p_k >= threshold.

    Raises
    ------
    ValueError
        If a threshold is not positive.
    """
    p, threshold = np.asarray(frequency, dtype=np.float64), np.asarray(threshold, dtype=np.float64)
    if not (threshold > 0).all():
        raise ValueError(f"threshold must be positive, not {threshold.min():g}")
    n_above = np.searchsorted(-p, -threshold, side="right")
    inside = (n_above > 0) & (n_above < p.size)
    k = np.where(inside, n_above, 1)  # rank of the last frequency at or above the threshold
    last, following = p[k - 1], p[np.minimum(k, p.size - 1)]
    drop = np.where(inside, np.log(last) - np.log(following), 1.0)
    fraction = np.where(inside, (np.log(last) - np.log(threshold)) / drop, 0.0)
    return np.asarray(np.where(inside, k * ((k + 1) / k) ** fraction, n_above))


def frequency_at_rank(frequency: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Find the frequency at a real rank, log p interpolated over log rank.

    The inverse of `count_from_threshold`.

    Parameters
    ----------
    frequency : array_like, shape (K,)
        p_k, most frequent first; at least two.
    n : array_like
        Positive. Outside 1..K the first and the last step of the law go on.

    Returns
    -------
    ndarray, shaped like n
    """
    log_p, n = np.log(np.asarray(frequency, dtype=np.float64)), np.asarray(n, dtype=np.float64)
    last = np.clip(np.nan_to_num(n, nan=1.0), 1, log_p.size - 1).astype(np.int64)  # rank at or below n
    fall = (log_p[last] - log_p[last - 1]) / np.log((last + 1) / last)
    return np.asarray(np.exp(log_p[last - 1] + fall * np.log(n / last)))


@dataclass(frozen=True)
class Quanta(Theory):
    """Subtask k is learned in one step at S_k = c / p_k, from τ / p_k examples, and n = N / a of them in all.

    K is finite. Those that there is room for are the first in the order in which they are learned. The number
    of examples of a subtask among D is Poisson's: what is expected to be learned from them is no hard cut.

    Attributes
    ----------
    learning_time : float
        c: steps times frequency after which a subtask is learned.
    parameters_per_subtask : float
        a.
    examples_per_subtask : float
        τ.
    """

    name: ClassVar[str] = "quanta"
    source: ClassVar[str] = "arXiv:2303.13506"

    learning_time: float = math.nan
    parameters_per_subtask: float = math.nan
    examples_per_subtask: float = math.nan

    def _left(
        self, p: Array, N: Array | None, S: Array | None, D: Array | None, delay: Array, luck: Array | None
    ) -> Array:
        late = self.relative_times(p) * delay
        learned = np.ones_like(p)
        if S is not None:
            learned = learned * (1 - self.left_after(S / (self.learning_time * late)))
        if N is not None:
            room = N / self.parameters_per_subtask
            room = room if luck is None else np.floor(room + luck)
            place = late.argsort(axis=-1, kind="stable").argsort(axis=-1)
            learned = learned * np.clip(room - place, 0, 1)
        if D is not None:
            learned = learned * (1 - self.left_with(D * p, delay, drawn=luck is not None))
        return 1 - learned

    def relative_times(self, p: Array) -> Array:
        """Return learning times (K,) over the constant c."""
        return 1 / p

    def left_after(self, progress: Array) -> Array:
        """Return what is left of a subtask after so many of its learning times."""
        return np.where(np.isnan(progress), np.nan, progress < 1)

    def left_with(self, examples: Array, delay: Array, *, drawn: bool) -> Array:
        """Return what is left of a subtask of which so many examples are expected and τ · delay needed.

        In a draw, all or nothing: `delay` scatters more than Poisson's law would.
        """
        needed = self.examples_per_subtask * delay
        if drawn:
            return self.left_after(examples / needed)
        return np.asarray(special.gammaincc(needed, examples))

    @classmethod
    def fit(cls, observed: Observed) -> Self:
        p = observed.frequency
        examples = math.nan
        if observed.examples_lower is not None and observed.examples_upper is not None:
            examples = fit_scale(1 / p, observed.examples_lower, observed.examples_upper)
        return cls(
            fit_scale(cls().relative_times(p), observed.time_lower, observed.time_upper),
            fit_room(observed.n_parameters, observed.n_learned, observed.is_full, p.size),
            examples,
        )

    def exponents(self, alpha: float) -> dict[str, float | None]:
        return {"beta": 1.0, "gamma": 1.0}


class FiniteK(ScalingCurve):
    """The mean loss of n = c x^gamma quanta, Σ_{k>n} p_k, linear between whole n: parameters c and gamma.

    In coordinates log n = log_n + gamma u, where log_n is that of the first point.

    Parameters
    ----------
    frequency : array_like, shape (K,)
        p_k, most frequent first, summing to 1.
    chance : float, default 1
        Loss of a subtask that is not learned, in the unit of the losses to be fitted.

    Raises
    ------
    ValueError
        If they are not so.
    """

    name = "finite K"
    names = ("log_n", "gamma")
    kinked = True

    def __init__(self, frequency: ArrayLike, chance: float = 1.0) -> None:
        p = np.asarray(frequency, dtype=np.float64)
        if p.ndim != 1 or p.size < 2:
            raise ValueError(
                f"frequency must hold one value for each of at least 2 subtasks, not shape {p.shape}"
            )
        if not ((p > 0).all() and (np.diff(p) <= 0).all()):
            raise ValueError("frequency must be positive, the most frequent first")
        if abs(p.sum() - 1) > 1e-6:
            raise ValueError(f"frequency must sum to 1, not {p.sum():g}")
        if not 0 < chance < math.inf:
            raise ValueError(f"chance must be positive and finite, not {chance!r}")
        self.frequency = p
        self.counts = np.arange(p.size + 1)
        self.chance = chance
        self.losses = chance * ideal_loss(p, self.counts)

    def evaluate(self, t: Array, u: Array) -> tuple[Array, Array]:
        p = self.frequency
        log_n, most = t[0] + t[1] * u, math.log(p.size)
        n = np.where(log_n < most, np.exp(np.minimum(log_n, most)), p.size)
        loss = np.interp(n, self.counts, self.losses)
        left = loss > 0
        log_loss = np.log(loss, out=np.full(u.shape, -np.inf), where=left)
        # Between k and k + 1 learned, the loss falls by p_{k+1} for a whole subtask more.
        falls = np.where(left, self.chance * n * p[np.minimum(n.astype(np.int64), p.size - 1)], 0.0)
        slope = -np.divide(falls, loss, out=np.zeros(u.shape), where=left)
        return np.asarray(log_loss), np.column_stack([slope, slope * u])

    def bounds(self, u: Array) -> tuple[Array, Array]:
        steepest, most = MAX_FALL / np.ptp(u), math.log(self.frequency.size)
        return np.array([math.log(_SMALLEST_COUNT), -steepest]), np.array([most, steepest])

    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        n = np.interp(-np.exp(v), -self.losses, self.counts)
        # At chance and above no n fits, and nothing says how little below it is: take half of the first.
        log_n, gamma = solve_line(np.log(np.maximum(n, 0.5)), np.ones_like(u), u)
        for turn in _TURNS:
            shifted = (np.array([log_n + shift, gamma * turn]) for shift in np.log(_TURNS))
            yield [self.make_finite(t, u) for t in shifted]

    def make_finite(self, t: Array, u: Array) -> Array:
        """Leave at least half a subtask to be learned at the end."""
        most = math.log(self.frequency.size - 0.5) - float((t[1] * u).max())
        return np.array([min(t[0], most), t[1]])

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        return {"c": exp_or_inf(t[0] - t[1] * origin), "gamma": float(t[1])}
