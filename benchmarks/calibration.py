"""Judge the judge on worlds with a known answer: ``python -m benchmarks.calibration``.

Prints the tables of docs/statistics.md. Draws are independent; a share of n draws has the standard error
sqrt(share (1 - share) / n). Thresholds are chosen on the half for tuning, and rates shown on the other.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import click
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from benchmarks.foresight import CONFIDENCE, draw_with_seeds, foresee
from benchmarks.worlds import WORLDS, Answer, Half, list_seeds, simulate
from quanta.analysis import judge, select
from quanta.analysis.fits.intervals import mean_over_seeds
from quanta.analysis.learned.budget import PARTS
from quanta.analysis.verdict.exponents import exponents, measure_exponents
from quanta.analysis.verdict.predictions import expect
from quanta.analysis.verdict.statistics import AtTau, measure
from quanta.curves.dataset import make_curves

QUESTIONS = ("count", "growth")
OUTCOMES = ("supported", "rejected", "inconclusive")

Row = list[str]
Run = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


def answer(job: tuple[str, int]) -> dict[str, str]:
    """Draw a world by name and seed, and judge it: the outcome of each question."""
    return outcomes_of(simulate(*job).curves)


def truth(name: str, question: str) -> Answer:
    """Return what should be said of a world."""
    return WORLDS[name].count if question == "count" else WORLDS[name].growth


def outcomes_of(curves: xr.Dataset) -> dict[str, str]:
    """Judge Curves: the outcome of each question."""
    verdict = judge(select(curves))
    return {name: verdict.questions[name].outcome for name in QUESTIONS}


def tabulate_answers(draws: int, half: Half, run: Run) -> Iterator[Row]:
    """How each question is answered, world by world."""
    jobs = [(name, seed) for name in WORLDS for seed in list_seeds(half, draws)]
    found = [(name, outcomes) for (name, _), outcomes in zip(jobs, run(answer, jobs), strict=True)]
    yield ["world", *(column for question in QUESTIONS for column in (f"{question} is", *OUTCOMES))]
    for name in WORLDS:
        cells = []
        for question in QUESTIONS:
            said = Counter(outcomes[question] for world, outcomes in found if world == name)
            cells += [truth(name, question), *(_share(said[outcome], draws) for outcome in OUTCOMES)]
        yield [name, *cells]
    for what, true, outcome in PROMISES:
        row = [what]
        for question in QUESTIONS:
            here = [said[question] for name, said in found if truth(name, question) in true]
            rate = f"{_share(here.count(outcome), len(here))} of {len(here)}"
            row += ["", *(rate if column == outcome else "" for column in OUTCOMES)]
        yield row


PROMISES: tuple[tuple[str, tuple[Answer, ...], str], ...] = (
    ("no, but supported", ("no",), "supported"),
    ("yes, but rejected", ("yes", "yes or unclear"), "rejected"),
)
"""Mistakes, of which there may be few: what is true, and what was said."""


POWERFUL: dict[str, dict[str, Any]] = {
    "count": {"n_seeds": (5, 10), "n_evaluations": (40, 300), "limits": ("room", "both")},
    "growth": {"alpha": (0.4, 0.9), "scatter": (0.1, 0.3), "n_subtasks": (30, 500), "least_learned": 15},
}
"""Sizes at which a yes should be seen, by question."""


def answer_powerful(job: tuple[str, int, str]) -> str:
    """Draw a world at the sizes at which a question should be answered, and answer it."""
    name, seed, question = job
    ranges = WORLDS[name].ranges
    both = POWERFUL["count"] | (POWERFUL["growth"] if question == "growth" else {})
    if len(ranges.limits) == 1:
        both = both | {"limits": ranges.limits}
    return outcomes_of(simulate(name, seed, replace(ranges, **both)).curves)[question]


def tabulate_power(draws: int, half: Half, run: Run) -> Iterator[Row]:
    """How often a yes is seen where sizes are large enough to see it."""
    yield ["world", *(f"{question} {outcome}" for question in QUESTIONS for outcome in OUTCOMES)]
    totals: dict[str, Counter[str]] = {question: Counter() for question in QUESTIONS}
    for name, world in WORLDS.items():
        cells = []
        for question in QUESTIONS:
            # Of one that is limited by time alone nothing is promised.
            asked = truth(name, question) == "yes" and world.ranges.limits != ("time",)
            jobs = [(name, seed, question) for seed in list_seeds(half, draws)] if asked else []
            outcomes = Counter(run(answer_powerful, jobs))
            totals[question].update(outcomes)
            cells += [_share(outcomes[outcome], len(jobs)) if asked else "" for outcome in OUTCOMES]
        if any(cells):
            yield [name, *cells]
    sums = [
        (totals[question][outcome], totals[question].total())
        for question in QUESTIONS
        for outcome in OUTCOMES
    ]
    yield ["all", *(_share(*one) for one in sums)]


MANY_SEEDS = 200
"""Seeds of a study that is cut into small ones; its own means are what their intervals should hold."""
FEW_SEEDS = (3, 5, 10)
TRUE = ("room", "both", "time")
"""Worlds whose intervals are tried."""


def cover(job: tuple[str, int]) -> dict[tuple[str, int], list[tuple[float, float, bool]]]:
    """Draw a true world with many seeds, and ask small studies for their intervals.

    Returns
    -------
    dict
        By exponent and number of seeds, of each small study: its estimate, the truth, and whether its
        interval holds it.
    """
    name, seed = job
    curves = draw_with_seeds(name, seed, MANY_SEEDS)
    many = _values(measure(curves, taus=()).here)
    truth = {"beta": 1.0, "gamma": 1.0} | {
        exponent: float(np.nanmean(many[exponent])) for exponent in ("alpha_N", "share of the count")
    }
    found: dict[tuple[str, int], list[tuple[float, float, bool]]] = {}
    for n in FEW_SEEDS:
        for first in range(0, 60, n):
            here = measure(curves.isel(seed=slice(first, first + n)), taus=()).here
            few = {name: mean_over_seeds(values, CONFIDENCE) for name, values in _values(here).items()}
            for exponent, one in (few | {"gamma": here.mean_gamma(CONFIDENCE)}).items():
                if one.lower is not None and one.upper is not None:
                    holds = one.lower <= truth[exponent] <= one.upper
                    found.setdefault((exponent, n), []).append((one.estimate, truth[exponent], holds))
    return found


def _values(here: AtTau) -> dict[str, NDArray[np.float64]]:
    """Exponents of each seed."""
    budget = here.budgets["N"]
    return {
        "alpha_N": budget.exponent,
        "share of the count": budget.shares[:, PARTS.index("count")],
        "beta": here.time_laws["S"].beta,
        "gamma": here.gamma,
    }


def tabulate_coverage(draws: int, half: Half, run: Run) -> Iterator[Row]:
    """How often intervals over seeds hold the truth, in true worlds.

    The truth of β and γ is 1. That of the others is their mean over many seeds: what they are at these sizes.
    """
    yield ["world", "seeds", "of", "mean estimate", "mean truth", "coverage", "intervals"]
    for name in TRUE:
        found = run(cover, [(name, seed) for seed in list_seeds(half, draws)])
        for exponent in ("alpha_N", "share of the count", "beta", "gamma"):
            for n in FEW_SEEDS:
                here = [one for of_draw in found for one in of_draw.get((exponent, n), [])]
                if here:
                    estimate, truth, holds = np.array(here).T
                    means = (f"{estimate.mean():.3f}", f"{truth.mean():.3f}")
                    yield [
                        name,
                        str(n),
                        exponent,
                        *means,
                        _share(int(holds.sum()), len(here)),
                        str(len(here)),
                    ]


def tabulate_unclear(draws: int, half: Half, run: Run) -> Iterator[Row]:
    """How often claims of small studies are unclear, beside what a power calculation says beforehand."""
    jobs = [(name, seed) for name in WORLDS for seed in list_seeds(half, draws)]
    found = run(foresee, jobs)
    yield ["claim", "draws", "foreseen", "seen", "seen less foreseen", "± standard error"]
    for key in sorted({key for one in found for key in one}):
        foreseen, seen = np.array([one[key] for one in found if key in one]).T
        away = seen - foreseen
        error = away.std(ddof=1) / math.sqrt(away.size) if away.size > 1 else math.nan
        shares = (f"{foreseen.mean():.1%}", f"{seen.mean():.1%}")
        yield [key, str(away.size), *shares, f"{away.mean():+.1%}", f"{error:.1%}"]


NONE = np.full(1, np.nan)
"""What is known of an exponent that was not measured."""


def agree(job: tuple[str, int]) -> dict[str, tuple[float, bool]]:
    """Draw a true world: how far each exponent is from the expected, and whether its interval holds it."""
    found = exponents(measure(select(simulate(*job).curves), taus=()), CONFIDENCE)
    return {
        name: (one.estimate - one.expected, one.lower <= one.expected <= one.upper)
        for name, one in found.items()
        if None not in (one.estimate, one.lower, one.upper, one.expected)
    }


def agree_with_itself(job: tuple[str, int]) -> dict[str, tuple[float, bool]]:
    """As `agree`, of what the theory makes at the constants that were fitted to the draw."""
    made = expect(measure(select(simulate(*job).curves), taus=()).here, seed=1)
    if made is None:
        return {}
    again = expect(made, seed=2)
    expected = {} if again is None else measure_exponents(again)
    found = {}
    for name, values in measure_exponents(made).items():
        one, other = (mean_over_seeds(each, CONFIDENCE) for each in (values, expected.get(name, NONE)))
        if one.lower is not None and one.upper is not None and math.isfinite(other.estimate):
            held = one.lower <= other.estimate <= one.upper
            found[name] = one.estimate - other.estimate, held
    return found


def tabulate_agreement(draws: int, half: Half, run: Run) -> Iterator[Row]:
    """How far a true theory is from what is expected of it.

    Measured less expected, over the draws in which both are known, and how often the interval over seeds
    holds what is expected.
    """
    yield from _tabulate_differences(agree, draws, half, run)


def tabulate_itself(draws: int, half: Half, run: Run) -> Iterator[Row]:
    """How far the theory is from itself, simulated at the constants that were fitted."""
    yield from _tabulate_differences(agree_with_itself, draws, half, run)


def _tabulate_differences(
    compare: Callable[[tuple[str, int]], Any], draws: int, half: Half, run: Run
) -> Iterator[Row]:
    yield ["world", "exponent", "measured less expected", "± standard error", "median", "held", "draws"]
    for name in TRUE:
        found = run(compare, [(name, seed) for seed in list_seeds(half, draws)])
        for exponent in dict.fromkeys(exponent for one in found for exponent in one):
            away, held = np.array([one[exponent] for one in found if exponent in one]).T
            error = away.std(ddof=1) / math.sqrt(away.size) if away.size > 1 else math.nan
            middle = f"{np.median(away):+.3f}"
            cells = (f"{away.mean():+.3f}", f"{error:.3f}", middle, _share(int(held.sum()), held.size))
            yield [name, exponent, *cells, str(away.size)]


CHANGES = ("cut", "thinned", "nats", "a seed less", "other steps")
"""What must not turn an answer to its opposite; the last must not change it at all."""


def change(curves: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield the same run seen otherwise: which of `CHANGES` it is, and its Curves."""
    n_steps = curves.sizes["step"]
    for share in (0.4, 0.6, 0.8):
        n = round(share * n_steps)
        if n >= 4:
            yield "cut", curves.isel(step=slice(0, n))
    for every in (2, 4):
        if n_steps >= 4 * every:
            yield "thinned", curves.isel(step=np.arange(n_steps - 1, -1, -every)[::-1])
    yield "nats", _remake(curves, unit=math.log(2))
    if curves.sizes["seed"] > 3:
        for seed in (0, curves.sizes["seed"] - 1):
            yield "a seed less", curves.drop_isel(seed=seed)
    yield "other steps", _remake(curves, step=977)


def _remake(curves: xr.Dataset, unit: float = 1.0, step: int = 1) -> xr.Dataset:
    """Multiply losses and chance, and steps."""
    names = ("frequency", "width", "n_parameters", "seed", "alpha", "n_train")
    return make_curves(
        unit * curves["loss"].values,
        step=step * curves["step"].values,
        chance=unit * curves["chance"].values if "chance" in curves else None,
        **{name: curves[name].values for name in names},
    )


def answer_changed(job: tuple[str, int]) -> list[tuple[str, dict[str, str]]]:
    """Judge a draw as it is ("as it is") and with every change."""
    curves = simulate(*job).curves
    seen = [("as it is", curves), *change(curves)]
    return [(label, outcomes_of(one)) for label, one in seen]


def tabulate_flips(draws: int, half: Half, run: Run) -> Iterator[Row]:
    """How often an answer turns to its opposite when the same run is seen otherwise.

    `any` counts draws in which two of all ways to see it disagree, the others those that disagree with the
    run as it is. Other steps must not change the answer at all. Worlds in which nothing flips are not listed.
    """
    jobs = [(name, seed) for name in WORLDS for seed in list_seeds(half, draws)]
    found = list(zip(jobs, run(answer_changed, jobs), strict=True))
    yield ["world", "question", "draws", *CHANGES, "any"]
    for name in [*WORLDS, "all"]:
        here = [seen for (world, _), seen in found if name in (world, "all")]
        for question in QUESTIONS:
            flips: Counter[str] = Counter()
            for seen in here:
                answers = [(label, outcomes[question]) for label, outcomes in seen]
                flips.update({label for label, outcome in answers if _is_flip(label, answers[0][1], outcome)})
                flips["any"] += {"supported", "rejected"} <= {outcome for _, outcome in answers}
            if flips.total() or name == "all":
                yield [name, question, str(len(here)), *(str(flips[label]) for label in (*CHANGES, "any"))]


def _is_flip(label: str, before: str, after: str) -> bool:
    if label == "other steps":
        return before != after
    return {before, after} == {"supported", "rejected"}


TABLES: dict[str, Callable[[int, Half, Run], Iterator[Row]]] = {
    "answers": tabulate_answers,
    "power": tabulate_power,
    "coverage": tabulate_coverage,
    "agreement": tabulate_agreement,
    "itself": tabulate_itself,
    "unclear": tabulate_unclear,
    "flips": tabulate_flips,
}


def _share(n: int, total: int) -> str:
    return f"{n / total:.1%}" if total else "none"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("tables", nargs=-1, type=click.Choice(list(TABLES)))
@click.option("--draws", type=click.IntRange(1), default=12, show_default=True, help="Draws of each world.")
@click.option(
    "--half",
    type=click.Choice(["tuning", "showing"]),
    default="showing",
    show_default=True,
    help="Draws to choose thresholds on, or to show rates on.",
)
def main(tables: tuple[str, ...], draws: int, half: Half) -> None:
    """Print tables of how the verdict does on simulated worlds."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:

        def run(function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
            return list(pool.map(function, jobs))

        for name in tables or TABLES:
            header, *rows = TABLES[name](draws, half, run)
            click.echo(f"**{(TABLES[name].__doc__ or name).splitlines()[0]}**\n")
            for row in (header, ["---"] * len(header), *rows):
                click.echo(f"| {' | '.join(row)} |")
            click.echo()


if __name__ == "__main__":
    main()
