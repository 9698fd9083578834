"""Tables beside a verdict: where the exponent comes from, how the answer moves, what each network learned."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quanta.analysis.axes import Axis
from quanta.analysis.fits.comparison import Rival, compare_models
from quanta.analysis.fits.curves import CURVES
from quanta.analysis.fits.errors import TooFewPoints
from quanta.analysis.fits.intervals import Interval, mean_over_seeds
from quanta.analysis.learned.agreement import consensus_order, summarize_q_sequence
from quanta.analysis.learned.budget import FALL, PARTS, Budget, measure_budget
from quanta.analysis.learned.growth import TimeLaw, measure_time_law
from quanta.analysis.learned.order import find_inversions, tabulate_q_sequence
from quanta.analysis.learned.times import time_bounds
from quanta.analysis.theories.quanta import FiniteK
from quanta.analysis.verdict.growth import nearest_law
from quanta.analysis.verdict.statistics import AtTau, Statistics
from quanta.tasks.numerics import own_errors

FALLS = (FALL / 2, FALL, 2 * FALL)
"""Shares lost since half the steps by which half-learned subtasks count as falling: the usual, half and twice
it."""
N_STEPS = 12
"""Ends of training at which a law of learning times is measured."""


@dataclass(frozen=True)
class Parts:
    """Where an exponent comes from.

    Attributes
    ----------
    exponent : Interval
        Of the mean loss, positive for a falling one.
    carries : dict of str to Interval
        What each part of the loss carries of it, in the order of `quanta.analysis.learned.budget.PARTS`.
    shares : dict of str to Interval
        The same as a share of the exponent.
    shares_of_ends : dict of str to Interval
        The shares between the first and the last place alone.
    """

    exponent: Interval
    carries: dict[str, Interval]
    shares: dict[str, Interval]
    shares_of_ends: dict[str, Interval]


def sum_up_budgets(statistics: Statistics, confidence: float) -> dict[str, Parts]:
    """Sum up over seeds where the exponent along each axis comes from."""
    found = {}
    for name, budget in statistics.here.budgets.items():
        ends = measure_budget(statistics.base.traces[name], statistics.tau, weights="ends")
        found[name] = Parts(
            exponent=_mean(budget.exponent, confidence),
            carries=_by_part(budget.exponents, confidence),
            shares=_by_part(budget.shares, confidence),
            shares_of_ends=_by_part(ends.shares, confidence),
        )
    return found


def _mean(values: np.ndarray[Any, Any], confidence: float) -> Interval:
    """As `mean_over_seeds`, where a share of an exponent of 0 is not known."""
    return mean_over_seeds(np.where(np.isfinite(values), values, np.nan), confidence)


def _by_part(values: np.ndarray[Any, Any], confidence: float) -> dict[str, Interval]:
    return {part: _mean(values[:, i], confidence) for i, part in enumerate(PARTS)}


def tabulate_budget(statistics: Statistics, confidence: float) -> pd.DataFrame:
    """Tabulate where the exponents come from.

    Returns
    -------
    DataFrame
        One row an (axis, part), the whole as part "all": axis, part, exponent with exponent_lower and
        exponent_upper, share with its interval, and share_of_ends.
    """
    rows = []
    for axis, parts in sum_up_budgets(statistics, confidence).items():
        rows.append({"axis": axis, "part": "all", **_columns("exponent", parts.exponent)})
        for part in PARTS:
            rows.append(
                {
                    "axis": axis,
                    "part": part,
                    **_columns("exponent", parts.carries[part]),
                    **_columns("share", parts.shares[part]),
                    "share_of_ends": parts.shares_of_ends[part].estimate,
                }
            )
    return pd.DataFrame(rows)


def tabulate_loss_parts(statistics: Statistics) -> pd.DataFrame:
    """Tabulate the parts of the loss at every place of every axis, a column each."""
    tables = []
    for axis, budget in statistics.here.budgets.items():
        for seed, parts in zip(statistics.base.left.seed, budget.parts, strict=True):
            table = pd.DataFrame(parts, columns=list(PARTS))
            tables.append(table.assign(axis=axis, x=budget.x, seed=seed, loss=parts.sum(axis=1)))
    columns = ["axis", "x", "seed", "loss", *PARTS]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def tabulate_sensitivity(statistics: Statistics, confidence: float) -> pd.DataFrame:
    """Tabulate how the claims move with τ, with what counts as falling, and with the weights.

    Returns
    -------
    DataFrame
        One row a choice: `choice` and `value`; n_learned at the widest; and with `_lower` and `_upper` the
        shares of the exponent along N that the count carries alone (`count`) and with what still falls
        (`with_falling`), `beta` and `gamma`, which move with τ alone.
    """
    rows = []
    for tau, one in statistics.by_tau.items():
        counted = _shares(one.budgets.get("N"), confidence)
        rows.append({"choice": "tau", "value": f"{tau:g}", **_of_tau(one, confidence), **counted})
    trace = statistics.base.traces.get("N")
    if trace is not None:
        for fall in FALLS:
            counted = _shares(measure_budget(trace, statistics.tau, fall), confidence)
            rows.append({"choice": "falling", "value": f"{fall:g}", **counted})
        ends = measure_budget(trace, statistics.tau, weights="ends")
        rows.append({"choice": "weights", "value": "ends", **_shares(ends, confidence)})
    return pd.DataFrame(rows)


def _of_tau(one: AtTau, confidence: float) -> dict[str, float | None]:
    return {
        "n_learned": float(one.n_learned[:, -1].mean()),
        **_columns("beta", _mean(one.time_laws["S"].beta, confidence)),
        **_columns("gamma", one.mean_gamma(confidence)),
    }


def _shares(budget: Budget | None, confidence: float) -> dict[str, float | None]:
    if budget is None:
        return {}
    alone, falling = (budget.shares[:, PARTS.index(part)] for part in ("count", "falling"))
    return {
        **_columns("count", _mean(alone, confidence)),
        **_columns("with_falling", _mean(alone + falling, confidence)),
    }


def tabulate_time_laws(statistics: Statistics, confidence: float) -> pd.DataFrame:
    """Tabulate β in S_k ∝ p_k^-β at every width, of all ranks learned, their halves and their quarters.

    Returns
    -------
    DataFrame
        One row a width: width, n_parameters, beta, first, later and quarter_1 to quarter_4 with `_lower` and
        `_upper`, sigma, the scatter of log learning time, and beta_type_one: β if what is not learned were
        later than the last evaluation, and not than the last that was. NaN where too few are learned.
    """
    left = statistics.base.left
    rows = []
    for i, width in enumerate(left.width):
        law = measure_time_law(left.frequency, *time_bounds(statistics.here.times, i))
        row = {"width": int(width), "n_parameters": int(left.n_parameters[i])}
        to_the_end = time_bounds(statistics.here.times, i, type_one=True)
        type_one = measure_time_law(left.frequency, *to_the_end, parts=False).beta
        columns = _law_columns(law, confidence) | {"beta_type_one": _mean(type_one, confidence).estimate}
        rows.append(row | columns)
    return pd.DataFrame(rows)


def tabulate_time_laws_until(
    statistics: Statistics, confidence: float, n_steps: int = N_STEPS
) -> pd.DataFrame:
    """Tabulate β of the widest network as it would have been found had training ended earlier.

    Parameters
    ----------
    statistics : Statistics
    confidence : float
    n_steps : int, default 12
        Evaluations at which training is taken to end, spread evenly on a log scale from the first at which
        any seed has learned something to the last.

    Returns
    -------
    DataFrame
        One row a step: step, and the columns of `tabulate_time_laws` from beta on.
    """
    left, times = statistics.base.left, statistics.here.times
    first = float(times["step_upper"].isel(width=-1).min())
    rows = []
    if np.isfinite(first):
        places = np.geomspace(first, left.step[-1], n_steps)
        for step in np.unique(left.step[np.searchsorted(left.step, places).clip(max=left.step.size - 1)]):
            law = measure_time_law(left.frequency, *time_bounds(times, until=step))
            rows.append({"step": float(step), **_law_columns(law, confidence)})
    return pd.DataFrame(rows)


def _law_columns(law: TimeLaw, confidence: float) -> dict[str, float | None]:
    values = {"beta": law.beta, "first": law.first, "later": law.later}
    values |= {f"quarter_{q + 1}": law.quarters[:, q] for q in range(4)}
    row: dict[str, float | None] = {}
    for name, of_seeds in values.items():
        row |= _columns(name, _mean(of_seeds, confidence))
    return row | {"sigma": _mean(law.scatter, confidence).estimate}


def tabulate_drops(statistics: Statistics, confidence: float) -> pd.DataFrame:
    """Tabulate how sharply the subtasks of the widest fell, by metric.

    Returns
    -------
    DataFrame
        One row a metric: metric, share (of the fall of the mean in drops) and factor (in steps from 90 to 10
        % of its own fall, median over subtasks), both with their intervals, and resolved (share of the fall
        that evaluations place).
    """
    rows = []
    for metric, drops in statistics.base.drops.items():
        rows.append(
            {
                "metric": metric,
                **_columns("share", _mean(np.array([one.mean_share for one in drops]), confidence)),
                **_columns("factor", _mean(np.array([one.median_factor for one in drops]), confidence)),
                "resolved": _mean(np.array([one.resolved for one in drops]), confidence).estimate,
            }
        )
    return pd.DataFrame(rows)


def tabulate_networks(statistics: Statistics) -> pd.DataFrame:
    """Tabulate what every network learned, one row each."""
    left, here = statistics.base.left, statistics.here
    mean_loss = left.end[-1] @ (left.frequency * left.chance)
    n_seeds, n_widths = mean_loss.shape
    return pd.DataFrame(
        {
            "seed": np.repeat(left.seed, n_widths),
            "width": np.tile(left.width, n_seeds),
            "n_parameters": np.tile(left.n_parameters.astype(np.int64), n_seeds),
            "mean_loss": mean_loss.ravel(),
            "n_learned": here.n_learned.ravel(),
            "is_full": here.is_full.ravel(),
            "concordance": here.concordance.ravel(),
            "relapse": left.relapse[-1].ravel(),
        }
    )


def tabulate_models(statistics: Statistics) -> pd.DataFrame:
    """Tabulate how rival laws of the mean loss along each axis forecast, and how they do without a seed.

    Returns
    -------
    DataFrame
        One row an (axis, model), the best of an axis first: axis, model, the columns of
        `quanta.analysis.fits.comparison.Rival`, and `parameters` as JSON.
    """
    rows = []
    for axis in (one.axis for one in statistics.base.traces.values()):
        try:
            rivals = compare_along(statistics, axis)
        except TooFewPoints:
            continue
        for rival in rivals:
            parameters = {} if rival.fit is None else rival.fit.parameters
            row = {name: getattr(rival, name) for name in _OF_RIVAL}
            rows.append({"axis": axis.name, **row, "parameters": json.dumps(parameters)})
    return pd.DataFrame(rows, columns=["axis", *_OF_RIVAL, "parameters"])


def compare_along(statistics: Statistics, axis: Axis, hold_out: float = 2.0) -> tuple[Rival, ...]:
    """Compare rival laws of the mean loss along an axis, that of finitely many quanta among them.

    Parameters
    ----------
    statistics : Statistics
    axis : Axis
        Along which there are three places or more.
    hold_out : float, default 2
        As in `quanta.analysis.fits.comparison.compare_models`.

    Returns
    -------
    tuple of Rival
        The best first.

    Raises
    ------
    TooFewPoints
        If the points allow no fit at all, or none can be held out.
    """
    x, loss = statistics.here.loss_points(axis)
    chance = float(statistics.base.left.chance.mean())
    frequency = statistics.base.left.frequency
    finite = (FiniteK(frequency, chance),) if frequency.size > 1 else ()  # of one subtask there is no law
    return compare_models(x, loss, (*CURVES, *finite), hold_out=hold_out)


_OF_RIVAL = ("model", "forecast_error", "n_held_out", "score", "difference", "difference_stderr", "message")


def _columns(name: str, found: Interval) -> dict[str, float | None]:
    return {name: found.estimate, f"{name}_lower": found.lower, f"{name}_upper": found.upper}


def tabulate_widths(statistics: Statistics, confidence: float) -> pd.DataFrame:
    """Tabulate what every width learned, means over seeds, one row each."""
    networks, left = tabulate_networks(statistics), statistics.base.left
    rows = []
    for i, width in enumerate(left.width):
        group = networks[networks["width"] == width]
        row: dict[str, float | None] = {"width": int(width), "n_parameters": int(left.n_parameters[i])}
        row["n_full"] = int(group["is_full"].sum())
        for name in ("n_learned", "concordance", "mean_loss"):
            row |= _columns(name, _mean(group[name].to_numpy(dtype=np.float64), confidence))
        rows.append(row)
    return pd.DataFrame(rows)


@own_errors()
def tabulate(statistics: Statistics, confidence: float) -> dict[str, pd.DataFrame]:
    """Make every table beside a verdict, by the name of its file."""
    times = statistics.here.times
    return {
        "budget": tabulate_budget(statistics, confidence),
        "loss_parts": tabulate_loss_parts(statistics),
        "sensitivity": tabulate_sensitivity(statistics, confidence),
        "learning_times": tabulate_time_laws(statistics, confidence),
        "drops": tabulate_drops(statistics, confidence),
        "laws": pd.DataFrame(nearest_law(statistics.here, confidence)),
        "models": tabulate_models(statistics),
        "widths": tabulate_widths(statistics, confidence),
        "networks": tabulate_networks(statistics),
        "agreement": summarize_q_sequence(times, confidence=confidence),
        "consensus": consensus_order(times, confidence=confidence),
        "inversions": find_inversions(times.isel(width=[-1])),
        "q_sequence": tabulate_q_sequence(times),
    }
