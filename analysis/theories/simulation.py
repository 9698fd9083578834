"""Curves drawn from a theory: what it leaves of each loss, under the nuisance that trained networks have.

The nuisance is the same in every world: subtasks are late or early by a scatter, most of it common to the
widths of a seed; seeds differ in speed and in room; the number of subtasks that there is room for becomes a
whole one; each evaluation is noisy.
"""

import json
import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from quanta.analysis.theories.protocol import Theory, World
from quanta.analysis.theories.worlds import RESIDUE, UNLEARNED, find_world
from quanta.curves.dataset import make_curves
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies
from quanta.tasks.numerics import own_errors
from quanta.tasks.spec import CHANCE_BITS

Array = NDArray[np.float64]
Curve = NDArray[np.float32]

WIDTHS = (4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128)
"""Of hidden units: about a factor of 1.4 apart, up to those of the demo study."""
N_BITS = 32
"""Bits of a sample, as in the demo; with the width they give the number of parameters."""
BATCH_SIZE = 4096
"""Samples a step, as in the demo."""

MAX_ALPHA = 4.0
"""Five times the steepest law of the literature; rare frequencies are still well inside float32."""
MAX_SCATTER = 3.0
"""A factor of 20 in time for one standard deviation: with more, there is nothing but scatter."""

SEED_EFFECT = 0.05
"""Standard deviation between seeds of log speed, and of log room."""
OWN_VARIANCE = 0.25
"""Share of the scatter's variance that is a network's own; the rest comes from the batches, which the widths
of a seed share. In the demo log S_k differs by .25 between neighbouring widths, and scatters by .3."""
EVALUATION_NOISE = 0.03
"""Standard deviation of a log loss measured on 256 samples; in the demo .02 to .04."""


@own_errors()
def simulate(
    world: str | World | Theory,
    *,
    alpha: float = 0.4,
    n_subtasks: int = 64,
    widths: Sequence[int] = WIDTHS,
    n_seeds: int = 3,
    steps: int = 6000,
    n_evaluations: int = 100,
    scatter: float = 0.3,
    seed: int = 0,
) -> xr.Dataset:
    """Draw Curves from a world with a known answer.

    Parameters
    ----------
    world : str, World or Theory
        One of `WORLDS`, by its name, or any other; of a theory with its constants, frequencies are Zipf's.
    alpha : float, default 0.4
        Quanta exponent α of the frequencies, above 0 and at most 4. A uniform world has none.
    n_subtasks : int, default 64
        K, at least 2.
    widths : sequence of int
        Hidden units, increasing.
    n_seeds : int, default 3
        Independent draws.
    steps : int, default 6000
        The last step.
    n_evaluations : int, default 100
        Evaluations, log-spaced as in training: step 0 and the last included, equal steps merged.
    scatter : float, default 0.3
        Standard deviation of the log of each subtask's learning time, from 0 to 3. The default is about
        that of the demo.
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
    Quanta: subtask k crosses .1 bit at S_k, and the first n in the order of learning are learned at all, with
    n = a N on average. A whole number must be learned, so a N is rounded up with the probability of its
    fractional part; always rounding it down would make n rise faster than N. At the default sizes, time
    is the limit at the widest network and room at all others. A subtask that is not learned stays at 1.01
    bits.

    Accuracy and Brier score are those of a calibrated predictor: it is right with probability q where the
    entropy of q is the loss, so that they are q and q (1 - q).
    """
    chosen = find_world(world) if isinstance(world, str) else world
    if isinstance(chosen, Theory):
        chosen = World(chosen.name, f"the theory of {chosen.source}", chosen)
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
    frequency = uniform_frequencies(n_subtasks) if chosen.uniform else zipf_frequencies(n_subtasks, alpha)
    # As quanta.population.count_parameters, which needs torch: into each hidden unit a weight from every code
    # and bit and a bias, out of it a weight to both logits; two more biases there.
    n_parameters = np.array([(n_subtasks + N_BITS + 1) * width + 2 * width + 2 for width in widths])
    step = np.unique(
        np.concatenate([[0], np.geomspace(steps, 1, n_evaluations - 1).round().astype(np.int64)])
    )
    loss = simulate_like(
        chosen.theory,
        frequency,
        n_parameters,
        step,
        n_seeds=n_seeds,
        scatter=scatter,
        rng=np.random.default_rng(seed),
        shuffled=chosen.shuffled,
    )
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
    study = {"name": f"simulated-{chosen.name}", "description": chosen.meaning, "simulate": arguments}
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
        alpha=-1.0 if chosen.uniform else alpha,
        study=json.dumps(study),
    )


@own_errors()
def simulate_like(
    theory: Theory,
    frequency: ArrayLike,
    n_parameters: ArrayLike,
    step: ArrayLike,
    *,
    n_seeds: int,
    scatter: float,
    rng: np.random.Generator,
    n_examples: float | None = None,
    shuffled: bool = False,
    unlearned: ArrayLike = UNLEARNED,
    residue: float = RESIDUE,
    noise: float = EVALUATION_NOISE,
) -> Curve:
    """Draw the losses that a theory, with its constants, would leave at the points of a slice.

    Parameters
    ----------
    theory : Theory
        A resource that it does not speak of is no limit.
    frequency : array_like, shape (K,)
        p_k.
    n_parameters : array_like, shape (W,)
    step : array_like, shape (T,)
    n_seeds : int
        S.
    scatter : float
        Standard deviation of the log of each subtask's learning time about the theory's.
    rng : Generator
    n_examples : float, optional
        D; every batch is fresh if left out.
    shuffled : bool, default False
        Whether in every seed subtasks are learned by the frequencies of others.
    unlearned : float or array_like, shape (K,)
        Loss of what is not learned.
    residue : float
        Loss of what is learned, below all of `unlearned`.
    noise : float
        Standard deviation of a measured log loss.

    Returns
    -------
    ndarray of float32, shape (S, W, T, K)
    """
    p, step = np.asarray(frequency, dtype=np.float64), np.asarray(step, dtype=np.float64)
    n_parameters = np.asarray(n_parameters, dtype=np.float64)
    shape = (n_seeds, n_parameters.size, p.size)
    speed, size = SEED_EFFECT * rng.standard_normal((2, n_seeds, 1))
    common = rng.standard_normal((n_seeds, 1, p.size))
    late = math.sqrt(1 - OWN_VARIANCE) * common + math.sqrt(OWN_VARIANCE) * rng.standard_normal(shape)
    delay, size = np.exp(scatter * late - speed[..., None]), np.exp(size)
    luck = rng.random(shape[:2])
    seen = np.tile(p, (n_seeds, 1, 1))
    if shuffled:
        seen = rng.permuted(seen, axis=-1)
    loss = np.empty((*shape[:2], step.size, p.size), dtype=np.float32)
    for i, j in np.ndindex(shape[:2]):  # one network at a time: all at once would be twice as large
        at = {"n_parameters": n_parameters[j] * size[i, 0], "step": step, "n_examples": n_examples}
        limits = {name: at[name] for name in theory.resources}
        left = theory.left(seen[i, 0], **limits, delay=delay[i, j], luck=luck[i, j])
        loss[i, j] = residue + (np.asarray(unlearned) - residue) * left
        loss[i, j] *= np.exp(np.float32(noise) * rng.standard_normal(loss[i, j].shape, dtype=np.float32))
    return loss


def _probability_of_mistake(loss: Curve) -> Array:
    """Invert the binary entropy in bits, between 0 and 1/2; 1/2 from one bit up."""
    mistaken = 0.5 * np.linspace(1e-4, 1, 2048) ** 2  # closer where the entropy is steep
    entropy = -mistaken * np.log2(mistaken) - (1 - mistaken) * np.log2(1 - mistaken)
    return np.asarray(np.interp(loss, np.append(0, entropy), np.append(0, mistaken)))
