"""How often a small study will leave a claim unclear, said beforehand and then seen."""

import math
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy import stats

from benchmarks.worlds import WORLDS, simulate
from quanta.analysis import judge, select
from quanta.analysis.verdict.claims import Claim

CONFIDENCE = 0.9
"""Nominal coverage of every interval here."""

STUDY_SEEDS = 5
"""Seeds of a small study whose answers are foreseen."""
FORESEEING_SEEDS = 40
"""Seeds from whose mean and spread they are foreseen."""
N_IMAGINED = 4000
"""Studies of normally distributed seeds, to find how often a claim would be unclear."""


def draw_with_seeds(name: str, seed: int, n_seeds: int) -> xr.Dataset:
    """Draw a world with many seeds, and few of all else, to be cut into studies of few seeds."""
    few = {"n_subtasks": (20, 60), "n_widths": (5, 6), "n_evaluations": (30, 40)}
    ranges = replace(WORLDS[name].ranges, n_seeds=(n_seeds, n_seeds), **few)
    return select(simulate(name, seed, ranges).curves)


def foresee(job: tuple[str, int]) -> dict[str, tuple[float, float]]:
    """Draw a world with many seeds: how often each claim of small studies is unclear, foreseen and seen.

    Foreseen is what the mean and the spread over all seeds make of studies of a few, if seeds are normally
    distributed; seen are the studies that the same seeds can be cut into.
    """
    name, seed = job
    curves = draw_with_seeds(name, seed, FORESEEING_SEEDS)
    studies = [
        _claims(curves.isel(seed=slice(first, first + STUDY_SEEDS)))
        for first in range(0, FORESEEING_SEEDS, STUDY_SEEDS)
    ]
    found = {}
    for key, claim in _claims(curves).items():
        small = [one[key] for one in studies if key in one]
        if claim.asked and claim.lower is not None and small and all(one.asked for one in small):
            found[key] = foreseen_unclear(claim), float(np.mean([one.holds is None for one in small]))
    return found


def _claims(curves: xr.Dataset) -> dict[str, Claim]:
    questions = judge(curves).questions.values()
    return {f"{one.axis}: {one.name}": one for question in questions for one in question.claims}


def foreseen_unclear(claim: Claim) -> float:
    """Share of small studies that would leave a claim unclear, by its mean and interval over many seeds."""
    assert claim.statistic is not None
    assert claim.lower is not None
    assert claim.upper is not None
    half = (claim.upper - claim.lower) / 2
    sd = half * math.sqrt(FORESEEING_SEEDS) / float(stats.t.ppf((1 + CONFIDENCE) / 2, FORESEEING_SEEDS - 1))
    rng = np.random.default_rng(0)
    seeds = rng.normal(claim.statistic, sd, (N_IMAGINED, STUDY_SEEDS))
    means = seeds.mean(axis=1)
    halves = seeds.std(axis=1, ddof=1) * float(stats.t.ppf((1 + CONFIDENCE) / 2, STUDY_SEEDS - 1))
    halves /= math.sqrt(STUDY_SEEDS)
    low, high = claim.window
    holds = (means - halves >= low) & (means + halves <= high)
    fails = (means - halves > high) | (means + halves < low)
    return float(1 - np.mean(holds | fails))
