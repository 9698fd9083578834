"""What the hypothesis expects of a measurement: the same measurement on curves that it makes itself.

A window, a finite K, few points and the width of drops bias every exponent. So the constants of the theory
are fitted, curves are drawn from it at the sizes and steps of the slice, and measured as the slice was: a
true theory then agrees with itself.
"""

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis.learned.times import cross_trace, time_bounds
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.theories.protocol import Observed, Theory
from quanta.analysis.theories.simulation import simulate_like
from quanta.analysis.verdict.statistics import AtTau, measure
from quanta.curves.dataset import make_curves

Array = NDArray[np.float64]

MOST_SEEDS = 40
"""Simulated seeds: their mean is then known to a sixth of the scatter between seeds."""
MOST_STEPS = 100
MOST_VALUES = 8_000_000
"""Losses that are simulated in all, as 32 MB: large slices have fewer seeds, which scatter less there."""


def observe(here: AtTau) -> Observed:
    """Take from a slice what the constants of a theory are fitted to."""
    left = here.base.left
    lower, upper = time_bounds(here.times)
    examples: tuple[Array | None, Array | None] = (None, None)
    if "D" in here.base.traces:
        at, examples_lower, examples_upper = cross_trace(here.base.traces["D"], here.tau)
        latest = np.where(np.isfinite(at), at, 0).max(axis=1, keepdims=True)
        examples = np.where(np.isfinite(examples_upper), examples_lower, latest), examples_upper
    return Observed(
        left.frequency, lower, upper, left.n_parameters, here.n_learned, here.is_full, *examples, here.tau
    )


def expect(here: AtTau, theory: type[Theory] = Multilinear, *, seed: int = 0) -> AtTau | None:
    """Measure what a theory expects of a slice.

    Parameters
    ----------
    here : AtTau
        The slice.
    theory : type of Theory, default Multilinear
        Its constants are fitted.
    seed : int, default 0
        Of the simulation.

    Returns
    -------
    AtTau or None
        The statistics of simulated seeds; None where the constants are not known, as where nothing is
        learned.
    """
    left = here.base.left
    scatters = here.time_laws["S"].scatter
    scatters = scatters[np.isfinite(scatters)]
    if not scatters.size:
        return None
    fitted = theory.fit(observe(here))
    step = left.step[_thin(left.step.size)]
    size = left.n_train.size * left.width.size * step.size * left.frequency.size
    n_seeds = int(np.clip(MOST_VALUES // size, 4, MOST_SEEDS))
    values = np.empty(
        (1, left.n_train.size, n_seeds, left.width.size, step.size, left.frequency.size), dtype=np.float32
    )
    for place, n_train in enumerate(left.n_train):
        values[0, place] = simulate_like(
            fitted,
            left.frequency,
            left.n_parameters,
            step,
            n_seeds=n_seeds,
            scatter=float(scatters.mean()),
            rng=np.random.default_rng(seed),  # the same for every n_train: one set of networks
            n_examples=None if math.isinf(n_train) else float(n_train),
            unlearned=left.chance,
            residue=0.0,
            noise=0.0,
        )
    if not np.isfinite(values).all():
        return None
    curves: xr.Dataset = make_curves(
        values,
        frequency=left.frequency,
        step=step,
        width=left.width,
        n_parameters=left.n_parameters,
        seed=np.arange(n_seeds),
        alpha=[here.base.alpha],
        n_train=left.n_train,
        chance=left.chance,
    )
    return measure(curves.isel(alpha=0), here.tau, taus=()).here


def _thin(n_steps: int) -> NDArray[np.int64]:
    """Choose at most `MOST_STEPS` evaluations, the first and the last among them."""
    return np.unique(np.linspace(0, n_steps - 1, min(n_steps, MOST_STEPS)).round().astype(np.int64))
