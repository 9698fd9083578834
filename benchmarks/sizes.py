"""The sizes of a simulated study, drawn at random."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]
Limit = Literal["room", "time", "both"]

AT_LEAST_LEARNED = 5
"""Subtasks that the widest network learns by design: from fewer, no count and no exponent can be read."""
MOST_LOSSES = 4_000_000
"""Losses in a draw, so that one takes a second or two: larger sizes are drawn again."""


@dataclass(frozen=True)
class Ranges:
    """Where sizes are drawn from; those that span more than a factor 5 evenly in their logarithm.

    Attributes
    ----------
    n_subtasks, alpha, n_seeds, n_widths, n_evaluations : (low, high)
        K, the quanta exponent, and how many of each.
    span : (low, high)
        Largest N over smallest.
    scatter : (low, high)
        Standard deviation of log learning time.
    drop : (low, high)
        Factor in steps from 90 to 10 % of chance.
    first_time : (low, high)
        Steps to learn subtask 1.
    chance : (low, high)
        Loss in bits of what is not learned.
    limits : tuple
        What ends learning: the room of the networks, the time of training, or about both.
    equal : bool
        Whether two widths have the same N.
    least_learned : int
        Fewest subtasks that the widest learns by design; at most six tenths of all.
    """

    n_subtasks: tuple[int, int] = (20, 500)
    alpha: tuple[float, float] = (0.1, 0.9)
    n_seeds: tuple[int, int] = (3, 10)
    n_widths: tuple[int, int] = (5, 12)
    n_evaluations: tuple[int, int] = (8, 300)
    span: tuple[float, float] = (8, 60)
    scatter: tuple[float, float] = (0.1, 0.6)
    drop: tuple[float, float] = (2, 9)
    first_time: tuple[float, float] = (100, 3000)
    chance: tuple[float, float] = (1, 1)
    limits: tuple[Limit, ...] = ("room", "time", "both")
    equal: bool = False
    least_learned: int = AT_LEAST_LEARNED


@dataclass(frozen=True)
class Sizes:
    """One draw of the sizes of a study.

    Attributes
    ----------
    n_subtasks, alpha, n_seeds, n_evaluations, scatter, drop, first_time, chance
        As in `Ranges`.
    n_parameters : ndarray, shape (W,)
        N of each network.
    limit : str
        What ends learning at the widest.
    n_learned : float
        Subtasks that the widest learns, by design, where β = 1.
    room : float
        Subtasks that the widest has room for.
    own : float
        Share of the scatter's variance that is a network's own; the rest is common to the widths of a seed.
    speed_effect, room_effect : float
        Standard deviation between seeds of log speed and of log room.
    noise : float
        Standard deviation of a measured log loss.
    residue, excess : float
        Shares of chance: what is left of the loss once learned; above chance before.
    ramp : bool
        Whether a drop is linear in log steps, and not log-logistic.
    linear : bool
        Whether evaluations are evenly spaced in steps, and not in log steps.
    rounding : float
        Added to the room before its whole part is taken: 0, a half, or negative for a random number.
    declared : bool
        Whether curves say what their chance is.
    """

    n_subtasks: int
    alpha: float
    n_seeds: int
    n_evaluations: int
    scatter: float
    drop: float
    first_time: float
    chance: float
    n_parameters: NDArray[np.int64]
    limit: Limit
    n_learned: float
    room: float
    own: float
    speed_effect: float
    room_effect: float
    noise: float
    residue: float
    excess: float
    ramp: bool
    linear: bool
    rounding: float
    declared: bool

    @property
    def frequency(self) -> Array:
        """p_k ∝ k^-(1 + α), shape (K,)."""
        weight = self.rarity**-1.0
        return np.asarray(weight / weight.sum())

    @property
    def rarity(self) -> Array:
        """p_1 / p_k, shape (K,)."""
        return np.asarray(np.arange(1.0, self.n_subtasks + 1) ** (1 + self.alpha))

    @property
    def relative_room(self) -> Array:
        """N over that of the widest, shape (W,)."""
        return np.asarray(self.n_parameters / self.n_parameters[-1])


def draw_sizes(rng: Generator, ranges: Ranges) -> Sizes:
    """Draw the sizes of one study."""
    while True:
        n_subtasks, n_seeds = _whole(rng, ranges.n_subtasks), _whole(rng, ranges.n_seeds)
        n_widths, n_evaluations = _whole(rng, ranges.n_widths), _whole(rng, ranges.n_evaluations)
        if n_subtasks * n_seeds * n_widths * n_evaluations <= MOST_LOSSES:
            break
    limit: Limit = ranges.limits[rng.integers(len(ranges.limits))]
    spare = {"room": 1.0, "both": rng.uniform(1.0, 1.5), "time": rng.uniform(1.5, 4.0)}[limit]
    n_learned = draw_number(rng, (ranges.least_learned, max(ranges.least_learned, 0.6 * n_subtasks)))
    n_parameters = np.round(1000 * np.geomspace(1, draw_number(rng, ranges.span), n_widths)).astype(np.int64)
    if ranges.equal:
        twin = rng.integers(1, n_widths)
        n_parameters[twin] = n_parameters[twin - 1]
    return Sizes(
        n_subtasks=n_subtasks,
        alpha=draw_number(rng, ranges.alpha),
        n_seeds=n_seeds,
        n_evaluations=n_evaluations,
        scatter=draw_number(rng, ranges.scatter),
        drop=draw_number(rng, ranges.drop),
        first_time=draw_number(rng, ranges.first_time),
        chance=draw_number(rng, ranges.chance),
        n_parameters=n_parameters,
        limit=limit,
        n_learned=n_learned,
        room=n_learned * spare,
        own=rng.uniform(),
        speed_effect=rng.uniform(0, 0.15),
        room_effect=rng.uniform(0, 0.1),
        noise=rng.uniform(0.01, 0.06),
        residue=draw_number(rng, (1e-4, 1e-2)),
        excess=rng.uniform(0, 0.02),
        ramp=bool(rng.random() < 0.3),
        linear=bool(rng.random() < 0.2),
        rounding=float(rng.choice([0.0, 0.5, -1.0])),
        declared=bool(rng.random() < 0.5),
    )


def draw_number(rng: Generator, ends: tuple[float, float]) -> float:
    """Draw a number from a range, evenly in its logarithm if it spans more than a factor 5."""
    low, high = ends
    if low > 0 and high > 5 * low:
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    return float(rng.uniform(low, high))


def _whole(rng: Generator, ends: tuple[int, int]) -> int:
    return int(draw_number(rng, (ends[0], ends[1] + 1)))
