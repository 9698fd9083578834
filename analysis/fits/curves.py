"""Curves of how the mean loss falls with scale: their logarithm, its derivatives, and where to start a fit.

x is a scale (parameters N, steps S or data D) and y the mean loss.

| name | mean loss | parameters |
|---|---|---|
| `power` | A x^-a | A, a |
| `power + floor` | E + A x^-a, E >= 0, a > 0 | E, A, a |
| `exponential` | A exp(-b x) | A, b |
| `broken power` | a + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f), a >= 0 | a, b, c0, c1, d, f |

`broken power` is the broken neural scaling law of Caballero et al. (2022), arXiv:2210.14891, with one break:
the slope turns from c0 to c0 + c1 about d, over a stretch of about f in log x. The break is looked for inside
the window. A theory brings its own curve (`quanta.analysis.theories.quanta.FiniteK`).

`exponential` is a weak competitor over decades of x. It has one scale, 1/b: next to nothing happens before it
and nothing is left soon after, so that the largest x decide alone. That it fits worse says that the loss
falls on more than one scale, as it must where subtasks are learned one after another, and not that it is a
power law. What a power law has to be told from are curves whose local slope drifts: the others.

A curve is written in coordinates that the points make dimensionless: u = log x - origin, where the origin is
log x of the smallest point. There a falling loss has the most above its floor, and nothing overflows. T
coordinates, n points.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_FALL = 100.0
"""An exponent may change the loss by exp(100) over the window; one that wants more has run away."""
SHARPEST_BREAK = 0.05
"""Smallest f: the slope then changes within 10 % of x, less than the step between scales of any ladder."""
FLOORS = (0.0, 0.25, 0.5, 0.7, 0.9, *(1 - 10.0 ** -np.arange(1.5, 7.5, 0.5)))
"""Shares of the smallest loss at which a floor is tried; given a floor, the rest is a line. Where the last
points have come down to it, only the nearest to 1 lead there."""
BREAKS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the window of log x at which a break is tried."""
SHARPNESS = (0.1, 0.3, 1.0)
"""Values of f that are tried."""


class ScalingCurve(ABC):
    """A curve of the mean loss against scale, in coordinates.

    Attributes
    ----------
    name : str
        How tables and figures call it.
    exponent : str or None
        The parameter that is the exponent of a power law, positive for a falling one; None if the local slope
        is no parameter.
    names : tuple of str
        The coordinates. One that is called as a parameter is that parameter.
    at_rest : dict of str to str
        Coordinates for which a value at a bound is an answer, and what it then says; any other has run away.
    kinked : bool
        Whether the derivatives jump, so that a minimum need not have a vanishing gradient.
    """

    name: str
    exponent: str | None = None
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


class PowerLaw(ScalingCurve):
    """A x^-a: a line, of level and slope, in u."""

    name = "power"
    exponent: str | None = "a"
    names = ("level", "a")

    def evaluate(self, t: Array, u: Array) -> tuple[Array, Array]:
        along = self._along(u)
        return t[0] - t[1] * along, np.column_stack([np.ones_like(u), -along])

    def bounds(self, u: Array) -> tuple[Array, Array]:
        steepest = MAX_FALL / np.ptp(self._along(u))
        return np.array([-np.inf, -steepest]), np.array([np.inf, steepest])

    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        yield [solve_line(v, np.ones_like(u), -self._along(u))]

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        return {"A": exp_or_inf(t[0] + t[1] * origin), "a": float(t[1])}

    def _along(self, u: Array) -> Array:
        return u


class Exponential(PowerLaw):
    """A exp(-b x): a line in exp(u), which is x over the smallest."""

    name = "exponential"
    exponent = None
    names = ("level", "rate")

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        return {"A": exp_or_inf(t[0]), "b": float(t[1]) * math.exp(-origin)}

    def _along(self, u: Array) -> Array:
        return np.exp(u)


class PowerLawWithFloor(ScalingCurve):
    """E + A x^-a, as exp(level) (share + (1 - share) exp(h(u) - h(0))) with h = -a u.

    `share` is how much of the loss at the first point is floor. `BrokenPowerLaw` is the same about
    another h.
    """

    name = "power + floor"
    exponent: str | None = "a"
    names: tuple[str, ...] = ("level", "share", "a")
    at_rest: ClassVar[dict[str, str]] = {"share": "no floor"}

    def evaluate(self, t: Array, u: Array) -> tuple[Array, Array]:
        h, dh = self._fall(t[2:], np.append(0.0, u))
        share, fall = t[1], np.exp(h[1:] - h[0])
        mixed = share + (1 - share) * fall
        by_fall = ((1 - share) * fall / mixed)[:, None] * (dh[1:] - dh[0])
        return t[0] + np.log(mixed), np.column_stack([np.ones_like(u), (1 - fall) / mixed, by_fall])

    def bounds(self, u: Array) -> tuple[Array, Array]:
        return np.array([-np.inf, 0, 0]), np.array([np.inf, 1, MAX_FALL / np.ptp(u)])

    def starts(self, u: Array, v: Array) -> Iterator[list[Array]]:
        for floor in FLOORS:
            above = _above(v, floor)
            level, a = solve_line(above, np.ones_like(u), -u)
            yield [self._start(v, floor, level, np.array([a]))]

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        scale = exp_or_inf(t[0] + math.log1p(-t[1]) + t[2] * origin) if t[1] < 1 else 0.0
        return {"E": float(t[1]) * exp_or_inf(t[0]), "A": scale, "a": float(t[2])}

    def _fall(self, t: Array, u: Array) -> tuple[Array, Array]:
        """Return h (n,) and its derivatives (n, T - 2)."""
        return -t[0] * u, -u[:, None]

    def _start(self, v: Array, floor: float, level: float, t: Array) -> Array:
        """Put a floor, a share of the smallest loss, beneath the rest, whose log at u = 0 is `level`."""
        floor_level = math.log(floor) + v.min() if floor > 0 else -math.inf
        whole = np.logaddexp(floor_level, level)
        return np.concatenate([[whole, math.exp(floor_level - whole)], t])


class BrokenPowerLaw(PowerLawWithFloor):
    """a + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f), with h = -c0 u - c1 f log(1 + exp((u - place) / f))."""

    name = "broken power"
    exponent = None
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
            above = _above(v, floor)
            steeper: list[Array] = []
            flatter: list[Array] = []
            for place, f in itertools.product(places, SHARPNESS):
                _, bend, _ = _bend(u, place, f)
                level, c0, c1 = solve_line(above, np.ones_like(u), -u, -bend)
                t = np.array([c0, c1, place, math.log(f)])
                h0, _ = self._fall(t, np.zeros(1))
                (steeper if c1 > 0 else flatter).append(self._start(v, floor, level + h0[0], t))
            yield from (group for group in (steeper, flatter) if group)

    def parameters(self, t: Array, origin: float) -> dict[str, float]:
        h0, _ = self._fall(t[2:], np.zeros(1))
        scale = exp_or_inf(t[0] + math.log1p(-t[1]) - h0[0] + t[2] * origin) if t[1] < 1 else 0.0
        return {
            "a": float(t[1]) * exp_or_inf(t[0]),
            "b": scale,
            "c0": float(t[2]),
            "c1": float(t[3]),
            "d": exp_or_inf(t[4] + origin),
            "f": exp_or_inf(t[5]),
        }

    def _fall(self, t: Array, u: Array) -> tuple[Array, Array]:
        c0, c1, place, log_f = t
        z, bend, rise = _bend(u, place, math.exp(log_f))
        by_log_f = -c1 * (bend - math.exp(log_f) * z * rise)
        return -c0 * u - c1 * bend, np.column_stack([-u, -bend, c1 * rise, by_log_f])


CURVES: tuple[ScalingCurve, ...] = (PowerLaw(), PowerLawWithFloor(), Exponential(), BrokenPowerLaw())
"""Those that come from no theory, in the order of tables and figures."""


def solve_line(v: Array, *columns: Array) -> Array:
    """Least-squares coefficients of columns in v."""
    return np.asarray(np.linalg.lstsq(np.column_stack(columns), v)[0])


def _above(v: Array, floor: float) -> Array:
    """Log of what a loss of log v holds above a floor, a share below 1 of the smallest loss."""
    return np.asarray(v + np.log1p(-floor * np.exp(v.min() - v)))


def _bend(u: Array, place: float, f: float) -> tuple[Array, Array, Array]:
    """Return z = (u - place) / f, f log(1 + exp(z)), and its derivative in u."""
    z = (u - place) / f
    return z, f * np.logaddexp(0.0, z), 0.5 * (1 + np.tanh(z / 2))


def exp_or_inf(power: float) -> float:
    """Exponential; inf, which the fitter refuses, where it is too large for a float."""
    return math.exp(power) if power < 709 else math.inf
