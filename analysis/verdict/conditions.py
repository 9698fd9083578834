"""Exponents as functions of the conditions: what was measured in each slice beside what theories predict.

It only assembles: exponents and answers are those of the verdicts, predictions those of `exponents.predict`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quanta.analysis.axes import RESOURCES, Axis
from quanta.analysis.fits.intervals import difference_of_means
from quanta.analysis.theories import protocol
from quanta.analysis.theories.domino import Domino
from quanta.analysis.verdict.exponents import predict
from quanta.analysis.verdict.judge import Verdict
from quanta.tasks.numerics import own_errors

Array = NDArray[np.float64]

SCHEMA = 1
"""Version of the JSON that `Conditions.to_dict` returns."""

PREDICTIONS = ("infinite", "finite", "serial")
"""Infinitely many subtasks: α along N, α/(1+α) along S and D. Finite K and serial: what is measured on curves
that the multilinear model and the Domino model make at the constants fitted to the slice. For infinitely many
subtasks one after another gives α along S too."""

Value = float | int | str


@dataclass(frozen=True)
class Compared:
    """One exponent of one slice; None where not known.

    Attributes
    ----------
    estimate, lower, upper : float or None
        Mean over seeds with Student's interval.
    infinite, finite, serial : float or None
        What is predicted; see `PREDICTIONS`.
    """

    estimate: float | None
    lower: float | None
    upper: float | None
    infinite: float | None
    finite: float | None
    serial: float | None


@dataclass(frozen=True)
class Row:
    """One slice.

    Attributes
    ----------
    condition : dict of str to value
        Such as ``{"alpha": 0.4, "n_subtasks": 64}``.
    n_seeds : int
    exponents : dict of str to Compared
        Of the loss: "alpha_N", "alpha_S", "alpha_D", those that there are.
    outcomes : dict of str to str
        Of both questions, by name.
    """

    condition: dict[str, Value]
    n_seeds: int
    exponents: dict[str, Compared]
    outcomes: dict[str, str]


@dataclass(frozen=True)
class Change:
    """How an exponent changes from one slice to another.

    Attributes
    ----------
    exponent : str
    start, end : dict of str to value
        Conditions.
    estimate, lower, upper : float or None
        Difference of means over seeds, with Welch's interval.
    p_value : float or None
        Of no change.
    infinite, finite, serial : float or None
        The change that is predicted.
    """

    exponent: str
    start: dict[str, Value]
    end: dict[str, Value]
    estimate: float | None
    lower: float | None
    upper: float | None
    p_value: float | None
    infinite: float | None
    finite: float | None
    serial: float | None


@dataclass(frozen=True)
class Conditions:
    """Exponents as functions of the conditions.

    Attributes
    ----------
    study : str or None
    confidence : float
        Nominal coverage of the intervals.
    varied : tuple of str
        Conditions of which there are several values.
    rows : tuple of Row
        In the order of the study.
    errors : dict of str to dict
        By exponent and prediction: root mean square of measured less predicted, over the slices of which the
        exponent and all predictions that any slice has are known; and `n`, their number. None where there is
        none.
    changes : tuple of Change
        Of each exponent from the first slice to the last, where one condition varies.
    """

    study: str | None
    confidence: float
    varied: tuple[str, ...]
    rows: tuple[Row, ...]
    errors: dict[str, dict[str, float | None]]
    changes: tuple[Change, ...]

    @property
    def exponents(self) -> tuple[str, ...]:
        """Names of the exponents that some slice has, in the order of the axes."""
        return tuple(
            axis.exponent for axis in RESOURCES if any(axis.exponent in r.exponents for r in self.rows)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into conditions.json: plain types, None for what is not known."""
        return {"schema": SCHEMA, **asdict(self)}


@own_errors()
def compare_conditions(slices: Iterable[tuple[Mapping[str, Value], Verdict]], *, seed: int = 0) -> Conditions:
    """Put the exponents of several slices of a study beside what theories predict.

    Parameters
    ----------
    slices : iterable of (mapping, Verdict)
        The condition of each, all with the same names, and what `judge` found there at one confidence. They
        are taken one by one, so that an iterator need not hold all curves at once.
    seed : int, default 0
        Of the simulations of the serial theory.

    Returns
    -------
    Conditions

    Raises
    ------
    ValueError
        If there is no slice.
    """
    rows, of_seeds, study, confidence = [], [], None, math.nan
    for condition, verdict in slices:
        rows.append(_row(dict(condition), verdict, seed))
        of_seeds.append(_of_seeds(verdict))
        study, confidence = verdict.study, verdict.settings["confidence"]
    if not rows:
        raise ValueError("slices must be at least one")
    names = list(rows[0].condition)
    varied = tuple(name for name in names if len({row.condition[name] for row in rows}) > 1)
    along = [axis for axis in RESOURCES if any(axis.exponent in row.exponents for row in rows)]
    return Conditions(
        study=study,
        confidence=confidence,
        varied=varied,
        rows=tuple(rows),
        errors={axis.exponent: _errors([row.exponents.get(axis.exponent) for row in rows]) for axis in along},
        changes=tuple(_changes(rows, of_seeds, along, confidence)) if len(varied) == 1 else (),
    )


def _row(condition: dict[str, Value], verdict: Verdict, seed: int) -> Row:
    here = verdict.statistics.here
    serial = predict(here, Domino, seed=seed)
    exponents = {}
    for axis in (one.axis for one in here.base.traces.values()):
        found = verdict.exponents[axis.exponent]
        speaks = protocol.RESOURCES[axis.name] in Domino.resources
        exponents[axis.exponent] = Compared(
            found.estimate,
            found.lower,
            found.upper,
            found.expected_infinite,
            found.expected,
            serial.get(axis.exponent) if speaks else None,
        )
    outcomes: dict[str, str] = {name: question.outcome for name, question in verdict.questions.items()}
    return Row(condition, here.base.left.seed.size, exponents, outcomes)


def _of_seeds(verdict: Verdict) -> dict[str, Array]:
    """Return the exponents of the loss in each seed, (S,)."""
    here = verdict.statistics.here
    return {one.axis.exponent: here.loss_exponent(one.axis) for one in here.base.traces.values()}


def _errors(compared: Sequence[Compared | None]) -> dict[str, float | None]:
    """Sum up how far predictions are off, over the slices of which all that any slice has is known."""
    measured = [one for one in compared if one is not None and one.estimate is not None]
    made = [name for name in PREDICTIONS if any(getattr(one, name) is not None for one in measured)]
    known = [one for one in measured if all(getattr(one, name) is not None for name in made)]
    found: dict[str, float | None] = dict.fromkeys(PREDICTIONS)
    for name in made if known else ():
        off = [one.estimate - getattr(one, name) for one in known if one.estimate is not None]
        found[name] = float(np.sqrt(np.mean(np.square(off))))
    return found | {"n": len(known)}


def _changes(
    rows: Sequence[Row], of_seeds: Sequence[dict[str, Array]], along: Sequence[Axis], confidence: float
) -> list[Change]:
    found = []
    for axis in along:
        ends = [row.exponents.get(axis.exponent) for row in (rows[0], rows[-1])]
        if ends[0] is None or ends[1] is None:
            continue
        first, last = (of_seeds[place][axis.exponent] for place in (0, -1))
        measured, p_value = difference_of_means(last, first, confidence)
        found.append(
            Change(
                axis.exponent,
                rows[0].condition,
                rows[-1].condition,
                None if math.isnan(measured.estimate) else measured.estimate,
                measured.lower,
                measured.upper,
                p_value,
                *(_difference(getattr(ends[1], name), getattr(ends[0], name)) for name in PREDICTIONS),
            )
        )
    return found


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def tabulate_conditions(found: Conditions) -> pd.DataFrame:
    """Tabulate slices, a row each.

    Parameters
    ----------
    found : Conditions

    Returns
    -------
    DataFrame
        A column a condition, n_seeds, each exponent with `_lower`, `_upper`, `_infinite`, `_finite` and
        `_serial` behind its name, and the outcomes `count` and `growth`.
    """
    rows = []
    for row in found.rows:
        cells: dict[str, Any] = {**row.condition, "n_seeds": row.n_seeds}
        for name in found.exponents:
            values = asdict(row.exponents[name]) if name in row.exponents else {}
            cells[name] = values.get("estimate")
            cells |= {f"{name}_{key}": values.get(key) for key in ("lower", "upper", *PREDICTIONS)}
        rows.append(cells | row.outcomes)
    return pd.DataFrame(rows)
