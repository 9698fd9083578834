"""Claims: one statistic over seeds, held against one window.

A claim holds if its whole interval lies inside the window, fails if it lies outside, else it is unclear:
noise never passes. That it fails is decided together with the other claims of its question (Holm 1979), since
with more claims one is outside by chance more easily; to hold, all must, which needs no correction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from quanta.analysis.fits.intervals import Interval, mean_over_seeds

Array = NDArray[np.float64]

Window = tuple[float, float]

MOST_SEEDS = 100
"""More are not recommended to anybody: what they would decide is too small to matter here."""


@dataclass(frozen=True)
class Claim:
    """One claim along one axis.

    Attributes
    ----------
    axis : str
        "N", "S" or "D".
    name : str
    statistic : float or None
        Mean over seeds; None if it is not known.
    lower, upper : float or None
        Its interval over seeds; None where there is none.
    window : (float, float)
        Where the whole interval has to lie.
    holds : bool or None
        None: unclear.
    why : str
        A plain sentence with the numbers.
    needs : str or None
        Of an unclear claim, what would decide it.
    p_fails : float or None
        Probability of a mean this far outside if the truth were at the edge; before Holm's correction.
    asked : bool
        False where the data cannot ask at all, as of room where no network is full; such a claim keeps no
        question from being supported.
    """

    axis: str
    name: str
    statistic: float | None
    lower: float | None
    upper: float | None
    window: Window
    holds: bool | None
    why: str
    needs: str | None = None
    p_fails: float | None = None
    asked: bool = True


def unknown(
    axis: str, name: str, window: Window, why: str, needs: str | None, *, asked: bool = True
) -> Claim:
    """Make a claim whose statistic is not known."""
    return Claim(axis, name, None, None, None, window, None, why, needs, asked=asked)


def p_beyond(values: Array, edge: float, side: int, *, shared: float = 0.0) -> float:
    """One-sided p-value of Student's test that the mean over seeds lies beyond an edge; 1 if not known.

    `side` is 1 for above and -1 for below; `shared` as in `mean_over_seeds`.
    """
    known = values[np.isfinite(values)]
    if known.size < 2 or 2 * known.size < values.size:
        return 1.0
    distance = side * (float(known.mean()) - edge)
    error = math.hypot(float(known.std(ddof=1)) / math.sqrt(known.size), shared)
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(special.stdtr(known.size - 1, -distance / error))


def p_outside(values: Array, window: Window, *, shared: float = 0.0) -> float:
    """p-value that the mean over seeds lies outside a window, on either side."""
    below, above = (p_beyond(values, window[i], side, shared=shared) for i, side in ((0, -1), (1, 1)))
    return min(below, above)


def is_inside(found: Interval, window: Window) -> bool:
    """Whether a whole interval lies inside a window."""
    if found.lower is None or found.upper is None:
        return False
    return window[0] <= found.lower and found.upper <= window[1]


def hold(
    axis: str,
    name: str,
    values: Array,
    window: Window,
    confidence: float,
    why: str,
    *,
    fails: Window | None = None,
    shared: float = 0.0,
) -> Claim:
    """Hold the mean of a statistic over seeds against a window.

    Parameters
    ----------
    axis, name : str
    values : ndarray, shape (S,)
        NaN where not known.
    window : (float, float)
    confidence : float
    why : str
        A sentence that takes the number, with its interval, at {}.
    fails : (float, float), optional
        The claim fails outside of this wider window, and is unclear between the two.
    shared : float, default 0
        Standard error that all seeds share.

    Returns
    -------
    Claim
        It has not failed yet: see `settle`.
    """
    found = mean_over_seeds(values, confidence, shared=shared)
    if not math.isfinite(found.estimate):
        return unknown(axis, name, window, f"{name} is not known in most seeds.", None)
    inside = is_inside(found, window)
    return Claim(
        axis=axis,
        name=name,
        statistic=found.estimate,
        lower=found.lower,
        upper=found.upper,
        window=window,
        holds=True if inside else None,
        why=why.format(describe(found)),
        needs=None if inside else seeds_needed(values, window, confidence, fails=fails, shared=shared),
        p_fails=p_outside(values, fails or window, shared=shared),
    )


def settle(claims: Sequence[Claim], confidence: float) -> tuple[Claim, ...]:
    """Decide which claims of one question fail, by Holm's procedure over those that could be asked.

    Parameters
    ----------
    claims : sequence of Claim
    confidence : float
        A claim fails at the level of its own one-sided interval, (1 − confidence) / 2, for all claims
        together.

    Returns
    -------
    tuple of Claim
        In the same order.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65.
    """
    level = (1 - confidence) / 2
    asked = sorted((c.p_fails, i) for i, c in enumerate(claims) if c.p_fails is not None)
    found = list(claims)
    for rank, (p, i) in enumerate(asked):
        if p > level / (len(asked) - rank):
            break
        found[i] = replace(found[i], holds=False, needs=None)
    return tuple(found)


def seeds_needed(
    values: Array,
    window: Window,
    confidence: float,
    *,
    fails: Window | None = None,
    shared: float = 0.0,
) -> str | None:
    """Say how many seeds would decide at the scatter seen, if the mean is where it is.

    None where no number would, as where the mean lies between the window and the wider one of `hold`, or
    where so many are there already.
    """
    known = values[np.isfinite(values)]
    if known.size < 2:
        return "at least 3 seeds, since one has no spread"
    mean, sd = float(known.mean()), float(known.std(ddof=1))
    inside = window[0] <= mean <= window[1]
    edges = window if inside else fails or window
    if not inside and edges[0] <= mean <= edges[1]:
        return None
    distance = min(abs(mean - edge) for edge in edges if math.isfinite(edge))
    n = n_seeds_for(sd, distance, confidence, shared=shared)
    if n is None or n <= known.size:
        return None
    return f"about {n} seeds, if the mean stays, to show that it {'holds' if inside else 'fails'}"


def n_seeds_for(sd: float, distance: float, confidence: float, *, shared: float = 0.0) -> int | None:
    """Count the seeds whose interval is shorter than a distance to each side; None beyond `MOST_SEEDS`.

    With as many, about half of the studies decide: the interval's half-length equals the distance on average.
    """
    upper = (1 + confidence) / 2
    for n in range(3, MOST_SEEDS + 1):
        own = float(special.stdtrit(n - 1, upper)) * sd / math.sqrt(n)
        if math.hypot(own, float(special.ndtri(upper)) * shared) <= distance:
            return n
    return None


def describe(found: Interval) -> str:
    """Write an estimate with its interval."""
    if found.lower is None or found.upper is None:
        return f"{number(found.estimate)} (no interval from {found.n} seed{'s' * (found.n != 1)})"
    return f"{number(found.estimate)} [{number(found.lower)}, {number(found.upper)}]"


def number(value: float) -> str:
    """Two digits after the point, and no minus before zero."""
    return f"{round(value, 2) + 0.0:.2f}"
