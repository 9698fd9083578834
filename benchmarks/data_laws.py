"""What happens in the worlds of `benchmarks.worlds` whose networks are limited by their examples.

Shapes: as in `benchmarks.laws`, and D training sets before all others.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.laws import choose_steps, fall_in_drops, ridge, scatter_times
from benchmarks.sizes import Array, Sizes, draw_number

WatchedAtEach = tuple[NDArray[np.int64], Array, Array]
"""Steps (T,), shares (D, S, W, T, K) before noise, and the number of examples (D,)."""


def need_examples(sizes: Sizes, rng: Generator, delay: Array) -> tuple[Array, Array]:
    """Draw the examples (S, 1, K) that each subtask needs, and a ladder of training sets (D,).

    `delay` (K,) or (S, 1, K) is the median need over that of subtask 1. The smallest set is enough for about
    one subtask, the largest for as many as are learned by design.
    """
    first = draw_number(rng, (100.0, 1e4))
    scatter = sizes.scatter * rng.standard_normal((sizes.n_seeds, 1, sizes.n_subtasks))
    in_turn = np.sort(delay, axis=-1).reshape(-1, sizes.n_subtasks)[0]
    largest = first * np.interp(sizes.n_learned + 0.5, np.arange(1, sizes.n_subtasks + 1), in_turn)
    n_train = np.geomspace(first * draw_number(rng, (1.0, 3.0)), largest, int(rng.integers(6, 15)))
    return first * delay * np.exp(scatter), np.round(n_train)


def learn_what_is_shown(sizes: Sizes, rng: Generator, delay: Array) -> WatchedAtEach:
    """Learn what there are examples enough of, in drops, in time as the hypothesis says."""
    need, n_train = need_examples(sizes, rng, delay)
    times = scatter_times(sizes, rng, sizes.rarity)
    of_each = np.where(need <= n_train[:, None, None, None], times, np.inf)
    end = of_each[np.isfinite(of_each)].max() if np.isfinite(of_each).any() else times.min()
    steps = choose_steps(sizes, rng, float(end * draw_number(rng, (2.5, 10.0))))
    return steps, np.stack([fall_in_drops(sizes, steps, one) for one in of_each]), n_train


def obey(sizes: Sizes, rng: Generator) -> WatchedAtEach:
    """Do as the hypothesis says: D_k ∝ 1/p_k."""
    return learn_what_is_shown(sizes, rng, sizes.rarity)


def follow(beta: float) -> Callable[[Sizes, Generator], WatchedAtEach]:
    """Let D_k ∝ p_k^-β."""
    return lambda sizes, rng: learn_what_is_shown(sizes, rng, sizes.rarity**beta)


def shuffle_each(sizes: Sizes, rng: Generator) -> WatchedAtEach:
    """Need examples in an order of each seed's own, whatever the frequencies."""
    orders = rng.permuted(np.tile(sizes.rarity, (sizes.n_seeds, 1)), axis=1)
    return learn_what_is_shown(sizes, rng, orders[:, None, :])


def level_with_examples(sizes: Sizes, rng: Generator) -> WatchedAtEach:
    """Drop in time, to a level that falls smoothly with the examples."""
    need, n_train = need_examples(sizes, rng, sizes.rarity)
    times = scatter_times(sizes, rng, sizes.rarity)
    end = np.sort(times, axis=-1)[..., int(sizes.n_learned)].max()
    steps = choose_steps(sizes, rng, float(end * draw_number(rng, (2.5, 10.0))))
    level = ridge(n_train[:, None, None, None] / need)[..., None, :]
    return steps, level + (1 - level) * fall_in_drops(sizes, steps, times), n_train
