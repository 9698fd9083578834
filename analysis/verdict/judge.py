"""The verdict: does the loss power law come from the count of subtasks learned."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from quanta.analysis.learned.discreteness import measure_discreteness
from quanta.analysis.learned.reconstruction import measure_reconstruction
from quanta.analysis.verdict.checks import (
    MIN_LEARNED,
    Check,
    check_count,
    check_data,
    check_exponent,
    check_learning_time,
    check_order,
    check_reconstruction,
    check_steps,
    check_which,
)
from quanta.analysis.verdict.exponents import Exponent, exponents
from quanta.analysis.verdict.measurement import Measured, measure
from quanta.tasks.config import one_line

SCHEMA = 1
"""Version of the JSON that `Verdict.to_dict` returns."""


@dataclass(frozen=True)
class Verdict:
    """What `judge` found.

    Attributes
    ----------
    study : str or None
        Name of the study, or what its curves say of where they come from.
    outcome : str
        "supported", "rejected" or "inconclusive".
    checks : tuple of Check
    exponents : dict of str to Exponent
        `alpha_N`, `alpha_S`, `alpha_D`, `beta` (S_k ∝ p_k^-beta), `gamma` (n ∝ N^gamma) and `gamma_S`
        (n ∝ S^gamma_S).
    learned : list of dict
        One a (seed, width): seed, width, n_parameters, count, subtasks (ranks, ascending).
    scaling : DataFrame
        One row a (seed, width): seed, width, n_parameters, mean_loss, reconstructed_loss, n_learned,
        concordance.
    settings : dict
        What was judged and how: alpha, n_train, n_subtasks, n_seeds, tau, confidence, n_bootstrap,
        n_permutations, seed.
    """

    study: str | None
    outcome: str
    checks: tuple[Check, ...]
    exponents: dict[str, Exponent]
    learned: list[dict[str, Any]]
    scaling: pd.DataFrame
    settings: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into verdict.json: plain types, None for what is not known or not finite."""
        record = {
            "schema": SCHEMA,
            "study": self.study,
            "outcome": self.outcome,
            "settings": self.settings,
            "checks": [asdict(check) for check in self.checks],
            "exponents": {name: asdict(exponent) for name, exponent in self.exponents.items()},
            "learned": self.learned,
        }
        return {name: _plain(value) for name, value in record.items()}


def judge(
    curves: xr.Dataset,
    *,
    tau: float = 0.1,
    confidence: float = 0.9,
    n_bootstrap: int = 2000,
    n_permutations: int = 999,
    seed: int = 0,
) -> Verdict:
    """Judge whether the loss power law of a slice comes from the count of subtasks learned.

    Parameters
    ----------
    curves : Dataset
        A slice (see `analysis.select`).
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    confidence : float, default 0.9
        Nominal coverage of the intervals.
    n_bootstrap : int, default 2000
        Resamples of the seeds behind the bootstrap intervals of the exponents.
    n_permutations : int, default 999
        Random choices of the learned subtasks behind the p-values.
    seed : int, default 0
        Of resamples and permutations.

    Returns
    -------
    Verdict
        "inconclusive" where there are too few data, except that an order which is clearly not that of
        frequency rejects whatever else is missing. "supported" if every check passes; "rejected" if one
        clearly fails, with its whole interval on the wrong side; "inconclusive" between the two.

    Raises
    ------
    ValueError
        If `curves` is not a slice, or an argument is out of its range.
    """
    m = measure(curves, tau, confidence)
    rebuilt = measure_reconstruction(curves, m.times, n_permutations=n_permutations, seed=seed)
    steps = measure_discreteness(curves, confidence=confidence)
    checks = (
        check_data(m),
        check_order(m),
        check_learning_time(m),
        check_count(m),
        check_reconstruction(m, rebuilt),
        check_which(rebuilt),
        check_exponent(m),
        check_steps(steps),
    )
    return Verdict(
        study=_study_name(curves.attrs.get("study")),
        outcome=_outcome(m, checks),
        checks=checks,
        exponents=exponents(m, n_bootstrap, seed),
        learned=_learned(m),
        scaling=_scaling(m),
        settings={
            "alpha": m.alpha,
            "n_train": float(curves["n_train"]),
            "n_subtasks": m.frequency.size,
            "n_seeds": m.n_seeds,
            "tau": tau,
            "confidence": confidence,
            "n_bootstrap": n_bootstrap,
            "n_permutations": n_permutations,
            "seed": seed,
        },
    )


def _outcome(m: Measured, checks: Sequence[Check]) -> str:
    enough_data, *others = checks
    clear = {check.name for check in others if check.passed is False}
    if "order" in clear and m.n_learned[:, -1].mean() >= MIN_LEARNED:
        return "rejected"
    if not enough_data.passed:
        return "inconclusive"
    if clear:
        return "rejected"
    return "supported" if all(check.passed for check in others) else "inconclusive"


def _plain(value: Any) -> Any:
    """Put None for numbers that JSON does not have, at any depth."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _learned(m: Measured) -> list[dict[str, Any]]:
    learned = m.times["learned"].transpose("seed", "width", "subtask").values
    return [
        {
            "seed": int(m.times["seed"][s]),
            "width": int(m.width[w]),
            "n_parameters": int(m.n_parameters[w]),
            "count": int(learned[s, w].sum()),
            "subtasks": m.times["subtask"].values[learned[s, w]].tolist(),
        }
        for s, w in np.ndindex(learned.shape[:2])
    ]


def _scaling(m: Measured) -> pd.DataFrame:
    n_seeds, n_widths = m.n_learned.shape
    return pd.DataFrame(
        {
            "seed": np.repeat(m.times["seed"].values, n_widths),
            "width": np.tile(m.width, n_seeds),
            "n_parameters": np.tile(m.n_parameters.astype(np.int64), n_seeds),
            "mean_loss": m.loss.ravel(),
            "reconstructed_loss": m.rebuilt.ravel(),
            "n_learned": m.n_learned.ravel(),
            "concordance": m.concordance.ravel(),
        }
    )


def _study_name(study: str | None) -> str | None:
    """Name in the JSON of a study; text that is something else is its own name."""
    if study is None:
        return None
    try:
        spec = json.loads(study)
    except (ValueError, RecursionError):  # no JSON, or some that goes on and on
        return one_line(study)
    return one_line(spec["name"] if isinstance(spec, dict) and "name" in spec else study)
