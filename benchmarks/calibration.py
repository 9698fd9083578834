"""Try the statistics on worlds with a known answer: ``python -m benchmarks.calibration``.

Prints the tables of docs/statistics.md. Draws are independent; a share of n draws has the standard error
sqrt(share (1 - share) / n).
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import click
import numpy as np

from quanta.analysis import FitError, fit_power_law, judge, select, simulate, true_exponents
from quanta.analysis.fits.censored import fit_censored_power_law
from quanta.analysis.fits.forecasts import forecast
from quanta.analysis.fits.scaling import fit_scaling
from quanta.analysis.theories.worlds import WORLDS
from quanta.analysis.verdict.exponents import exponents
from quanta.analysis.verdict.measurement import loss_slopes, measure
from quanta.tasks.frequencies import zipf_frequencies

SEEDS = (3, 5, 10)
"""Numbers of seeds in a simulated study."""

CONFIDENCE = 0.9
"""Nominal coverage of every interval here."""

Row = list[str]


def judge_world(world: str, n_seeds: int, draw: int) -> tuple[str, tuple[str, ...], dict[str, float | None]]:
    """Draw a world and judge it: outcome, the checks that fail, and the statistic of every check."""
    verdict = judge(select(simulate(world, n_seeds=n_seeds, seed=draw)), n_bootstrap=1)
    failed = tuple(check.name for check in verdict.checks if check.passed is False)
    return verdict.outcome, failed, {check.name: check.statistic for check in verdict.checks}


def tabulate_outcomes(draws: int, run: "Run") -> Iterator[Row]:
    """Share of outcomes and of failing checks, world by world."""
    yield ["world", "seeds", "supported", "rejected", "inconclusive", "checks that fail"]
    for world in WORLDS:
        for n_seeds in SEEDS:
            found = run(partial(judge_world, world, n_seeds), draws)
            outcomes = Counter(outcome for outcome, _, _ in found)
            failed = Counter(name for _, names, _ in found for name in names)
            yield [
                world,
                str(n_seeds),
                *(_share(outcomes[name], draws) for name in ("supported", "rejected", "inconclusive")),
                ", ".join(f"{name} {_share(n, draws)}" for name, n in failed.most_common()) or "none",
            ]


def measure_world(world: str, n_seeds: int, draw: int) -> dict[str, tuple[float, float, float]]:
    """Draw a world: estimate and interval of α_N, β and γ."""
    found = exponents(measure(select(simulate(world, n_seeds=n_seeds, seed=draw)), confidence=CONFIDENCE), 1)
    return {
        name: (found[name].estimate, found[name].lower, found[name].upper)  # type: ignore[misc]
        for name in ("alpha_N", "beta", "gamma")
    }


def loss_slope_of_world(world: str, draw: int) -> float:
    """α_N of one seed of a world."""
    # Far from the draws of `measure_world`, which must not know their truth.
    return float(loss_slopes(measure(select(simulate(world, n_seeds=1, seed=10**6 + draw))))[0])


def tabulate_coverage(draws: int, run: "Run") -> Iterator[Row]:
    """How often intervals over seeds hold the truth.

    The truth of α_N is its mean over 4000 seeds: what it is at these widths, not its limit.
    """
    yield ["world", "seeds", "exponent", "truth", "mean estimate", "coverage", "mean width"]
    for world in ("ideal", "sigmoid", "domino"):
        truth = {name: value for name, value in true_exponents(world, 0.4).items() if value is not None}
        truth["alpha_N"] = float(np.mean(run(partial(loss_slope_of_world, world), 4000)))
        for n_seeds in SEEDS:
            found = run(partial(measure_world, world, n_seeds), draws)
            for name in ("alpha_N", "beta", "gamma"):
                estimate, lower, upper = np.array([one[name] for one in found], dtype=np.float64).T
                covered = int(((lower <= truth[name]) & (truth[name] <= upper)).sum())
                yield [
                    *(world, str(n_seeds), name, f"{truth[name]:.3f}", f"{estimate.mean():.3f}"),
                    *(_share(covered, draws), f"{(upper - lower).mean():.2f}"),
                ]


def time_slopes(scatter: float, draw: int) -> tuple[float, float]:
    """β of one simulated network of 64 subtasks, a third of them censored: censored fit and naive slope."""
    rng = np.random.default_rng(draw)
    p = zipf_frequencies(64, 0.4)
    evaluations = np.geomspace(1, 1e6, 120)
    times = 50 / p * np.exp(scatter * rng.standard_normal(p.size))
    evaluations = evaluations[evaluations <= np.quantile(times, 2 / 3)]
    place = np.searchsorted(evaluations, times)
    lower, upper = np.append(0, evaluations)[place], np.append(evaluations, np.inf)[place]
    learned = np.isfinite(upper)
    middle = np.sqrt(np.maximum(lower[learned], 1) * upper[learned])
    return -fit_censored_power_law(p, lower, upper).slope, -fit_power_law(p[learned], middle).slope


def tabulate_censoring(draws: int, run: "Run") -> Iterator[Row]:
    """Mean β when a third of the subtasks is censored; the truth is 1."""
    yield ["scatter σ", "censored fit", "± standard error", "learned subtasks alone"]
    for scatter in (0.2, 0.4, 0.6, 0.8):
        fitted, naive = np.array(run(partial(time_slopes, scatter), draws)).T
        error = fitted.std() / math.sqrt(draws)
        yield [f"{scatter}", f"{fitted.mean():.3f}", f"{error:.3f}", f"{naive.mean():.3f}"]


def forecast_covers(scatter: float, draw: int) -> bool | None:
    """Whether the forecast of a power law fitted at nine widths holds the tenth; None if there is no fit."""
    rng = np.random.default_rng(draw)
    x = np.geomspace(1e3, 1e5, 10)
    y = 3 * x**-0.4 * np.exp(scatter * rng.standard_normal(x.size))
    try:
        found = forecast(fit_scaling(x[:-1], y[:-1], "power"), x[-1:], CONFIDENCE)
    except FitError:
        return None
    return bool(found.lower[0] <= y[-1] <= found.upper[0])


def tabulate_forecasts(draws: int, run: "Run") -> Iterator[Row]:
    """How often the forecast interval of a power law holds the largest scale, held out."""
    yield ["scatter of log loss", "coverage", "fits"]
    for scatter in (0.02, 0.1):
        found = [covers for covers in run(partial(forecast_covers, scatter), draws) if covers is not None]
        yield [f"{scatter}", _share(sum(found), len(found)), str(len(found))]


Run = Callable[[Callable[[int], Any], int], list[Any]]

TABLES: dict[str, Callable[[int, Run], Iterator[Row]]] = {
    "outcomes": tabulate_outcomes,
    "coverage": tabulate_coverage,
    "censoring": tabulate_censoring,
    "forecasts": tabulate_forecasts,
}


def _share(n: int, total: int) -> str:
    return f"{n / total:.1%}" if total else "none"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("tables", nargs=-1, type=click.Choice(list(TABLES)), metavar="[TABLE]...")
@click.option("--draws", type=click.IntRange(10), default=400, show_default=True, help="Draws of each world.")
def main(tables: tuple[str, ...], draws: int) -> None:
    """Print tables of how the statistics do on simulated worlds: outcomes, coverage, censoring, forecasts."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:

        def run(function: Callable[[int], Any], n: int) -> list[Any]:
            return list(pool.map(function, range(n), chunksize=max(1, n // 32)))

        for name in tables or TABLES:
            header, *rows = TABLES[name](draws, run)
            click.echo(f"**{(TABLES[name].__doc__ or name).splitlines()[0]}**\n")
            for row in (header, ["---"] * len(header), *rows):
                click.echo(f"| {' | '.join(row)} |")
            click.echo()


if __name__ == "__main__":
    main()
