"""What the Quantization Hypothesis predicts: in the limit of infinitely many subtasks, and exactly on K."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.fits.curves import MAX_FALL, ScalingCurve, exp_or_inf, solve_line
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


def expected_loss_vs_parameters(
    frequency: ArrayLike, n_parameters: ArrayLike, counts: ArrayLike
) -> NDArray[np.float64]:
    """Mean loss expected of n = c N subtasks learned, exact on finite K.

    Parameters
    ----------
    frequency : array_like, shape (K,)
        p_k, most frequent first.
    n_parameters : array_like, shape (n_width,)
        N.
    counts : array_like, shape (n_width,) or (n_seed, n_width)
        Subtasks learned at each N. They give the one free constant: c is the geometric mean of n / N
        over the points with 1 <= n < K. (At n = K more parameters had nothing left to learn.)

    Returns
    -------
    ndarray, shape (n_width,)
        In bits; 0 once c N reaches K.

    Raises
    ------
    ValueError
        If no count is between 1 and K - 1.
    """
    p, n_parameters = np.asarray(frequency, dtype=np.float64), np.asarray(n_parameters, dtype=np.float64)
    counts, at = np.broadcast_arrays(np.asarray(counts, dtype=np.float64), n_parameters)
    counted = (counts >= 1) & (counts < p.size)
    if not counted.any():
        raise ValueError(f"counts must hold a value in 1..{p.size - 1} (K - 1) to set n = c N, found none")
    c = np.exp(np.log(counts[counted] / at[counted]).mean())
    return ideal_loss(p, np.minimum(c * n_parameters, p.size))


def expected_loss_vs_steps(frequency: ArrayLike, step: ArrayLike, times: ArrayLike) -> NDArray[np.float64]:
    """Mean loss expected when subtask k is learned at once at S_k = c / p_k, exact on finite K.

    A staircase: between two learning times nothing changes, so the loss is that of a whole number of
    subtasks. Interpolating the count would learn half a subtask too many on average, which matters while few
    are learned.

    Parameters
    ----------
    frequency : array_like, shape (K,)
        p_k, most frequent first.
    step : array_like, shape (n_step,)
        Positive.
    times : array_like, shape (..., K)
        Learning times S_k of one width, NaN where not learned. They give the one free constant: c is the
        geometric mean of S_k p_k over the subtasks learned.

    Returns
    -------
    ndarray, shape (n_step,)
        In bits.

    Raises
    ------
    ValueError
        If no subtask was learned, or a step is not positive.
    """
    p, step = np.asarray(frequency, dtype=np.float64), np.asarray(step, dtype=np.float64)
    if not (step > 0).all():
        raise ValueError(f"step must be positive, not {step.min():g}")
    product = np.asarray(times, dtype=np.float64) * p
    learned = np.isfinite(product)
    if not learned.any():
        raise ValueError("times must hold at least one learned subtask to set S_k = c / p_k, found none")
    c = np.exp(np.log(product[learned]).mean())
    return ideal_loss(p, np.floor(count_from_threshold(p, c / step)))


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
