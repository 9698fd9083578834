"""How well each model of the loss forecasts larger scales, and how a slope depends on its window."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quanta.analysis.fits.errors import FitError
from quanta.analysis.fits.power_laws import check_points
from quanta.analysis.fits.scaling import MODELS, Model, ScalingFit, fit_scaling
from quanta.analysis.learned.times import final_mean_loss, learning_times

Array = NDArray[np.float64]

Scale = Literal["parameters", "steps"]
"""What the loss of a slice can be scaled in."""

MIN_FITTED = 3
"""Points that are never held out: the fewest that leave a line something to miss."""
MIN_FACTOR = 4.0
"""Largest over smallest x of a window; a slope over less is hardly about scaling."""
MIN_POINTS = 3
"""Of a window; two always lie on a line."""
_ROUNDING = 1e-9
"""A window that is shorter than asked by less than this share is long enough."""
_NUMBERS = ["exponent", "residual_sd", "aicc", "delta_aicc", "forecast_error"]
_COLUMNS = [
    "model",
    "converged",
    "parameters",
    "n_points",
    "n_held_out",
    "n_parameters",
    *_NUMBERS,
    "message",
]


def scaling_points(
    curves: xr.Dataset, scale: Scale = "parameters", *, tau: float = 0.1
) -> tuple[Array, Array]:
    """Take from a slice the points that scaling models are fitted to: a scale and the mean loss at it.

    Parameters
    ----------
    curves : Dataset
        A slice.
    scale : {"parameters", "steps"}, default "parameters"
        "parameters": N, and the loss at the last measured evaluation of each width. "steps": S, and the loss
        of the widest at the evaluations from its first to its last learning time, each the median over seeds.
        Before them nothing is learned and after them nothing more will be, so that the loss has no slope.
    tau : float, default 0.1
        Loss in bits below which a subtask is learned; for "steps" alone.

    Returns
    -------
    x : ndarray, shape (n,)
        Increasing.
    y : ndarray, shape (n,)
        Mean loss in bits, geometric mean over seeds. A point is left out where the loss of some seed has no
        logarithm: it is 0, or missing after an early stop.

    Raises
    ------
    ValueError
        If there is no such scale.
    """
    if scale not in get_args(Scale):
        raise ValueError(f"scale must be one of {', '.join(get_args(Scale))}, not {scale!r}")
    if scale == "parameters":
        x = curves["n_parameters"].values.astype(np.float64)
        loss = final_mean_loss(curves).values.astype(np.float64)
        there = np.ones(x.size, dtype=bool)
    else:
        x = curves["step"].values.astype(np.float64)
        widest = curves.isel(width=[-1])
        loss = widest["mean_loss"].isel(width=0).transpose("seed", "step").values.astype(np.float64)
        times = learning_times(widest, tau).isel(width=0).transpose("seed", "subtask")
        # Learned by the first evaluation is a bound and not a time.
        learned_at = times["step"].where(times["step_lower"] > 0).values
        learned_at = learned_at[np.isfinite(learned_at).any(axis=1)]
        if not learned_at.size:
            return np.empty(0), np.empty(0)
        first, last = np.median(np.nanmin(learned_at, axis=1)), np.median(np.nanmax(learned_at, axis=1))
        there = (x >= first) & (x <= last)
    there = there & (loss > 0).all(axis=0)
    return x[there], np.exp(np.log(loss[:, there]).mean(axis=0))


@dataclass(frozen=True)
class Forecast:
    """What a fit expects of new observations.

    Attributes
    ----------
    x : ndarray, shape (n,)
    estimate : ndarray, shape (n,)
        The model at x.
    lower, upper : ndarray, shape (n,)
        NaN where the estimate is 0, as of `finite K` once all is learned.
    confidence : float
        Nominal probability that an observation falls between them.
    kind : str
        How the interval was made.
    """

    x: Array
    estimate: Array
    lower: Array
    upper: Array
    confidence: float
    kind: str


def forecast(fit: ScalingFit, x: ArrayLike, confidence: float = 0.9) -> Forecast:
    """Forecast an observation of the loss: the curve, its uncertainty, and the scatter of a point about it.

    The interval is symmetric in log loss, t · sqrt(s² + e²) to each side: s is the residual standard
    deviation, e the standard error of the curve by the delta method, and t the quantile of Student's t with
    as many degrees of freedom as there are points less parameters of the curve. For a line and normal scatter
    this is exact; for the other models it is as good as they are linear over the error of their parameters.
    It knows nothing of a model that is wrong beyond the points.

    Parameters
    ----------
    fit : ScalingFit
        By squares.
    x : array_like, shape (n,)
        Positive.
    confidence : float, default 0.9
        Between 0 and 1.

    Returns
    -------
    Forecast

    Raises
    ------
    ValueError
        If the fit is not by squares, or an argument is out of its range.

    References
    ----------
    Bates and Watts (1988), Nonlinear Regression Analysis and Its Applications, section 2.3.
    """
    at = np.atleast_1d(np.asarray(x, dtype=np.float64))
    if not (np.isfinite(at) & (at > 0)).all():
        raise ValueError(f"x must be positive and finite, not {at[~(np.isfinite(at) & (at > 0))][0]:g}")
    if fit.loss != "squares":
        raise ValueError(f"fit must be by squares to have a forecast interval, not by {fit.loss!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    estimate = fit.predict(at)
    stderr = fit.residual_sd * fit.regression.stderr(fit.coordinates, at)
    t = float(stats.t.ppf((1 + confidence) / 2, fit.n_points - fit.coordinates.size))
    half = np.where(estimate > 0, t * np.hypot(fit.residual_sd, stderr), np.nan)
    kind = "delta method in log loss, Student t"
    return Forecast(at, estimate, estimate * np.exp(-half), estimate * np.exp(half), confidence, kind)


def forecast_error(fit: ScalingFit, x: ArrayLike, y: ArrayLike) -> float:
    """Return the root mean square of log y less the log of the forecast; inf where that is 0 bits."""
    estimate = fit.predict(x)
    if not (estimate > 0).all():
        return math.inf
    return float(np.sqrt(((np.log(np.asarray(y, dtype=np.float64)) - np.log(estimate)) ** 2).mean()))


def hold_out_largest(x: ArrayLike, factor: float = 2.0) -> NDArray[np.bool_]:
    """Choose the points at the largest scales: x above the largest over `factor`.

    At least the largest, and never so many that fewer than three are left.

    Parameters
    ----------
    x : array_like, shape (n,)
        Positive, in any order.
    factor : float, default 2
        At least 1.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    ValueError
        If none can be held out, or the factor is below 1.
    """
    x = np.asarray(x, dtype=np.float64)
    if not factor >= 1:
        raise ValueError(f"factor must be at least 1, not {factor!r}")
    n_below = int((x < x.max(initial=-np.inf)).sum())
    if n_below < MIN_FITTED:
        raise ValueError(
            f"x must hold at least {MIN_FITTED} points below the largest to forecast it, not {n_below}"
        )
    below = x[x < x.max()].max()
    return np.asarray(x > max(min(x.max() / factor, below), np.sort(x)[MIN_FITTED - 1]))


def fit_models(
    x: ArrayLike, y: ArrayLike, frequency: ArrayLike | None = None
) -> dict[Model, ScalingFit | str]:
    """Fit every model by squares.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite; at least three points.
    frequency : array_like, shape (K,), optional
        p_k, most frequent first; without it there is no `finite K`.

    Returns
    -------
    dict of str to ScalingFit or str
        In the order of `MODELS`; the reason where a model could not be fitted.

    Raises
    ------
    ValueError
        If the points allow no fit at all; says why.
    """
    x, y = check_points(x, y)
    fits: dict[Model, ScalingFit | str] = {}
    for model in MODELS:
        try:
            fits[model] = fit_scaling(x, y, model, frequency=frequency)
        except (FitError, ValueError) as error:
            fits[model] = str(error)
    return fits


def compare_models(
    x: ArrayLike,
    y: ArrayLike,
    *,
    frequency: ArrayLike | None = None,
    hold_out: float | None = 2.0,
) -> pd.DataFrame:
    """Compare the models of the mean loss by what they fit and by what they forecast.

    Every model is fitted to the points that are not held out, and forecasts those that are. AICc and the
    error of the forecast so judge the same fits, and the best by AICc was chosen without the points it has
    to forecast. For the fits to all points take `hold_out=None`.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite; see `scaling_points`.
    frequency : array_like, shape (K,), optional
        p_k, most frequent first; without it there is no `finite K`.
    hold_out : float or None, default 2
        The points within this factor of the largest x are held out, at least one and never so many that
        fewer than three are left; see `hold_out_largest`. None: no point is.

    Returns
    -------
    DataFrame
        One row a model, in the order of `MODELS`:

        - `model`, `converged` : str, bool.
        - `parameters` : dict; empty where not fitted. `exponent`, `residual_sd` : float.
        - `n_points`, `n_held_out`, `n_parameters` : int; of `ScalingFit`.
        - `aicc`, `delta_aicc` : float; the second less the smallest. NaN where there is none.
        - `forecast_error` : float. Root mean square over the points held out of log y less log forecast; inf
          if a forecast is 0 bits, NaN without points held out.
        - `message` : str; the reason where a model could not be fitted.

    Raises
    ------
    ValueError
        If the points allow no fit at all, or none can be held out; says why.

    References
    ----------
    Burnham and Anderson (2002), Model Selection and Multimodel Inference, section 2.6: a difference of AICc
    below 2 says little, above 10 nearly all.
    """
    x, y = check_points(x, y)
    held_out = np.zeros(x.size, dtype=bool) if hold_out is None else hold_out_largest(x, hold_out)
    n_held_out = int(held_out.sum())
    rows: list[dict[str, Any]] = []
    for model, fit in fit_models(x[~held_out], y[~held_out], frequency).items():
        row: dict[str, Any] = {"model": model, "n_points": x.size - n_held_out, "n_held_out": n_held_out}
        if isinstance(fit, str):
            rows.append(row | {"converged": False, "parameters": {}, "message": fit})
            continue
        shared = ("converged", "parameters", "n_parameters", "exponent", "residual_sd", "aicc", "message")
        row |= {name: getattr(fit, name) for name in shared}
        if n_held_out:
            row["forecast_error"] = forecast_error(fit, x[held_out], y[held_out])
        rows.append(row)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table[_NUMBERS] = table[_NUMBERS].astype(np.float64)
    table["n_parameters"] = table["n_parameters"].astype("Int64")
    table["delta_aicc"] = table["aicc"] - table["aicc"].min()
    return table


def audit_windows(x: ArrayLike, y: ArrayLike, *, min_factor: float = MIN_FACTOR) -> pd.DataFrame:
    """Fit a power law in every window of x, to see how far its slope is a matter of where one looks.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite, x without repetition.
    min_factor : float, default 4
        Smallest ratio of the ends of a window; above 1.

    Returns
    -------
    DataFrame
        One row a window of neighbouring points, at least three, with the columns lower, upper (the x at its
        ends), n_points, slope (negative for a falling loss) and stderr (of least squares with independent
        errors); by lower, then upper. No row if x spans less than the factor.

    Raises
    ------
    ValueError
        If the points allow no fit at all, an x is repeated, or the factor is not above 1.
    """
    x, y = check_points(x, y)
    if not min_factor > 1:
        raise ValueError(f"min_factor must be above 1, not {min_factor!r}")
    by_x = np.argsort(x)
    x, log_x, log_y = x[by_x], np.log(x[by_x]), np.log(y[by_x])
    if (np.diff(x) == 0).any():
        raise ValueError(
            f"x must not repeat a value to have windows, but holds {x[1:][np.diff(x) == 0][0]:g} again"
        )
    windows = []
    for start in range(x.size - MIN_POINTS + 1):
        # Running sums give all windows from here on; about their first point, they lose no digits.
        u, v = log_x[start:] - log_x[start], log_y[start:] - log_y[start]
        n = np.arange(1, u.size + 1)
        spread, joint, total = (
            np.cumsum(a * b) - np.cumsum(a) * np.cumsum(b) / n for a, b in ((u, u), (u, v), (v, v))
        )
        long = (n >= MIN_POINTS) & (x[start:] >= min_factor * x[start] * (1 - _ROUNDING))
        n, spread, joint, total = n[long], spread[long], joint[long], total[long]
        residual = np.maximum(total - joint**2 / spread, 0)  # rounding may leave less than nothing
        windows.append(
            pd.DataFrame(
                {
                    "lower": x[start],
                    "upper": x[start:][long],
                    "n_points": n,
                    "slope": joint / spread,
                    "stderr": np.sqrt(residual / (n - 2) / spread),
                }
            )
        )
    return pd.concat(windows, ignore_index=True)
