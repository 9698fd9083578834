"""How often each subtask is used: Zipf's law on a finite number of subtasks, and its tail."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

LAW_TOLERANCE = 1e-3
"""In log p: frequencies this near to a law are those of the law."""


def zipf_frequencies(n_subtasks: int, alpha: float, offset: float = 0.0) -> NDArray[np.float64]:
    """Use frequencies p_k = (k + offset)^-(1 + alpha) / Σ_j (j + offset)^-(1 + alpha).

    Parameters
    ----------
    n_subtasks : int
        K, the number of subtasks; at least 1.
    alpha : float
        The quanta exponent α; the Zipf exponent is 1 + α. (The scripts of Michaud et al. call
        1 + α "alpha".) Finite and at least -1, where the law is uniform.
    offset : float, default 0
        Flattens the head of the law; finite and greater than -1.

    Returns
    -------
    ndarray of float64, shape (K,)
        Frequencies in rank order, summing to 1: element 0 belongs to subtask k = 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    Michaud et al. (2023), arXiv:2303.13506, section 3; `offset` as in the joint study of its appendix.
    """
    _check_n_subtasks(n_subtasks)
    _check_alpha(alpha)
    if not (math.isfinite(offset) and offset > -1):
        raise ValueError(f"offset must be a finite number > -1, not {offset!r}")
    log_weight = -(1 + alpha) * np.log(np.arange(1, n_subtasks + 1) + offset)
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def uniform_frequencies(n_subtasks: int) -> NDArray[np.float64]:
    """Use frequencies p_k = 1/K: the control under which no order of learning is expected.

    Parameters
    ----------
    n_subtasks : int
        K, the number of subtasks; at least 1.

    Returns
    -------
    ndarray of float64, shape (K,)

    Raises
    ------
    ValueError
        If `n_subtasks` is below 1.
    """
    _check_n_subtasks(n_subtasks)
    return np.full(n_subtasks, 1.0 / n_subtasks)


def is_zipf(frequencies: ArrayLike, alpha: float) -> bool:
    """Say whether frequencies belong to an α: p_k ∝ (k + offset)^-(1 + α) for some offset above -1.

    Parameters
    ----------
    frequencies : array_like, shape (K,)
        Positive, in rank order; of any sum, since a law is one of ratios.
    alpha : float
        The quanta exponent α. Finite and at least -1, where the law is uniform.

    Returns
    -------
    bool
        Whether they are within 1e-3, in log p, of the law whose first and last are as far apart as theirs.
        Frequencies that are uniform to within as much belong to α = -1 alone: with another α they would take
        an offset without end. A single one belongs to every α.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    p = np.asarray(frequencies, dtype=np.float64)
    if p.ndim != 1 or p.size == 0:
        raise ValueError(f"frequencies must have the shape (K,) with K at least 1, not {p.shape}")
    if not (np.isfinite(p) & (p > 0)).all():
        raise ValueError(f"frequencies must be positive, not {p[~(np.isfinite(p) & (p > 0))][0]:g}")
    _check_alpha(alpha)
    if p.size == 1:
        return True
    below_first = np.log(p[0]) - np.log(p)
    fall = float(below_first[-1])
    if alpha == -1 or fall <= LAW_TOLERANCE:
        return alpha == -1 and bool(np.abs(below_first).max() <= LAW_TOLERANCE)
    # fall = (1 + α) log((K + offset) / (1 + offset)), which is solved for 1 + offset.
    first = (p.size - 1) / math.expm1(min(fall / (1 + alpha), 700.0))
    law = (1 + alpha) * np.log1p(np.arange(p.size) / first)
    return bool(np.abs(below_first - law).max() <= LAW_TOLERANCE)


def tail_mass(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exact mass beyond the first n subtasks, Σ_{k>n} p_k, for n = 0..K.

    With every learned subtask at 0 bits and every other at 1 bit, this is the mean loss in bits of a
    network that has learned the first n.

    Parameters
    ----------
    frequencies : ndarray of float64, shape (K,)
        In rank order.

    Returns
    -------
    ndarray of float64, shape (K + 1,)
        Element n is the mass of subtasks n + 1..K; the last is 0. Summed from the rarest up, so that
        small tails keep their relative precision.
    """
    return np.concatenate([np.cumsum(frequencies[::-1])[::-1], [0.0]])


def _check_n_subtasks(n_subtasks: int) -> None:
    if n_subtasks < 1:
        raise ValueError(f"n_subtasks must be at least 1, not {n_subtasks!r}")


def _check_alpha(alpha: float) -> None:
    if not (math.isfinite(alpha) and alpha >= -1):
        raise ValueError(f"alpha must be a finite number >= -1, not {alpha!r}")
