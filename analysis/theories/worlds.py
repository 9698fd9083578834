"""Worlds with a known answer: Curves in which what is learned, when and in which order is set by hand.

Some hold to the Quantization Hypothesis, the others break it in one way each, so that a check can be tried on
all of them. Sizes, noise and the shape of a drop are those of the networks of the demo study.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.curves.dataset import make_curves
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies
from quanta.tasks.spec import CHANCE_BITS

Array = NDArray[np.float64]
Curve = NDArray[np.float32]

WORLDS = {
    "ideal": "quanta: subtask k is learned in one step, at S_k ∝ 1/p_k, and their number n ∝ N",
    "sigmoid": "quanta learned at the same times, in drops of finite width (arXiv:2404.17563)",
    "domino": "quanta learned one after another: S_k ∝ k, which is p_k^(-1/(1+alpha)) (arXiv:2501.12391)",
    "spectral": "no quanta: one spectral filter learns all modes gradually; a power law in the mean loss",
    "smooth": "no quanta: all subtasks improve together, by one power law in N and S",
    "shuffled": "quanta, but every seed learns them in a random order, whatever their frequency",
    "uniform": "quanta of equal frequency, in the order of their scatter; alpha is -1",
}
"""What each world is."""

DEMO_WIDTHS = (4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128)
"""Widths of the shipped study `demo`."""
N_BITS = 32
"""Bits of a sample in the demo; with the width they give the number of parameters."""
BATCH_SIZE = 4096
"""Samples a step in the demo."""

MAX_ALPHA = 4.0
"""Five times the steepest law of the literature; rare frequencies are still well inside float32."""
MAX_SCATTER = 3.0
"""A factor of 20 in time for one standard deviation: with more, there is nothing but scatter."""

TAU = 0.1
"""Loss in bits that a subtask crosses at its learning time S_k; the default of `learning_times`."""
CHANCE = 1.01
"""Loss in bits of what is not learned: a network is a little too sure of its guesses."""
RESIDUE = 1e-3
"""Loss in bits of what is learned; in the demo from 0.0003 to 0.01."""

LEARNING_TIME = 32.0
"""S_k p_k in steps. In the demo it is 60; at 32 a third of the 64 subtasks is learned in its 6000 steps."""
SERIAL_TIME = 285.0
"""Steps from one subtask to the next under serial learning: as many in 6000 steps."""
PARAMETERS_PER_SUBTASK = 550.0
"""N / n. At the widest there is room for 23, a little more than there is time for: what is not learned there
was too late, while n follows N at all other widths."""
SKILL_RATIO = 70.0
"""S / R_k(0), strength of a skill over what there is at the start: 3.5 times the steps from .9 to .1 bit."""
SMOOTH_EXPONENT = 0.65
"""Of the power law in N and in S of the smooth world."""
SMOOTH_TIME, SMOOTH_ROOM = 6.0, 0.2
"""Steps and room at which the law begins, for the first subtask; its loss is below τ at the widest."""
SMOOTH_RARITY = 0.5
"""Subtask k needs k^0.5 times as much of both there; so about ten of them are below τ at the widest."""

SEED_EFFECT = 0.05
"""Standard deviation between seeds of log speed, and of log room."""
OWN_VARIANCE = 0.25
"""Share of the scatter's variance that is a network's own; the rest comes from the batches, which the widths
of a seed share. In the demo log S_k differs by .25 between neighbouring widths, and scatters by .3."""
EVALUATION_NOISE = 0.03
"""Standard deviation of a log loss measured on 256 samples; in the demo .02 to .04."""

_AT_TAU = (TAU - RESIDUE) / (CHANCE - RESIDUE)
"""Share of the loss that is left at the learning time."""


@dataclass(frozen=True)
class _Draw:
    """What the seeds of one simulation have drawn. S seeds, W widths, T steps, K subtasks."""

    frequency: Array  # (K,)
    alpha: float
    step: NDArray[np.int64]  # (T,)
    delay: Array  # (S, W, K) by what factor each learning time is late
    room: Array  # (S, W) subtasks that there is room for, a real number
    luck: Array  # (S, W) uniform on 0..1: whether there is room for the part of a subtask in `room`
    generator: np.random.Generator


def simulate(
    world: str,
    *,
    alpha: float = 0.4,
    n_subtasks: int = 64,
    widths: Sequence[int] = DEMO_WIDTHS,
    n_seeds: int = 3,
    steps: int = 6000,
    n_evaluations: int = 100,
    scatter: float = 0.3,
    seed: int = 0,
) -> xr.Dataset:
    """Draw Curves from a world with a known answer.

    Parameters
    ----------
    world : str
        One of `WORLDS`.
    alpha : float, default 0.4
        Quanta exponent α of the frequencies, above 0 and at most 4. The world "uniform" has none.
    n_subtasks : int, default 64
        K, at least 2.
    widths : sequence of int
        Hidden units, increasing; those of the demo by default.
    n_seeds : int, default 3
        Independent draws.
    steps : int, default 6000
        The last step.
    n_evaluations : int, default 100
        Evaluations, log-spaced as in training: step 0 and the last included, equal steps merged.
    scatter : float, default 0.3
        Standard deviation of the log of each subtask's learning time, from 0 to 3. The default is that of
        the demo.
    seed : int, default 0
        Decides all that is random.

    Returns
    -------
    Dataset
        Curves as trained ones are, with `accuracy`, `brier` and `samples_seen`. The attribute `study` is
        JSON with the name of the world and the arguments.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Quanta: subtask k crosses τ = 0.1 bit at S_k, and the first n in the order of learning are learned at all,
    with n = a N on average. A whole number must be learned, so a N is rounded up with the probability of its
    fractional part; always rounding it down would make n rise faster than N. At the sizes of the demo, time
    is the limit at the widest network and room at all others.

    Every world has the same nuisance: the scatter, most of it common to the widths of a seed; seeds that
    differ in speed and in room; noise of the evaluation. A subtask that is not learned stays at 1.01 bits.

    Accuracy and Brier score are those of a calibrated predictor: it is right with probability q where the
    entropy of q is the loss, so that they are q and q (1 - q).

    References
    ----------
    Drops: Nam et al. (2024), arXiv:2404.17563. Serial learning: Liu et al. (2025), arXiv:2501.12391. Power
    laws without quanta: Maloney et al. (2022), arXiv:2210.16859.
    """
    _check_world(world)
    for name, value, holds, allowed in (
        ("alpha", alpha, 0 < alpha <= MAX_ALPHA, f"above 0 and at most {MAX_ALPHA:g}"),
        ("n_subtasks", n_subtasks, n_subtasks >= 2, "at least 2"),
        ("widths", widths, len(widths) > 0 and min(widths) >= 1, "one number or more, each at least 1"),
        ("n_seeds", n_seeds, n_seeds >= 1, "at least 1"),
        ("steps", steps, steps >= 1, "at least 1"),
        ("n_evaluations", n_evaluations, n_evaluations >= 2, "at least 2"),
        ("scatter", scatter, 0 <= scatter <= MAX_SCATTER, f"between 0 and {MAX_SCATTER:g}"),
        ("seed", seed, seed >= 0, "at least 0"),
    ):
        if not holds:
            raise ValueError(f"{name} must be {allowed}, not {value!r}")
    uniform = world == "uniform"
    frequency = uniform_frequencies(n_subtasks) if uniform else zipf_frequencies(n_subtasks, alpha)
    # As quanta.training.population.count_parameters, which needs torch: into each hidden unit a weight from every code
    # and bit and a bias, out of it a weight to both logits; two more biases there.
    n_parameters = np.array([(n_subtasks + N_BITS + 1) * width + 2 * width + 2 for width in widths])
    step = np.unique(
        np.concatenate([[0], np.geomspace(steps, 1, n_evaluations - 1).round().astype(np.int64)])
    )
    generator = np.random.default_rng(seed)
    draw = _draw(generator, frequency, -1.0 if uniform else alpha, n_parameters, step, n_seeds, scatter)
    loss = (CHANCE - RESIDUE) * _LAWS[world](draw) + np.float32(RESIDUE)
    loss *= np.exp(EVALUATION_NOISE * generator.standard_normal(loss.shape, dtype=np.float32))
    mistaken = _probability_of_mistake(loss)
    seen = np.rint(BATCH_SIZE * step[:, None] * frequency).astype(np.int64)
    arguments = {
        "alpha": alpha,
        "n_subtasks": n_subtasks,
        "widths": [int(width) for width in widths],
        "n_seeds": n_seeds,
        "steps": steps,
        "n_evaluations": n_evaluations,
        "scatter": scatter,
        "seed": seed,
    }
    return make_curves(
        loss,
        accuracy=1 - mistaken,
        brier=mistaken * (1 - mistaken),
        samples_seen=np.broadcast_to(seen, (n_seeds, *seen.shape)),
        chance=CHANCE_BITS,
        frequency=frequency,
        step=step,
        width=widths,
        n_parameters=n_parameters,
        seed=np.arange(n_seeds),
        alpha=draw.alpha,
        study=json.dumps({"name": f"simulated-{world}", "description": WORLDS[world], "simulate": arguments}),
    )


def true_exponents(world: str, alpha: float) -> dict[str, float | None]:
    """Exponents that a world was made with.

    Parameters
    ----------
    world : str
        One of `WORLDS`.
    alpha : float
        Quanta exponent α.

    Returns
    -------
    dict
        `beta`, of S_k ∝ p_k^-beta, and `gamma`, of n ∝ N^gamma where room and not time is the limit. None
        where the world has no such law.

    Raises
    ------
    ValueError
        If there is no such world.
    """
    _check_world(world)
    beta = {"ideal": 1.0, "sigmoid": 1.0, "domino": 1 / (1 + alpha)}
    return {"beta": beta.get(world), "gamma": None if world in ("spectral", "smooth") else 1.0}


def _check_world(world: str) -> None:
    if world not in WORLDS:
        raise ValueError(f"world must be one of {', '.join(WORLDS)}, not {world!r}")


def _draw(
    generator: np.random.Generator,
    frequency: Array,
    alpha: float,
    n_parameters: NDArray[np.int64],
    step: NDArray[np.int64],
    n_seeds: int,
    scatter: float,
) -> _Draw:
    shape = (n_seeds, n_parameters.size, frequency.size)
    speed, size = SEED_EFFECT * generator.standard_normal((2, n_seeds, 1))
    common = generator.standard_normal((n_seeds, 1, frequency.size))
    own = generator.standard_normal(shape)
    late = scatter * (math.sqrt(1 - OWN_VARIANCE) * common + math.sqrt(OWN_VARIANCE) * own)
    return _Draw(
        frequency,
        alpha,
        step,
        delay=np.exp(late - speed[..., None]),
        room=n_parameters / PARAMETERS_PER_SUBTASK * np.exp(size),
        luck=generator.random(shape[:2]),
        generator=generator,
    )


# The worlds. Each returns the share of the loss that is left, from 1 to 0, shape (S, W, T, K).


def _ideal(draw: _Draw) -> Curve:
    return (_progress(draw, LEARNING_TIME / draw.frequency) < 1).astype(np.float32)


def _sigmoid(draw: _Draw) -> Curve:
    return _emerge(_progress(draw, LEARNING_TIME / draw.frequency))


def _domino(draw: _Draw) -> Curve:
    return _emerge(_progress(draw, SERIAL_TIME * np.arange(1.0, draw.frequency.size + 1)))


def _shuffled(draw: _Draw) -> Curve:
    time = np.tile(LEARNING_TIME / draw.frequency, (len(draw.room), 1, 1))
    return _emerge(_progress(draw, draw.generator.permuted(time, axis=-1)))


def _spectral(draw: _Draw) -> Curve:
    """(1 + λ_k/κ)^-2, where κ falls with N and S, and λ_k ∝ p_k."""
    # In the unit of κ at which a mode is down to τ, κ is the frequency that time allows, c/S, and that room
    # allows, which is the frequency of rank n = aN.
    of_room = draw.frequency[0] * draw.room[:, :, None] ** -(1 + draw.alpha)
    inverse = draw.step / (LEARNING_TIME + draw.step * of_room)  # (S, W, T)
    of_mode = (_AT_TAU**-0.5 - 1) * draw.frequency / draw.delay
    return (1 + _product(inverse, of_mode)) ** -2


def _smooth(draw: _Draw) -> Curve:
    """(1 + (r/r_k)²)^(-b/2), which tends to a power law: r grows with N and S, r_k little with the rank."""
    resource = draw.step / (SMOOTH_TIME + draw.step * SMOOTH_ROOM / draw.room[:, :, None])  # (S, W, T)
    needed = np.arange(1, draw.frequency.size + 1) ** SMOOTH_RARITY * draw.delay
    return (1 + _product(resource, 1 / needed) ** 2) ** np.float32(-SMOOTH_EXPONENT / 2)


_LAWS: dict[str, Callable[[_Draw], Curve]] = {
    "ideal": _ideal,
    "sigmoid": _sigmoid,
    "domino": _domino,
    "spectral": _spectral,
    "smooth": _smooth,
    "shuffled": _shuffled,
    "uniform": _sigmoid,
}


def _progress(draw: _Draw, time: Array) -> Curve:
    """Return S / S_k (S, W, T, K) from times (K,) or (S, 1, K); 0 for what there is no room for."""
    rate = 1 / (time * draw.delay)
    place = (-rate).argsort(axis=-1).argsort(axis=-1)
    n = np.floor(draw.room + draw.luck)
    return _product(np.broadcast_to(draw.step, (*n.shape, draw.step.size)), rate * (place < n[..., None]))


def _product(of_step: Array | NDArray[np.int64], of_subtask: Array) -> Curve:
    """Multiply (S, W, T) by (S, W, K)."""
    return of_step.astype(np.float32)[..., None] * of_subtask.astype(np.float32)[..., None, :]


def _emerge(progress: Curve) -> Curve:
    """Loss left of a skill R that grows as in the multilinear model, over that at the start.

    R/S = 1/(1 + (S/R(0) - 1) e^-t) and the loss goes as (1 - R/S)². The unit of t is such that τ is crossed
    where progress is 1.
    """
    start = 1 - 1 / SKILL_RATIO  # 1 - R(0)/S
    missing = start * math.sqrt(_AT_TAU)
    t = math.log(SKILL_RATIO - 1) - math.log(missing / (1 - missing))
    to_come = np.exp(np.float32(math.log(SKILL_RATIO - 1)) - np.float32(t) * progress)
    left: Curve = (to_come / (1 + to_come) / np.float32(start)) ** 2
    return left


def _probability_of_mistake(loss: Curve) -> Array:
    """Invert the binary entropy in bits, between 0 and 1/2; 1/2 from one bit up."""
    mistaken = 0.5 * np.linspace(1e-4, 1, 2048) ** 2  # closer where the entropy is steep
    entropy = -mistaken * np.log2(mistaken) - (1 - mistaken) * np.log2(1 - mistaken)
    return np.asarray(np.interp(loss, np.append(0, entropy), np.append(0, mistaken)))
