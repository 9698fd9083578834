"""Shapes of a drop: what is left of one subtask's loss as what it is learned from grows.

Each takes x, which is 1 where the share `at` is left, and starts from 1. From .9 to .1 of the loss a skill of
the multilinear model takes a factor of 3.2 in steps, an exponential mode 22 and a mode of a ridge-type filter
40, whatever `at`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SKILL_RATIO = 70.0
"""Strength of a skill over what there is of it at the start, S / R(0). Drops of the demo's networks take a
factor of 2.4 to 3.6 from .9 to .1 bit; from 37 to 700 it would be 4 to 2."""


def skill_drop(x: ArrayLike, *, at: float = 0.5, ratio: float = SKILL_RATIO) -> Array:
    """Loss of a skill of the multilinear model.

    The loss is (1 - R/S)² over what it is at the start, where the skill R grows logistically from R(0) to S.

    Parameters
    ----------
    x : array_like
        Steps over those after which `at` is left.
    at : float, default 0.5
        Between 0 and 1.
    ratio : float
        S / R(0), above 1.

    Returns
    -------
    ndarray, shaped like x

    References
    ----------
    Nam et al. (2024), arXiv:2404.17563.
    """
    start = 1 - 1 / ratio  # 1 - R(0)/S
    missing = start * math.sqrt(at)
    # The odds (1 - R/S) / (R/S) fall exponentially from ratio - 1.
    time = math.log(ratio - 1) - math.log(missing / (1 - missing))
    odds = np.exp(math.log(ratio - 1) - time * np.asarray(x, dtype=np.float64))
    return np.asarray((odds / (1 + odds) / start) ** 2)


def exponential_drop(x: ArrayLike, *, at: float = 0.5) -> Array:
    """Loss exp(-2 λ t) of a mode in gradient flow on a linear model.

    From .9 to .1 it takes a factor of ln .1 / ln .9 = 21.9, whatever λ.

    Parameters
    ----------
    x : array_like
        Steps over those after which `at` is left.
    at : float, default 0.5
        Between 0 and 1.

    Returns
    -------
    ndarray, shaped like x
    """
    return np.asarray(at ** np.asarray(x, dtype=np.float64))


def ridge_drop(x: ArrayLike, *, at: float = 0.5) -> Array:
    """Loss (1 + λ/κ)^-2 of a mode behind a ridge-type filter.

    From .9 to .1 it takes a factor of (√10 - 1) / (√(10/9) - 1) = 40, whatever λ.

    Parameters
    ----------
    x : array_like
        λ/κ over that at which `at` is left.
    at : float, default 0.5
        Between 0 and 1.

    Returns
    -------
    ndarray, shaped like x

    References
    ----------
    Maloney, Roberts and Sully (2022), arXiv:2210.16859.
    """
    return np.asarray((1 + (at**-0.5 - 1) * np.asarray(x, dtype=np.float64)) ** -2)
