"""What happens in the worlds of `benchmarks.worlds`: one function a law, and the pieces they are made of.

These laws are not those of `quanta.analysis.theories`, by intent: a judge is not tried by its own hand.

Shapes: S seeds, W widths, T evaluations, K subtasks. A *share* is a loss as a share of chance.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.sizes import Array, Sizes, draw_number

Watched = tuple[NDArray[np.int64], Array]
"""Steps (T,) and the share of every subtask (S, W, T, K), before noise."""
Law = Callable[[Sizes, Generator], Watched]

TAU = 0.1
"""A subtask's time is where its loss crosses this share of chance."""


# What networks do: pieces that the laws are made of.


def scatter_times(sizes: Sizes, rng: Generator, delay: Array) -> Array:
    """Draw the times (S, W, K) at which every network would learn each subtask if it had room.

    `delay` (K,) or (S, 1, K) is the median time over that of subtask 1.
    """
    shape = (sizes.n_seeds, sizes.n_parameters.size, sizes.n_subtasks)
    shared, own = rng.standard_normal((shape[0], 1, shape[2])), rng.standard_normal(shape)
    speed = sizes.speed_effect * rng.standard_normal((shape[0], 1, 1))
    scatter = sizes.scatter * (math.sqrt(1 - sizes.own) * shared + math.sqrt(sizes.own) * own)
    return np.asarray(sizes.first_time * delay * np.exp(scatter + speed))


def count_room(sizes: Sizes, rng: Generator, gamma: float = 1.0) -> NDArray[np.int64]:
    """Count the subtasks that each network has room for, (S, W): n ∝ N^γ, in whole numbers."""
    seed = np.exp(sizes.room_effect * rng.standard_normal((sizes.n_seeds, 1)))
    room = sizes.room * sizes.relative_room**gamma * seed
    part = rng.uniform(size=room.shape) if sizes.rounding < 0 else sizes.rounding
    return np.minimum(room + part, sizes.n_subtasks).astype(np.int64)


def take_room(times: Array, room: NDArray[np.int64]) -> Array:
    """Leave each network its first learned subtasks, as many as it has room for; inf for the others."""
    place = times.argsort(axis=-1).argsort(axis=-1)
    return np.where(place < room[..., None], times, np.inf)


def end_training(sizes: Sizes, rng: Generator, times: Array, delay: Array) -> float:
    """Choose the last step: long after the last was learned, or before all were that there is room for."""
    if sizes.limit == "room":
        return float(times[np.isfinite(times)].max() * draw_number(rng, (2.5, 10.0)))
    in_turn = np.sort(delay, axis=-1).reshape(-1, sizes.n_subtasks)[0]  # the same set of times in every seed
    ranks = np.arange(1, sizes.n_subtasks + 1)
    return float(sizes.first_time * np.exp(np.interp(sizes.n_learned + 0.5, ranks, np.log(in_turn))))


def choose_steps(sizes: Sizes, rng: Generator, end: float) -> NDArray[np.int64]:
    """Choose when to evaluate, (T,): evenly in steps or in log steps, to the end."""
    if sizes.linear:
        steps = np.linspace(0, end, sizes.n_evaluations)
    else:
        first = min(sizes.first_time / draw_number(rng, (3.0, 50.0)), end / 10)
        steps = np.geomspace(first, end, sizes.n_evaluations)
        if rng.random() < 0.5:
            steps[0] = 0
    return np.unique(np.round(steps)).astype(np.int64)


def fall_in_drops(sizes: Sizes, steps: NDArray[np.int64], times: Array) -> Array:
    """Let every loss drop from chance to nothing about its time: shares (S, W, T, K)."""
    with np.errstate(divide="ignore"):
        late = np.log(steps[:, None]) - np.log(times)[:, :, None, :]  # crosses 0 where the loss crosses τ
    late /= math.log(sizes.drop)  # and -1 where it crosses 90 %
    if sizes.ramp:
        return np.clip(TAU - (1 - 2 * TAU) * late, 0, 1)
    return np.asarray(1 / (1 + np.exp(np.clip(2 * late + 1, -50, 50) * math.log(1 / TAU - 1))))


def learn_quanta(
    sizes: Sizes, rng: Generator, delay: Array | None = None, gamma: float = 1.0
) -> tuple[NDArray[np.int64], Array, Array]:
    """Learn subtasks one by one, each in a drop: steps (T,), shares (S, W, T, K) and times (S, W, K).

    The hypothesis itself where the median times are `delay` = p_1 / p_k and γ = 1.
    """
    delay = sizes.rarity if delay is None else delay
    times = take_room(scatter_times(sizes, rng, delay), count_room(sizes, rng, gamma))
    steps = choose_steps(sizes, rng, end_training(sizes, rng, times, delay))
    return steps, fall_in_drops(sizes, steps, times), times


def pass_modes(sizes: Sizes, steps: NDArray[np.int64]) -> Array:
    """Join time and room to what a smooth filter has passed, (W, T, 1), in steps: their harmonic sum.

    Room grows as N^(1+α), so that as many modes are passed as under the hypothesis.
    """
    room = sizes.first_time * (sizes.room * sizes.relative_room) ** (1 + sizes.alpha)
    with np.errstate(divide="ignore"):
        return np.asarray(1 / (1 / steps + 1 / room[:, None]))[..., None]


def filter_modes(sizes: Sizes, rng: Generator, shape: Callable[[Array], Array]) -> Watched:
    """Let a smooth filter of time and room pass every mode a little at a time: no quanta at all.

    `shape` is the share left of a mode, τ at 1.
    """
    times = scatter_times(sizes, rng, sizes.rarity)
    longest = sizes.first_time * sizes.room ** (1 + sizes.alpha)
    end = longest * {"room": 10.0, "both": 1.0, "time": 0.2}[sizes.limit]
    steps = choose_steps(sizes, rng, end)
    return steps, shape(pass_modes(sizes, steps) / times[:, :, None, :])


def exponential(x: Array) -> Array:
    """exp(-x), scaled to be τ at 1."""
    return np.exp(-math.log(1 / TAU) * x)


def ridge(x: Array) -> Array:
    """(1 + x)^-2, scaled to be τ at 1."""
    return np.asarray((1 + (TAU**-0.5 - 1) * x) ** -2)


def square_ridge(x: Array) -> Array:
    """(1 + x²)^-2, scaled to be τ at 1."""
    return np.asarray((1 + (TAU**-0.5 - 1) * x**2) ** -2)


def cut_modes(sizes: Sizes, rng: Generator, shape: Callable[[Array], Array]) -> Watched:
    """Let modes fall smoothly in time, as many as there is room for: smooth along the steps alone."""
    times = take_room(scatter_times(sizes, rng, sizes.rarity), count_room(sizes, rng))
    steps = choose_steps(sizes, rng, end_training(sizes, rng, times, sizes.rarity))
    return steps, shape(steps[:, None] / times[:, :, None, :])


# Laws: one function each.


def obey(sizes: Sizes, rng: Generator) -> Watched:
    """Do as the hypothesis says: S_k ∝ 1/p_k and n ∝ N."""
    steps, share, _ = learn_quanta(sizes, rng)
    return steps, share


def see_ends_only(sizes: Sizes, rng: Generator) -> Watched:
    """Evaluate early and at the end alone."""
    steps, share, _ = learn_quanta(sizes, rng)
    early = int(rng.integers(0, steps.size // 2))
    return steps[[early, -1]], share[:, :, [early, -1]]


def spike(sizes: Sizes, rng: Generator) -> Watched:
    """Measure one learned loss in twenty above τ."""
    steps, share, _ = learn_quanta(sizes, rng)
    spikes = (share < TAU) & (rng.random(share.shape) < 0.05)
    return steps, np.where(spikes, rng.uniform(TAU, 1, share.shape), share)


def keep_a_floor(sizes: Sizes, rng: Generator) -> Watched:
    """Leave .05 of chance of what is learned."""
    steps, share, _ = learn_quanta(sizes, rng)
    return steps, 0.05 + 0.95 * share


def start_high(sizes: Sizes, rng: Generator) -> Watched:
    """Begin 2 to 20 times above chance, and come down before anything is learned."""
    steps, share, _ = learn_quanta(sizes, rng)
    above = draw_number(rng, (1.0, 19.0)) * np.exp(-steps / (0.05 * sizes.first_time))
    return steps, share + above[:, None]


def forget(sizes: Sizes, rng: Generator) -> Watched:
    """Forget one learned subtask in ten later, for good."""
    steps, share, times = learn_quanta(sizes, rng)
    forgotten = np.where(rng.random(times.shape) < 0.1, times * rng.uniform(1.5, 5, times.shape), np.inf)
    return steps, np.where(steps[:, None] >= forgotten[:, :, None, :], 1.0, share)


def grow_slowly(sizes: Sizes, rng: Generator) -> Watched:
    """Let room grow as n ∝ N^.6."""
    steps, share, _ = learn_quanta(sizes, rng, gamma=0.6)
    return steps, share


def wait_in_line(sizes: Sizes, rng: Generator) -> Watched:
    """Learn one after another: S_k ∝ k, the Domino of Liu et al. (2025), arXiv:2501.12391."""
    steps, share, _ = learn_quanta(sizes, rng, np.arange(1.0, sizes.n_subtasks + 1))
    return steps, share


def follow(beta: float) -> Callable[[Sizes, Generator], Watched]:
    """Let S_k ∝ p_k^-β."""

    def law(sizes: Sizes, rng: Generator) -> Watched:
        steps, share, _ = learn_quanta(sizes, rng, sizes.rarity**beta)
        return steps, share

    return law


def bend(sizes: Sizes, rng: Generator) -> Watched:
    """Let S_k ∝ p_k^-.75 for the first half of the ranks learned, then p_k^-1.25: 1 on the whole."""
    knee = (0.5 * sizes.n_learned) ** (1 + sizes.alpha)
    delay = sizes.rarity**0.75 * np.maximum(sizes.rarity / knee, 1) ** 0.5
    steps, share, _ = learn_quanta(sizes, rng, delay)
    return steps, share


def shuffle_each(sizes: Sizes, rng: Generator) -> Watched:
    """Learn in an order of each seed's own, whatever the frequencies."""
    orders = rng.permuted(np.tile(sizes.rarity, (sizes.n_seeds, 1)), axis=1)
    steps, share, _ = learn_quanta(sizes, rng, orders[:, None, :])
    return steps, share


def shuffle_all(sizes: Sizes, rng: Generator) -> Watched:
    """Learn in one order, which is not that of the frequencies."""
    steps, share, _ = learn_quanta(sizes, rng, rng.permutation(sizes.rarity))
    return steps, share


def filter_by(*shapes: Callable[[Array], Array], cut: float = 0.0) -> Callable[[Sizes, Generator], Watched]:
    """Make modes of one of these shapes, with probability `cut` smooth along the steps alone."""

    def law(sizes: Sizes, rng: Generator) -> Watched:
        modes = cut_modes if rng.random() < cut else filter_modes
        return modes(sizes, rng, shapes[rng.integers(len(shapes))])

    return law


def level_with_room(sizes: Sizes, rng: Generator) -> Watched:
    """Drop in time, to a level that falls smoothly with N."""
    times = scatter_times(sizes, rng, sizes.rarity)
    steps = choose_steps(sizes, rng, end_training(sizes, rng, times, sizes.rarity))
    rank = np.arange(1.0, sizes.n_subtasks + 1)
    modes = sizes.room * sizes.relative_room[:, None]
    level = 1 / (1 + (modes / rank) ** rng.uniform(1.2, 2.0))  # (W, K)
    return steps, level[:, None, :] + (1 - level[:, None, :]) * fall_in_drops(sizes, steps, times)


def mix_each(sizes: Sizes, rng: Generator) -> Watched:
    """Make three tenths of every loss a smooth mode."""
    return _mix(sizes, rng, np.full(sizes.n_subtasks, 0.3))


def mix_some(sizes: Sizes, rng: Generator) -> Watched:
    """Make two subtasks of every five smooth modes, with at least a quarter of the loss."""
    while True:
        order = rng.permuted(np.tile(np.arange(5), (math.ceil(sizes.n_subtasks / 5), 1)), axis=1)
        smooth = (order < 2).ravel()[: sizes.n_subtasks].astype(np.float64)
        if smooth @ sizes.frequency >= 0.25:
            return _mix(sizes, rng, smooth)


def _mix(sizes: Sizes, rng: Generator, smooth: Array) -> Watched:
    steps, share, _ = learn_quanta(sizes, rng)
    shape = (exponential, ridge)[rng.integers(2)]
    mode = shape(pass_modes(sizes, steps) / (sizes.first_time * sizes.rarity))
    return steps, (1 - smooth) * share + smooth * mode


def never_count(sizes: Sizes, rng: Generator) -> Watched:
    """Learn the same few subtasks in all networks, and let what is unlearned fall with N."""
    few = int(rng.integers(3, 8))
    times = scatter_times(sizes, rng, sizes.rarity)
    times[..., few:] = np.inf
    steps = choose_steps(sizes, rng, end_training(sizes, rng, times, sizes.rarity))
    share = fall_in_drops(sizes, steps, times)
    level = sizes.relative_room[:, None, None] / sizes.relative_room[0]
    level = level ** (math.log(rng.uniform(0.2, 0.8)) / math.log(level.max()))
    early = fall_in_drops(sizes, steps, np.full((1, 1, 1), sizes.first_time))
    return steps, share * (level + (1 - level) * early[0])


def drift_a_sixth(sizes: Sizes, rng: Generator) -> Watched:
    """Take a sixth of the exponent along N from the loss of what is unlearned."""
    steps, share, times = learn_quanta(sizes, rng)
    unlearned = ((times > steps[-1]) * sizes.frequency).sum(axis=-1)  # (S, W)
    log_n = np.log(sizes.relative_room)
    slope = np.polyfit(log_n, np.log(unlearned).mean(axis=0), 1)[0]
    level = np.exp(slope / 5 * (log_n - log_n[0]))[:, None, None]
    early = fall_in_drops(sizes, steps, np.full((1, 1, 1), sizes.first_time))
    return steps, share * (level + (1 - level) * early[0])
