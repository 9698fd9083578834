"""What stands beside a verdict: how it moves with τ, rival models of the loss, tables for a closer look."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from quanta.analysis.fits.forecasts import Scale, audit_windows, compare_models, scaling_points
from quanta.analysis.learned.agreement import consensus_order, summarize_q_sequence
from quanta.analysis.learned.discreteness import Discreteness, measure_discreteness
from quanta.analysis.learned.order import find_inversions, tabulate_q_sequence
from quanta.analysis.learned.times import learning_times
from quanta.analysis.verdict.judge import judge
from quanta.analysis.verdict.measurement import average, measure, time_scatters, time_slopes

TAUS = (0.05, 0.1, 0.2, 0.5)
"""Thresholds in bits at which answers are compared: half and twice the usual 0.1, and half of chance."""

SCALES: tuple[Scale, ...] = ("parameters", "steps")


@dataclass(frozen=True)
class Evidence:
    """Tables beside a verdict; each is a DataFrame, empty where there is nothing to say.

    Attributes
    ----------
    by_tau : DataFrame
        From `judge_by_tau`.
    models : DataFrame
        `compare_models` for the loss in parameters and in steps, told apart by the column `scale`.
    windows : DataFrame
        `audit_windows` likewise.
    learning_times : DataFrame
        β of every width; from `tabulate_time_slopes`.
    agreement : DataFrame
        From `summarize_q_sequence`.
    consensus : DataFrame
        From `consensus_order`, at the widest.
    inversions : DataFrame
        From `find_inversions`, at the widest.
    discreteness : DataFrame
        One row a metric: the numbers of `Discreteness`.
    q_sequence : DataFrame
        From `tabulate_q_sequence`.
    """

    by_tau: pd.DataFrame
    models: pd.DataFrame
    windows: pd.DataFrame
    learning_times: pd.DataFrame
    agreement: pd.DataFrame
    consensus: pd.DataFrame
    inversions: pd.DataFrame
    discreteness: pd.DataFrame
    q_sequence: pd.DataFrame


def gather_evidence(
    curves: xr.Dataset,
    *,
    tau: float = 0.1,
    confidence: float = 0.9,
    taus: Sequence[float] = TAUS,
    seed: int = 0,
) -> Evidence:
    """Gather what stands beside the verdict on a slice.

    Parameters
    ----------
    curves : Dataset
        A slice (see `analysis.select`).
    tau : float, default 0.1
        Loss in bits below which a subtask is learned, for all but `by_tau`.
    confidence : float, default 0.9
        Nominal coverage of the intervals.
    taus : sequence of float
        For `by_tau`; `tau` is added.
    seed : int, default 0
        Of the permutations.

    Returns
    -------
    Evidence

    Raises
    ------
    ValueError
        If `curves` is not a slice, or an argument is out of its range.
    """
    times = learning_times(curves, tau)
    widest = times.isel(width=[-1])
    return Evidence(
        by_tau=judge_by_tau(curves, sorted({*taus, tau}), confidence=confidence, seed=seed),
        models=_by_scale(curves, tau, models=True),
        windows=_by_scale(curves, tau, models=False),
        learning_times=tabulate_time_slopes(curves, tau=tau, confidence=confidence),
        agreement=summarize_q_sequence(times, confidence=confidence),
        consensus=consensus_order(times, confidence=confidence),
        inversions=find_inversions(widest),
        discreteness=_tabulate_discreteness(measure_discreteness(curves, confidence=confidence)),
        q_sequence=tabulate_q_sequence(times),
    )


def judge_by_tau(
    curves: xr.Dataset, taus: Sequence[float] = TAUS, *, confidence: float = 0.9, seed: int = 0
) -> pd.DataFrame:
    """Judge a slice at several thresholds of learning.

    Parameters
    ----------
    curves : Dataset
        A slice.
    taus : sequence of float
        Losses in bits, each between 0 and 1 (chance).
    confidence, seed
        As in `judge`.

    Returns
    -------
    DataFrame
        One row a τ, with the columns tau, outcome, n_learned (at the widest, mean over seeds) and, with the
        interval as `…_lower` and `…_upper`, the statistic of every check by its name. NaN where not known.
    """
    rows = []
    for tau in taus:
        verdict = judge(curves, tau=tau, confidence=confidence, n_bootstrap=1, seed=seed)
        widest = verdict.scaling["width"] == verdict.scaling["width"].max()
        row = {
            "tau": tau,
            "outcome": verdict.outcome,
            "n_learned": verdict.scaling.loc[widest, "n_learned"].mean(),
        }
        for check in verdict.checks[1:]:
            row |= {check.name: check.statistic}
            row |= {f"{check.name}_lower": check.lower, f"{check.name}_upper": check.upper}
        rows.append(row)
    table = pd.DataFrame(rows)
    numbers = table.columns.drop("outcome")
    return table.astype(dict.fromkeys(numbers, np.float64))


def tabulate_time_slopes(curves: xr.Dataset, *, tau: float = 0.1, confidence: float = 0.9) -> pd.DataFrame:
    """Tabulate β in S_k ∝ p_k^-β at every width.

    Parameters
    ----------
    curves : Dataset
        A slice.
    tau, confidence
        As in `judge`.

    Returns
    -------
    DataFrame
        One row a width: width, n_parameters, beta with beta_lower and beta_upper (over seeds), sigma (scatter
        of log learning time). NaN where too few are learned.
    """
    m = measure(curves, tau, confidence)
    rows = []
    for i, width in enumerate(m.width):
        beta = average(time_slopes(m, i), confidence)
        scatter = average(time_scatters(m, i), confidence)
        rows.append(
            {
                "width": int(width),
                "n_parameters": int(m.n_parameters[i]),
                "beta": beta and beta.estimate,
                "beta_lower": beta and beta.lower,
                "beta_upper": beta and beta.upper,
                "sigma": scatter and scatter.estimate,
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(("beta", "beta_lower", "beta_upper", "sigma"), np.float64))


def _by_scale(curves: xr.Dataset, tau: float, *, models: bool) -> pd.DataFrame:
    """Compare models, or audit windows, at each scale whose points allow it."""
    tables = []
    for scale in SCALES:
        try:
            x, y = scaling_points(curves, scale, tau=tau)
            if models:
                table = compare_models(x, y, frequency=curves["frequency"].values)
            else:
                table = audit_windows(x, y)
        except ValueError:  # too few points, or a loss of 0
            continue
        tables.append(table.assign(scale=scale))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["scale"])


def _tabulate_discreteness(found: dict[str, Discreteness]) -> pd.DataFrame:
    rows = []
    for metric, one in found.items():
        row: dict[str, object] = {"metric": metric, "n_drops": one.n_drops, "dip": one.dip}
        for name in ("drop_factor", "drop_over_spacing", "share_in_drops", "share_between"):
            interval = getattr(one, name)
            row[name] = interval and interval.estimate
            row[f"{name}_lower"] = interval and interval.lower
            row[f"{name}_upper"] = interval and interval.upper
        rows.append(row)
    return pd.DataFrame(rows)
