"""Worlds with a known answer to each question of the verdict, to judge the judge.

A world says what happens when; whether *the loss follows from the count* and whether *the count grows as the
hypothesis says* then follows from its law, and stands beside it. Each draw takes its sizes at random, so that
no threshold can fit one example. The draws come in two halves that must not be mixed: thresholds are chosen
on those for *tuning* (even seeds), and rates are shown on those for *showing* (odd seeds).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr

from benchmarks import data_laws, laws
from benchmarks.sizes import Ranges, Sizes, draw_sizes
from quanta.curves.dataset import make_curves

Answer = Literal["yes", "no", "any", "yes or unclear"]
Half = Literal["tuning", "showing"]


@dataclass(frozen=True)
class World:
    """A world and what is true in it.

    Attributes
    ----------
    description : str
        What happens, in one line.
    law : callable
        The same, at drawn sizes: online, or on a ladder of training sets.
    count, growth : str
        The right answer to whether the loss follows from the count, and to whether the count grows as the
        hypothesis says. Wrong is `rejected` where it is yes (or unclear), and `supported` where it is no.
    ranges : Ranges
        Where its sizes are drawn from.
    """

    description: str
    law: laws.Law | Callable[[Sizes, np.random.Generator], data_laws.WatchedAtEach]
    count: Answer
    growth: Answer
    ranges: Ranges = field(default_factory=Ranges)


@dataclass(frozen=True)
class Simulation:
    """One draw of a world: its sizes, and the Curves to be judged."""

    world: World
    sizes: Sizes
    curves: xr.Dataset


def list_seeds(half: Half, n: int) -> range:
    """List the seeds of the first n draws of a half: even ones for tuning, odd ones for showing."""
    return range(0, 2 * n, 2) if half == "tuning" else range(1, 2 * n, 2)


def simulate(name: str, seed: int, ranges: Ranges | None = None) -> Simulation:
    """Draw one of `WORLDS`, with sizes from its own ranges or others; the same for the same arguments."""
    world = WORLDS[name]
    rng = np.random.default_rng([seed, *name.encode()])
    sizes = draw_sizes(rng, world.ranges if ranges is None else ranges)
    steps, share, *n_train = world.law(sizes, rng)
    share = sizes.residue + (1 + sizes.excess - sizes.residue) * share
    loss = sizes.chance * share * np.exp(sizes.noise * rng.standard_normal(share.shape))
    curves = make_curves(
        loss,
        frequency=sizes.frequency,
        step=steps,
        width=10 * np.arange(1, sizes.n_parameters.size + 1),
        n_parameters=sizes.n_parameters,
        seed=np.arange(sizes.n_seeds),
        alpha=[sizes.alpha],
        n_train=n_train[0] if n_train else [np.inf],
        chance=sizes.chance if sizes.declared else None,
    )
    return Simulation(world, sizes, curves)


WORLDS = {
    "room": World(
        "the hypothesis; long training, so that the room of each network is the limit",
        laws.obey,
        "yes",
        "yes",
        Ranges(limits=("room",)),
    ),
    "time": World(
        "the hypothesis; training ends before the wide networks have used their room",
        laws.obey,
        "yes",
        "yes",
        Ranges(limits=("time",)),
    ),
    "both": World(
        "the hypothesis; training ends about when the widest has used its room",
        laws.obey,
        "yes",
        "yes",
        Ranges(limits=("both",)),
    ),
    "fast drops": World(
        "the hypothesis; a drop takes a factor 2 to 3 in steps", laws.obey, "yes", "yes", Ranges(drop=(2, 3))
    ),
    "slow drops": World(
        "the hypothesis; a drop takes a factor 6 to 9 in steps", laws.obey, "yes", "yes", Ranges(drop=(6, 9))
    ),
    "equal sizes": World(
        "the hypothesis; two widths have the same N", laws.obey, "yes", "yes", Ranges(equal=True)
    ),
    "spikes": World(
        "the hypothesis; one learned loss in twenty is measured above τ", laws.spike, "yes", "yes"
    ),
    "floor": World(
        "the hypothesis; .05 of chance is left of what is learned", laws.keep_a_floor, "yes", "yes"
    ),
    "high start": World(
        "the hypothesis; networks begin 2 to 20 times above chance", laws.start_high, "yes", "yes"
    ),
    "forgotten": World(
        "the hypothesis; one learned subtask in ten is forgotten later, for good", laws.forget, "yes", "yes"
    ),
    "other units": World(
        "the hypothesis; steps in other units, from coarse to very fine",
        laws.obey,
        "yes",
        "yes",
        Ranges(first_time=(3, 1e7)),
    ),
    "other chance": World(
        "the hypothesis; chance is from .6 to 12 bits, said or to be found",
        laws.obey,
        "yes",
        "yes",
        Ranges(chance=(0.6, 12)),
    ),
    "one width": World(
        "the hypothesis; a single network a seed", laws.obey, "yes", "yes", Ranges(n_widths=(1, 1))
    ),
    "few evaluations": World(
        "the hypothesis; 8 to 15 evaluations",
        laws.obey,
        "yes or unclear",
        "yes or unclear",
        Ranges(n_evaluations=(8, 15)),
    ),
    "two evaluations": World(
        "the hypothesis; an early and the last evaluation alone",
        laws.see_ends_only,
        "yes or unclear",
        "yes or unclear",
    ),
    "slow growth": World("n ∝ N^.6", laws.grow_slowly, "yes", "no"),
    "domino": World("one after another: S_k ∝ k", laws.wait_in_line, "yes", "no", Ranges(alpha=(0.1, 0.7))),
    "beta 0.8": World("S_k ∝ p_k^-.8, as by a clock that gets faster", laws.follow(0.8), "yes", "no"),
    "beta 1.2": World("S_k ∝ p_k^-1.2", laws.follow(1.2), "yes", "no"),
    "beta 1.3": World("S_k ∝ p_k^-1.3", laws.follow(1.3), "yes", "no"),
    "bent": World(
        "S_k ∝ p_k^-.75 for the first ranks learned and p_k^-1.25 for the later: 1 on the whole",
        laws.bend,
        "yes",
        "no",
    ),
    "own orders": World(
        "each seed learns in an order of its own, whatever the frequencies", laws.shuffle_each, "yes", "no"
    ),
    "other order": World(
        "all seeds learn in one order, which is not that of the frequencies", laws.shuffle_all, "yes", "no"
    ),
    "exponential": World(
        "modes fall as exp(-p_k t) from chance, smoothly in N or cut off by room",
        laws.filter_by(laws.exponential, cut=0.5),
        "no",
        "any",
    ),
    "exponential from 1.5": World(
        "the same, from 1.5 bits",
        laws.filter_by(laws.exponential, cut=0.5),
        "no",
        "any",
        Ranges(chance=(1.5, 1.5)),
    ),
    "exponential from 2": World(
        "the same, from 2 bits", laws.filter_by(laws.exponential, cut=0.5), "no", "any", Ranges(chance=(2, 2))
    ),
    "exponential from 10": World(
        "the same, from 10 bits",
        laws.filter_by(laws.exponential, cut=0.5),
        "no",
        "any",
        Ranges(chance=(10, 10)),
    ),
    "ridge": World(
        "modes fall as (1 + p_k t)^-2, smoothly in N or cut off by room",
        laws.filter_by(laws.ridge, cut=0.5),
        "no",
        "any",
    ),
    "square ridge": World(
        "modes fall as (1 + (p_k t)²)^-2, smoothly in N", laws.filter_by(laws.square_ridge), "no", "any"
    ),
    "level in N": World(
        "drops in time, to levels that fall smoothly with N", laws.level_with_room, "no", "any"
    ),
    "smooth part": World(
        "three tenths of every loss are a smooth mode in time and N", laws.mix_each, "no", "any"
    ),
    "smooth subtasks": World(
        "two subtasks in five are smooth modes in time and N", laws.mix_some, "no", "any"
    ),
    "no count": World(
        "all networks learn the same few, and the loss of what is unlearned falls with N",
        laws.never_count,
        "no",
        "any",
    ),
    "a sixth": World(
        "the hypothesis, but a sixth of the exponent along N is unlearned loss that falls",
        laws.drift_a_sixth,
        "no",
        "any",
    ),
    "examples": World(
        "the hypothesis; D_k ∝ 1/p_k, and the examples are the limit",
        data_laws.obey,
        "yes",
        "yes",
        Ranges(n_widths=(1, 2)),
    ),
    "examples, beta 0.7": World("D_k ∝ p_k^-.7", data_laws.follow(0.7), "yes", "no", Ranges(n_widths=(1, 2))),
    "examples, beta 1.3": World(
        "D_k ∝ p_k^-1.3", data_laws.follow(1.3), "yes", "no", Ranges(n_widths=(1, 2))
    ),
    "examples, own orders": World(
        "each seed needs examples in an order of its own",
        data_laws.shuffle_each,
        "yes",
        "no",
        Ranges(n_widths=(1, 2)),
    ),
    "level in D": World(
        "drops in time, to levels that fall smoothly with the examples",
        data_laws.level_with_examples,
        "no",
        "any",
        Ranges(n_widths=(1, 2)),
    ),
}
"""All worlds by their names."""
