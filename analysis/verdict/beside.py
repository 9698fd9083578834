"""Measured exponents beside those that were published, and what theories predict of the same reading."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from quanta.analysis.fits.errors import NoEstimate
from quanta.analysis.fits.intervals import Interval, mean_over_seeds
from quanta.analysis.theories.domino import Domino
from quanta.analysis.theories.multilinear import Multilinear
from quanta.analysis.theories.protocol import Theory
from quanta.analysis.theories.quanta import expected_exponents
from quanta.analysis.theories.smooth import Smooth
from quanta.analysis.theories.spectral import Spectral
from quanta.analysis.verdict.exponents import LAWS, measure_exponents
from quanta.analysis.verdict.judge import plain, study_name
from quanta.analysis.verdict.predictions import expect
from quanta.analysis.verdict.published import (
    OutOfReachError,
    Series,
    load_published,
    read_as_published,
)
from quanta.analysis.verdict.statistics import AtTau, measure
from quanta.tasks.numerics import own_errors

Array = NDArray[np.float64]

THEORIES: tuple[type[Theory], ...] = (Multilinear, Domino, Smooth, Spectral)
"""All at once as the hypothesis says, one after another, and two without quanta."""

OWN_FIT = "own fit"
"""How the verdict reads exponents: along S between the first and the last learning time; beta censored."""

INFINITE = "K = ∞"
"""What the hypothesis predicts for infinitely many subtasks, by formula."""


@dataclass(frozen=True)
class Prediction:
    """What a theory predicts of a reading.

    Attributes
    ----------
    value : float
    n_stderr : float or None
        By how many standard errors over seeds the reading is above it.
    disagrees : bool or None
        Whether that is beyond the Student quantile of the confidence.
    """

    value: float
    n_stderr: float | None
    disagrees: bool | None


@dataclass(frozen=True)
class Reading:
    """One exponent read off the curves, beside a published value and predictions; None where not known.

    Attributes
    ----------
    exponent : str
    by : str
        "own fit", or which points the paper's estimator has: "every 500 steps", "as evaluated", or "as
        published" where there is no choice.
    where : str or None
        Which network and window were published.
    study : str or None
        Which of its studies the published value is from.
    measured : Interval
    published : float or None
    error : float
        By how much the published value may be off.
    difference : float or None
        Measured less published.
    n_stderr : float or None
        The same in standard errors of the mean over seeds and of the published value together.
    disagrees : bool or None
        Whether that is beyond the Student quantile of the confidence.
    predicted : dict of str to Prediction
        By theory, of those that say something.
    """

    exponent: str
    by: str
    where: str | None
    study: str | None
    measured: Interval
    published: float | None
    error: float
    difference: float | None
    n_stderr: float | None
    disagrees: bool | None
    predicted: dict[str, Prediction]


@dataclass(frozen=True)
class Window:
    """The slope of the mean loss of the widest network over one window of steps."""

    steps: tuple[int, int]
    by: str
    slope: Interval


@dataclass(frozen=True)
class Comparison:
    """What `compare_published` found.

    Attributes
    ----------
    study : str or None
        Where the curves come from.
    source : str
        Where the published values come from.
    settings : dict
    notes : tuple of str
        What a reader has to know of the data.
    readings : tuple of Reading
    width : int
        Of the widest network.
    windows : tuple of Window
        Along S at that width.
    left_out : dict of str to str
        What was published and could not be read off these curves, and why.
    """

    study: str | None
    source: str
    settings: dict[str, Any]
    notes: tuple[str, ...]
    readings: tuple[Reading, ...]
    width: int
    windows: tuple[Window, ...]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, with None for what is not known."""
        found: dict[str, Any] = plain(asdict(self))
        return found


@own_errors()
def compare_published(curves: xr.Dataset, *, confidence: float = 0.9, seed: int = 0) -> Comparison:
    """Put the exponents of a slice beside the published ones, by own fits and by the paper's estimator.

    Parameters
    ----------
    curves : Dataset
        A slice (see `quanta.analysis.select`).
    confidence : float, default 0.9
        Nominal coverage of the intervals.
    seed : int, default 0
        Of the simulations behind what theories predict.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If `curves` is not a slice, or the confidence is out of its range.

    Notes
    -----
    A theory's prediction is what the same reading gives on curves that the theory makes at the constants that
    fit best, at the same sizes and seeds enough, so that finite K, windows and the width of drops are in it.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    here = measure(curves, taus=()).here
    curves, published = here.base.curves, load_published()
    theories = dict(_simulate(here, seed))
    alpha = here.base.alpha

    readings = list(_own_fits(here, theories, confidence))
    left_out: dict[str, str] = {}
    for series in published.series:
        if series.at(alpha) is None:
            continue
        for by, every in _spacings(series.exponent):
            try:
                measured = read_as_published(curves, series, every)
            except OutOfReachError as error:
                left_out[f"{series.exponent} at {series.where}"] = str(error)
                continue
            predicted = {
                name: _as_published(simulated.base.curves, series, every)
                for name, simulated in theories.items()
            }
            readings.append(_reading(series, by, measured, predicted, alpha, confidence))
    return Comparison(
        study=study_name(curves.attrs.get("study")),
        source=published.source,
        settings={
            "alpha": "uniform" if alpha == -1 else alpha,
            "n_subtasks": here.base.left.frequency.size,
            "n_seeds": here.base.left.seed.size,
            "confidence": confidence,
            "seed": seed,
        },
        notes=tuple(_notes(curves, alpha)),
        readings=tuple(sorted(readings, key=_place)),
        width=int(curves["width"].values[-1]),
        windows=tuple(_windows(curves, confidence)),
        left_out=left_out,
    )


def _simulate(here: AtTau, seed: int) -> Iterator[tuple[str, AtTau]]:
    """Let every theory that can be fitted make curves of its own."""
    for theory in THEORIES:
        try:
            simulated = expect(here, theory, seed=seed)
        except NoEstimate:
            continue
        if simulated is not None:
            yield theory.name, simulated


def _own_fits(here: AtTau, theories: dict[str, AtTau], confidence: float) -> Iterator[Reading]:
    """Measure exponents as the verdict does, beside each value that was published of one."""
    alpha, measured = here.base.alpha, measure_exponents(here)
    predicted = {name: measure_exponents(simulated) for name, simulated in theories.items()}
    for name in ("alpha_N", "alpha_S", "alpha_D", "beta"):
        if name in measured:
            of_theories = {theory: values.get(name) for theory, values in predicted.items()}
            there = [one for one in load_published().series if one.exponent == name]
            for series in [one for one in there if one.at(alpha) is not None] or [Series(name, "", (), ())]:
                yield _reading(series, OWN_FIT, measured[name], of_theories, alpha, confidence)


def _place(one: Reading) -> tuple[int, int]:
    """Sort by what was published: the readings of one value beside each other."""
    places = [(series.exponent, series.where) for series in load_published().series]
    where = one.exponent, one.where or ""
    return list(LAWS).index(one.exponent), places.index(where) if where in places else -1


def _spacings(exponent: str) -> list[tuple[str, int | None]]:
    """How the points of a curve may lie under the paper's estimator."""
    every = load_published().every
    return (
        [(f"every {every} steps", every), ("as evaluated", None)]
        if exponent == "alpha_S"
        else [("as published", None)]
    )


def _as_published(curves: xr.Dataset, series: Series, every: int | None) -> Array | None:
    try:
        return read_as_published(curves, series, every)
    except OutOfReachError:
        return None


def _reading(
    series: Series,
    by: str,
    measured: Array,
    predicted: dict[str, Array | None],
    alpha: float,
    confidence: float,
) -> Reading:
    """Hold what each seed gives against the value published at an α, if there is one, and predictions."""
    mean, published = mean_over_seeds(measured, confidence), series.at(alpha)
    known = measured[np.isfinite(measured)]
    stderr = float(known.std(ddof=1)) / math.sqrt(known.size) if mean.lower is not None else None

    def n_stderr(value: float | None, error: float) -> float | None:
        whole = math.hypot(stderr, error) if stderr is not None else 0.0
        return (mean.estimate - value) / whole if whole > 0 and value is not None else None

    def disagrees(off: float | None) -> bool | None:
        return None if off is None else bool(abs(off) > stats.t.ppf((1 + confidence) / 2, known.size - 1))

    off = n_stderr(published, series.error)
    values = {theory: _mean(of_seeds) for theory, of_seeds in predicted.items()}
    limits = expected_exponents(alpha) | {"beta": 1.0 if alpha > 0 else None}
    values[INFINITE] = limits[series.exponent]
    predictions = {}
    for theory, value in values.items():
        if value is not None:
            off_theory = n_stderr(value, 0.0)
            predictions[theory] = Prediction(value, off_theory, disagrees(off_theory))
    return Reading(
        exponent=series.exponent,
        by=by,
        where=series.where or None,
        study=series.study or None,
        measured=mean,
        published=published,
        error=series.error,
        difference=mean.estimate - published
        if published is not None and math.isfinite(mean.estimate)
        else None,
        n_stderr=off,
        disagrees=disagrees(off),
        predicted=predictions,
    )


def _mean(values: Array | None) -> float | None:
    """Mean over the simulated seeds in which it is known."""
    known = np.array([]) if values is None else values[np.isfinite(values)]
    return (
        float(known.mean()) if values is not None and known.size and 2 * known.size >= values.size else None
    )


def _windows(curves: xr.Dataset, confidence: float) -> Iterator[Window]:
    width = int(curves["width"].values[-1])
    for steps in load_published().windows:
        for by, every in _spacings("alpha_S"):
            slopes = _as_published(curves, Series("alpha_S", "", (), (), width=width, window=steps), every)
            if slopes is not None:
                yield Window(steps, by, mean_over_seeds(slopes, confidence))


def _notes(curves: xr.Dataset, alpha: float) -> Iterator[str]:
    if curves.attrs.get("left_out"):
        yield f"left out: {curves.attrs['left_out']}"
    if not any(series.at(alpha) is not None for series in load_published().series):
        where = "an α that is not known" if math.isnan(alpha) else f"α = {alpha:g}"
        yield f"nothing was published at {where}"
    own = {"n_subtasks": curves.sizes["subtask"]} | _study_settings(curves.attrs.get("study"))
    settings = load_published().settings
    others = [
        f"{name} {own[name]} ({value})" for name, value in settings.items() if own.get(name, value) != value
    ]
    if others:
        yield f"settings differ from those published, which are in brackets: {', '.join(others)}"
    unknown = [name for name in settings if name not in own]
    if unknown:
        yield f"settings that are not known: {', '.join(unknown)}"
    if curves.sizes["seed"] == 1:
        yield "one seed gives no standard error"


def _study_settings(study: object) -> dict[str, Any]:
    """Find the settings in the JSON of a study; none in text that is something else."""
    try:
        found = json.loads(study) if isinstance(study, str) else None
    except (ValueError, RecursionError):
        return {}
    sections: Sequence[Any] = list(found.values()) if isinstance(found, dict) else []
    return {name: value for one in sections if isinstance(one, dict) for name, value in one.items()}
