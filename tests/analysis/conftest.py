"""Worlds with known truth: slices in which what is learned, when, and in which order is set by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.learned.slices import select
from quanta.curves.conversion import as_curves
from quanta.curves.dataset import make_curves
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

WIDTHS = np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128])
TRAINING_SETS = np.geomspace(300, 60000, 10).round()
STEPS = np.unique(np.geomspace(1, 20000, 120).astype(int))


def _slice_of(
    loss: ArrayLike,
    frequency: ArrayLike,
    alpha: float = 0.4,
    chance: ArrayLike | None = 1.0,
    **axes: ArrayLike,
) -> xr.Dataset:
    """Build a slice of loss (n_seed, n_width, n_step, K) in bits; axes that are not given count up.

    With `n_train` the loss has a first axis for it.
    """
    loss = np.asarray(loss)
    n_seeds, n_widths, n_steps, _ = loss.shape[-4:]
    width = np.asarray(axes.get("width", np.arange(1, n_widths + 1)))
    return select(
        make_curves(
            loss,
            frequency=frequency,
            step=axes.get("step", np.arange(n_steps)),
            width=width,
            n_parameters=axes.get("n_parameters", 100 * width),
            seed=np.arange(n_seeds),
            alpha=[alpha],
            n_train=axes.get("n_train", [np.inf]),
            chance=chance,
        )
    )


def _quanta_world(
    *,
    frequency: NDArray[np.float64] | None = None,
    alpha: float = 0.4,
    n_subtasks: int = 64,
    n_seeds: int = 3,
    widths: NDArray[np.int64] = WIDTHS,
    steps: NDArray[np.int64] = STEPS,
    capacity: float = 0.3,
    scatter: float = 0.0,
    sharpness: float = 8.0,
    by_rank: bool = True,
    seed: int = 0,
) -> xr.Dataset:
    """The Quantization Hypothesis: subtask k is learned at S_k = 100 / p_k, the first n = capacity * width.

    `scatter` is the standard deviation of log S_k; `sharpness` the steepness of a learning curve in
    log step (inf: a hard step). Without `by_rank` every seed learns in an order of its own.
    """
    p = zipf_frequencies(n_subtasks, alpha) if frequency is None else frequency
    rng = np.random.default_rng(seed)
    at = 100 / p * np.exp(scatter * rng.standard_normal((n_seeds, p.size)))
    if not by_rank:
        at = rng.permuted(at, axis=1)
    place = at.argsort(axis=1).argsort(axis=1)
    room = np.floor(capacity * widths)
    at = np.where(place[:, None, :] < room[:, None], at[:, None, :], np.inf)  # (seed, width, K)
    late = np.log(np.maximum(steps, 1))[:, None] - np.log(at)[:, :, None, :]
    if np.isinf(sharpness):
        loss = (late < 0).astype(float)
    else:
        loss = 1 / (1 + 9 * np.exp(np.clip(sharpness * late, -50, 50)))  # tau = 0.1 exactly at S_k
    return _slice_of(loss, p, alpha, width=widths, step=steps)


def _data_world(
    *,
    n_train: ArrayLike = TRAINING_SETS,
    beta: float = 1.0,
    n_seeds: int = 4,
    n_subtasks: int = 40,
    examples: float = 100.0,
    scatter: float = 0.2,
    seed: int = 0,
) -> xr.Dataset:
    """The hypothesis along data: subtask k is learned from D_k = examples / p_k^beta on.

    With time for all 40 subtasks, and room for 4, 9, 19 and 38.
    """
    n_train = np.asarray(n_train, dtype=float)
    p = zipf_frequencies(n_subtasks, 0.4)
    rng = np.random.default_rng(seed)
    needed = examples * p**-beta * np.exp(scatter * rng.standard_normal((n_seeds, p.size)))
    widths, steps = np.array([16, 32, 64, 128]), np.r_[0, np.unique(np.geomspace(10, 60000, 60).astype(int))]
    world = _quanta_world(
        n_subtasks=n_subtasks, n_seeds=n_seeds, widths=widths, steps=steps, scatter=scatter, seed=seed + 1
    )
    enough = n_train[:, None, None] >= needed
    loss = np.where(enough[:, :, None, None], world["loss"].values, 1.0)
    return _slice_of(loss, p, width=widths, step=steps, n_train=n_train)


def _smooth_world(n_seeds: int = 3, n_subtasks: int = 64) -> xr.Dataset:
    """No quanta: all subtasks improve together, by a power law in width and steps, rarer ones less."""
    p = zipf_frequencies(n_subtasks, 0.4)
    rng = np.random.default_rng(0)
    noise = np.exp(0.02 * rng.standard_normal((n_seeds, WIDTHS.size, 1, n_subtasks)))
    size = (WIDTHS / WIDTHS[0])[:, None, None] ** -0.5
    time = (1 + STEPS / 20)[:, None] ** -0.2
    rarity = np.minimum(1, 0.5 * np.arange(1, n_subtasks + 1) ** 0.1)
    return _slice_of(np.minimum(1, size * time * rarity * noise), p, width=WIDTHS, step=STEPS)


@pytest.fixture(scope="session")
def slice_of() -> Callable[..., xr.Dataset]:
    """Build a slice from a loss and axes."""
    return _slice_of


@pytest.fixture(scope="session")
def quanta_world() -> Callable[..., xr.Dataset]:
    """Build a world in which the hypothesis holds, or fails by `by_rank=False`."""
    return _quanta_world


@pytest.fixture(scope="session")
def data_world() -> Callable[..., xr.Dataset]:
    """Build a world in which the hypothesis holds along data."""
    return _data_world


@pytest.fixture(scope="session")
def ideal() -> xr.Dataset:
    """The hypothesis as it stands: in order, S_k p_k constant, n proportional to width."""
    return _quanta_world()


@pytest.fixture(scope="session")
def brief() -> xr.Dataset:
    """The hypothesis with scatter, small enough to be judged in a second."""
    return _quanta_world(
        n_subtasks=32,
        widths=np.array([8, 16, 32, 64, 128]),
        steps=np.r_[0, np.unique(np.geomspace(1, 20000, 40).astype(int))],
        scatter=0.3,
    )


@pytest.fixture(scope="session")
def uniform() -> xr.Dataset:
    """Control: equal frequencies, so that the order is that of the scatter alone."""
    return _quanta_world(frequency=uniform_frequencies(64), alpha=-1, scatter=0.3)


@pytest.fixture(scope="session")
def shuffled() -> xr.Dataset:
    """Control: Zipf frequencies, but every seed learns in an order of its own."""
    return _quanta_world(by_rank=False)


@pytest.fixture(scope="session")
def by_data() -> xr.Dataset:
    """Two seeds of one width, and online: from D examples on those subtasks are learned with p_k D >= 200."""
    p, n_train = zipf_frequencies(16, 0.4), np.array([400, 800, 1600, 3200, 6400, 12800, np.inf])
    at = np.where(p * n_train[:, None] >= 200, 100 / p, np.inf)[:, None, None, None, :]
    loss = np.where(STEPS[:, None] < at, 1.0, 0.01) * np.ones((7, 2, 1, 1, 1))
    return _slice_of(loss, p, step=STEPS, n_train=n_train, width=[32])


@pytest.fixture(scope="session")
def smooth() -> xr.Dataset:
    """Control: a power law without quanta."""
    return _smooth_world()


@pytest.fixture(scope="session")
def at_two_alphas() -> Callable[[xr.Dataset], xr.Dataset]:
    """Make Curves of a slice and the same at another alpha."""

    def join(curves: xr.Dataset) -> xr.Dataset:
        both = [as_curves(curves), as_curves(curves.assign_coords(alpha=float(curves["alpha"]) + 0.5))]
        return xr.concat(both, "alpha", data_vars="minimal")

    return join
