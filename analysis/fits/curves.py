"""The curves behind `analysis.scaling_models`: their logarithm, its derivatives, and where to start a fit.

A curve is written in coordinates that the points make dimensionless: u = log x - origin, where the origin is
log x of the smallest point. There a falling loss has the most above its floor, and nothing overflows. T
coordinates, n points.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.theories.theory import ideal_loss

Array = NDArray[np.float64]

MAX_FALL = 100.0
"""An exponent may change the loss by exp(100) over the window; one that wants more has run away."""
SHARPEST_BREAK = 0.05
"""Smallest f: the slope then changes within 10 % of x, less than the step between scales of any ladder."""
FLOORS = (0.0, 0.5, 0.8, 0.95, 0.99)
"""Shares of the smallest loss at which a floor is tried; given a floor, the rest is a line."""
BREAKS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the window of log x at which a break is tried."""
SHARPNESS = (0.1, 0.5)
"""Values of f that are tried."""
TURNS = (0.85, 1.0, 1.15)
"""Factors of gamma, and of n at the first point, that are tried about those that the inverted law gives."""
SMALLEST_COUNT = 1e-6
"""Bound of n at the first point, whose loss is then 1 bit to the sixth decimal."""


class Curve(ABC):
    """A model in coordinates.

    Attributes
    ----------
    names : tuple of str
        The coordinates. One that is called as a parameter is that parameter.
    at_rest : dict of str to str
        Coordinates for which a value at a bound is an answer, and what it then says; any other has run away.
    kinked : bool
        Whether the derivatives jump, so that a minimum need not have a vanishing gradient.
    """

    names: tuple[str, ...]
    at_rest: ClassVar[dict[str, str]] = {}
    kinked = False

    @abstractmethod
    def evaluate(self, t: Array, u: Array) -> tuple[Array, Array]:
        """Return log loss (n,) and its derivatives (n, T)."""

    @abstractmethod
    def bounds(self, u: Array) -> tuple[Array, Array]:
        """Return the lower and upper bounds (T,) for points at u."""

    @abstractmethod
    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        """Yield groups of coordinates near which log loss v at u may be fitted; always the same.

        The best of each group is worth refining.
        """

    def make_finite(self, t: Array, u: Array) -> Array:
        """Return coordinates near t, the last the same, whose log loss is finite."""
        return t

    @abstractmethod
    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        """Return the parameters in their own units, where u = log x - origin."""


def make_curve(model: str, frequency: ArrayLike | None = None) -> Curve:
    """Return the curve of a model.

    Parameters
    ----------
    model : str
        As `analysis.scaling_models.Model`.
    frequency : array_like, shape (K,), optional
        p_k, most frequent first; `finite K` needs it and the others do not use it.

    Raises
    ------
    ValueError
        If there is no such model, or `finite K` has no frequencies, or they are not what they have to be.
    """
    if model == "finite K":
        if frequency is None:
            raise ValueError("frequency must be given for the model 'finite K', not None")
        return _FiniteK(frequency)
    curves: dict[str, Callable[[], Curve]] = {
        "power": _Power,
        "power + floor": _PowerWithFloor,
        "exponential": _Exponential,
        "broken power": _BrokenPower,
    }
    if model not in curves:
        raise ValueError(f"model must be one of {', '.join([*curves, 'finite K'])}, not {model!r}")
    return curves[model]()


class _Power(Curve):
    """A x^-a: a line, of level and slope, in u."""

    names = ("level", "a")

    def evaluate(self, t: Array, u: Array) -> tuple[Array, Array]:
        along = self._along(u)
        return t[0] - t[1] * along, np.column_stack([np.ones_like(u), -along])

    def bounds(self, u: Array) -> tuple[Array, Array]:
        steepest = MAX_FALL / np.ptp(self._along(u))
        return np.array([-np.inf, -steepest]), np.array([np.inf, steepest])

    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        yield [_solve(v, np.ones_like(u), -self._along(u))]

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        return {"A": _exp(t[0] + t[1] * origin), "a": float(t[1])}

    def _along(self, u: Array) -> Array:
        return u


class _Exponential(_Power):
    """A exp(-b x): a line in exp(u), which is x over the smallest."""

    names = ("level", "rate")

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        return {"A": _exp(t[0]), "b": float(t[1]) * math.exp(-origin)}

    def _along(self, u: Array) -> Array:
        return np.exp(u)


class _PowerWithFloor(Curve):
    """E + A x^-a, as exp(level) (share + (1 - share) exp(h(u) - h(0))) with h = -a u.

    `share` is how much of the loss at the first point is floor. `_BrokenPower` is the same about another h.
    """

    names: tuple[str, ...] = ("level", "share", "a")
    at_rest: ClassVar[dict[str, str]] = {"share": "no floor"}

    def evaluate(self, t: Array, u: Array) -> tuple[Array, Array]:
        h, dh = self._fall(t[2:], u)
        h0, dh0 = self._fall(t[2:], np.zeros(1))
        share, fall = t[1], np.exp(h - h0)
        mixed = share + (1 - share) * fall
        by_fall = ((1 - share) * fall / mixed)[:, None] * (dh - dh0)
        return t[0] + np.log(mixed), np.column_stack([np.ones_like(u), (1 - fall) / mixed, by_fall])

    def bounds(self, u: Array) -> tuple[Array, Array]:
        return np.array([-np.inf, 0, 0]), np.array([np.inf, 1, MAX_FALL / np.ptp(u)])

    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        for floor in FLOORS:
            above = _above(v, floor)
            level, a = _solve(above, np.ones_like(u), -u)
            yield [self._start(v, floor, level, np.array([a]))]

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        scale = _exp(t[0] + math.log1p(-t[1]) + t[2] * origin) if t[1] < 1 else 0.0
        return {"E": float(t[1]) * _exp(t[0]), "A": scale, "a": float(t[2])}

    def _fall(self, t: Array, u: Array) -> tuple[Array, Array]:
        """Return h (n,) and its derivatives (n, T - 2)."""
        return -t[0] * u, -u[:, None]

    def _start(self, v: Array, floor: float, level: float, t: Array) -> Array:
        """Put a floor, a share of the smallest loss, beneath the rest, whose log at u = 0 is `level`."""
        floor_level = math.log(floor) + v.min() if floor > 0 else -math.inf
        whole = np.logaddexp(floor_level, level)
        return np.concatenate([[whole, math.exp(floor_level - whole)], t])


class _BrokenPower(_PowerWithFloor):
    """a + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f), with h = -c0 u - c1 f log(1 + exp((u - place) / f))."""

    names = ("level", "share", "c0", "c1", "place", "log_f")
    at_rest: ClassVar[dict[str, str]] = {
        "share": "no floor",
        "place": "break at an end of the window",
        "log_f": "break as sharp or as smooth as is allowed",
    }

    def bounds(self, u: Array) -> tuple[Array, Array]:
        steepest = MAX_FALL / np.ptp(u)
        lower = [-np.inf, 0, -steepest, -steepest, u.min(), math.log(SHARPEST_BREAK)]
        # A break smoother than the window is long is none.
        upper = [np.inf, 1, steepest, steepest, u.max(), math.log(max(np.ptp(u), 2 * SHARPEST_BREAK))]
        return np.array(lower), np.array(upper)

    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        places = u.min() + np.ptp(u) * np.array(BREAKS)
        for floor in FLOORS:
            above, group = _above(v, floor), []
            for place, f in itertools.product(places, SHARPNESS):
                _, bend, _ = _bend(u, place, f)
                level, c0, c1 = _solve(above, np.ones_like(u), -u, -bend)
                t = np.array([c0, c1, place, math.log(f)])
                h0, _ = self._fall(t, np.zeros(1))
                group.append(self._start(v, floor, level + h0[0], t))
            yield group

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        h0, _ = self._fall(t[2:], np.zeros(1))
        scale = _exp(t[0] + math.log1p(-t[1]) - h0[0] + t[2] * origin) if t[1] < 1 else 0.0
        return {
            "a": float(t[1]) * _exp(t[0]),
            "b": scale,
            "c0": float(t[2]),
            "c1": float(t[3]),
            "d": _exp(t[4] + origin),
            "f": _exp(t[5]),
        }

    def _fall(self, t: Array, u: Array) -> tuple[Array, Array]:
        c0, c1, place, log_f = t
        z, bend, rise = _bend(u, place, math.exp(log_f))
        by_log_f = -c1 * (bend - math.exp(log_f) * z * rise)
        return -c0 * u - c1 * bend, np.column_stack([-u, -bend, c1 * rise, by_log_f])


class _FiniteK(Curve):
    """Σ_{k>n} p_k at log n = log_n + gamma u: log_n is that of the first point."""

    names = ("log_n", "gamma")
    kinked = True

    def __init__(self, frequency: ArrayLike) -> None:
        p = np.asarray(frequency, dtype=np.float64)
        if p.ndim != 1 or p.size < 2:
            raise ValueError(
                f"frequency must hold one value for each of at least 2 subtasks, not shape {p.shape}"
            )
        if not ((p > 0).all() and (np.diff(p) <= 0).all()):
            raise ValueError("frequency must be positive, the most frequent first")
        if abs(p.sum() - 1) > 1e-6:
            raise ValueError(f"frequency must sum to 1, not {p.sum():g}")
        self.frequency = p
        self.counts = np.arange(p.size + 1)
        self.losses = ideal_loss(p, self.counts)

    def evaluate(self, t: Array, u: Array) -> tuple[Array, Array]:
        p = self.frequency
        log_n, most = t[0] + t[1] * u, math.log(p.size)
        n = np.where(log_n < most, np.exp(np.minimum(log_n, most)), p.size)
        loss = np.interp(n, self.counts, self.losses)
        left = loss > 0
        log_loss = np.log(loss, out=np.full(u.shape, -np.inf), where=left)
        # Between k and k + 1 learned, the loss falls by p_{k+1} for a whole subtask more.
        falls = np.where(left, n * p[np.minimum(n.astype(np.int64), p.size - 1)], 0.0)
        slope = -np.divide(falls, loss, out=np.zeros(u.shape), where=left)
        return np.asarray(log_loss), np.column_stack([slope, slope * u])

    def bounds(self, u: Array) -> tuple[Array, Array]:
        steepest, most = MAX_FALL / np.ptp(u), math.log(self.frequency.size)
        return np.array([math.log(SMALLEST_COUNT), -steepest]), np.array([most, steepest])

    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        n = np.interp(-np.exp(v), -self.losses, self.counts)
        # At 1 bit and more no n fits, and nothing says how little below 1 it is: take half of the first.
        log_n, gamma = _solve(np.log(np.maximum(n, 0.5)), np.ones_like(u), u)
        for turn in TURNS:
            shifted = (np.array([log_n + shift, gamma * turn]) for shift in np.log(TURNS))
            yield [self.make_finite(t, u) for t in shifted]

    def make_finite(self, t: Array, u: Array) -> Array:
        """Leave at least half a subtask to be learned at the end."""
        most = math.log(self.frequency.size - 0.5) - float((t[1] * u).max())
        return np.array([min(t[0], most), t[1]])

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        return {"c": _exp(t[0] - t[1] * origin), "gamma": float(t[1])}


def _solve(v: Array, *columns: Array) -> Array:
    """Least-squares coefficients of columns in v."""
    return np.asarray(np.linalg.lstsq(np.column_stack(columns), v)[0])


def _above(v: Array, floor: float) -> Array:
    """Log of what a loss of log v holds above a floor, a share below 1 of the smallest loss."""
    return np.asarray(v + np.log1p(-floor * np.exp(v.min() - v)))


def _bend(u: Array, place: float, f: float) -> tuple[Array, Array, Array]:
    """Return z = (u - place) / f, f log(1 + exp(z)), and its derivative in u."""
    z = (u - place) / f
    return z, f * np.logaddexp(0.0, z), 0.5 * (1 + np.tanh(z / 2))


def _exp(power: float) -> float:
    """Exponential; inf, which the fitter refuses, where it is too large for a float."""
    return math.exp(power) if power < 709 else math.inf
