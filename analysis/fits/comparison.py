"""Which curve of the mean loss is nearer: by what it forecasts, and by the seeds it was not fitted to.

No information criterion: it takes points for independent, and those of one seed are not. Seeds are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quanta.analysis.fits.curves import CURVES, ScalingCurve
from quanta.analysis.fits.errors import NoEstimate
from quanta.analysis.fits.forecasts import forecast_error, hold_out_largest
from quanta.analysis.fits.power_laws import check_points
from quanta.analysis.fits.scaling import EXACT, ScalingFit, fit_scaling

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rival:
    """One curve among those that were compared.

    Attributes
    ----------
    model : str
        Name of the curve.
    fit : ScalingFit or None
        To the geometric mean over seeds of the points that were not held out; None if there is none.
    message : str
        How it was fitted, or why not.
    n_held_out : int
        Points held out.
    forecast_error : float
        Root mean square, over the points held out, of log y less log forecast. inf if a forecast is 0; NaN
        if nothing was held out or there is no fit.
    score : float
        Mean squared error of log y in a seed, of the curve fitted to the geometric mean of the other seeds;
        mean over seeds. NaN with one seed, or if the curve could not be fitted without some seed.
    difference : float
        The score less the smallest; NaN likewise.
    difference_stderr : float
        Standard error over seeds of that difference: one that is not well above it says little.
    """

    model: str
    fit: ScalingFit | None
    message: str
    n_held_out: int
    forecast_error: float
    score: float
    difference: float
    difference_stderr: float


def compare_models(
    x: ArrayLike,
    y: ArrayLike,
    curves: Sequence[ScalingCurve] = CURVES,
    *,
    hold_out: float | None = 2.0,
) -> tuple[Rival, ...]:
    """Compare curves of the mean loss by what they forecast and by leaving seeds out.

    Parameters
    ----------
    x : array_like, shape (n,)
        Positive and finite: a scale.
    y : array_like, shape (S, n), or (n,) for one seed
        Positive and finite: the mean loss of each seed.
    curves : sequence of ScalingCurve
        Of different names; by default those that come from no theory.
    hold_out : float or None, default 2
        The points within this factor of the largest x are held out of the fits that forecast them, at least
        one and never so many that fewer than three are left; see `hold_out_largest`. None: no point is. The
        scores are of all points.

    Returns
    -------
    tuple of Rival
        The best first: by score, with one seed by forecast error. Curves that are as good as the best to
        rounding go by their number of parameters, so that of two that fit exactly the simpler is first.
        Those of which it is not known are last.

    Raises
    ------
    TooFewPoints
        If the points allow no fit at all, or none can be held out.
    ValueError
        If a point has no logarithm, the shapes do not agree, there is no curve, or two have one name.

    Notes
    -----
    The error of a difference takes its values in the seeds for independent, although their fits share seeds:
    Vehtari, Gelman and Gabry (2017), doi:10.1007/s11222-016-9696-4, section 5.
    """
    x, y = np.asarray(x, dtype=np.float64), np.atleast_2d(np.asarray(y, dtype=np.float64))
    if y.ndim != 2 or len(y) == 0:
        raise ValueError(f"y must have the shape (seeds, points), not {y.shape}")
    for of_seed in y:
        check_points(x, of_seed)
    names = [curve.name for curve in curves]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"curves must be at least one, of different names, not {names}")
    held_out = np.zeros(x.size, dtype=bool) if hold_out is None else hold_out_largest(x, hold_out)
    squares = np.array([_leave_seeds_out(x, np.log(y), curve) for curve in curves])
    scores = squares.mean(axis=1)
    best = int(np.where(np.isnan(scores), np.inf, scores).argmin())
    rivals = [
        _describe(x, stats.gmean(y), curve, held_out, own, own - squares[best])
        for curve, own in zip(curves, squares, strict=True)
    ]
    by_score = len(y) > 1
    values = np.array([rival.score if by_score else rival.forecast_error for rival in rivals])
    values = np.where(np.isnan(values), np.inf, values)
    values[values <= values.min() + (EXACT**2 if by_score else EXACT)] = 0
    order = sorted(range(len(rivals)), key=lambda i: (values[i], len(curves[i].names)))
    return tuple(rivals[i] for i in order)


def _leave_seeds_out(x: Array, log_y: Array, curve: ScalingCurve) -> Array:
    """Mean squared error in each seed (S,) of the fit to the others; NaN if one could not be made."""
    none, found = np.full(len(log_y), np.nan), np.empty(len(log_y))
    if len(log_y) == 1:
        return none
    try:
        to_all = fit_scaling(x, stats.gmean(np.exp(log_y)), curve)
        for seed, own in enumerate(log_y):
            others = np.exp(np.delete(log_y, seed, axis=0).mean(axis=0))
            fit = fit_scaling(x, others, curve, near=to_all)
            found[seed] = ((own - np.log(fit.predict(x))) ** 2).mean()
    except NoEstimate:
        return none
    return found


def _describe(
    x: Array, y: Array, curve: ScalingCurve, held_out: NDArray[np.bool_], squares: Array, differences: Array
) -> Rival:
    """Put a curve into a record, given its errors in the seeds (S,) and those less the best's."""
    fit, message, error = None, "", math.nan
    try:
        fit = fit_scaling(x[~held_out], y[~held_out], curve)
        message = fit.message
        if held_out.any():
            error = forecast_error(fit, x[held_out], y[held_out])
    except NoEstimate as reason:
        message = str(reason)
    n_seeds = squares.size
    return Rival(
        model=curve.name,
        fit=fit,
        message=message,
        n_held_out=int(held_out.sum()),
        forecast_error=error,
        score=float(squares.mean()),
        difference=float(differences.mean()),
        difference_stderr=float(differences.std(ddof=1)) / math.sqrt(n_seeds) if n_seeds > 1 else math.nan,
    )
