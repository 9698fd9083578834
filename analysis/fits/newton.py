"""Newton's method on a concave function, for likelihoods."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Evaluate = Callable[[Array], tuple[float, Array, Array]]
"""From θ (p,) to value, gradient (p,) and Hessian (p, p); the value is -inf where θ is not allowed."""

_CONVERGED = 1e-8
"""Newton's method squares the error: after a step this small, relative to the parameters, it is rounding."""

_MOST_STEPS = 100
"""Newton's method takes about 6 steps; this many only where there is no maximum."""

_FARTHEST = 1e8
"""A Newton step this long shows a flat function: θ is to be about 1."""


def maximise(evaluate: Evaluate, theta: Array) -> tuple[Array, float, int | None]:
    """Climb to the maximum of a concave function, halving steps that go down.

    Parameters
    ----------
    evaluate : callable
        The function and its derivatives.
    theta : ndarray, shape (p,)
        Where to start; allowed, and in units in which the maximum is at about 1.

    Returns
    -------
    theta : ndarray, shape (p,)
    value : float
    n_steps : int or None
        None if it did not converge.
    """
    value, gradient, hessian = evaluate(theta)
    for n_steps in range(1, _MOST_STEPS + 1):
        try:
            step = np.linalg.solve(-hessian, gradient)
        except np.linalg.LinAlgError:
            break
        length = float(np.linalg.norm(step))
        if length > _FARTHEST:
            break
        is_last = length <= _CONVERGED * max(float(np.linalg.norm(theta)), 1.0)
        floor = value - 1e-9 * (1 + abs(value))
        while True:
            tried = theta + step
            value, gradient, hessian = evaluate(tried)
            if value >= floor:
                break
            step = step / 2
        theta = tried
        if is_last:
            return theta, value, n_steps
    return theta, value, None
