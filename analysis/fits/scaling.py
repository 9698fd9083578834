"""Fits of curves to how the mean loss falls with scale, in log loss.

What is made small are the residuals log y - log curve, so that every point weighs the same however small its
loss. Points are taken as independent. Losses at successive steps of a run are not: over them intervals are
too sure of themselves, and so would be an information criterion. Compare curves there by what they forecast
and by leaving seeds out (`quanta.analysis.fits.comparison`).
"""

import math
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quanta.analysis.fits.curves import ScalingCurve
from quanta.analysis.fits.errors import FitError, TooFewPoints
from quanta.analysis.fits.intervals import Interval
from quanta.analysis.fits.power_laws import check_points
from quanta.analysis.fits.regression import End, Loss, Regression

Array = NDArray[np.float64]

HOW: dict[Loss, str] = {
    "squares": "least squares of log loss from several starts",
    "huber": "least Huber loss of log loss from several starts",
}
"""How a message calls a fit."""
EXACT = 1e-7
"""A standard deviation of log loss this small is that of rounding in float32, and says nothing of scatter."""


@dataclass(frozen=True)
class ScalingFit:
    """A fitted curve of mean loss against scale.

    Attributes
    ----------
    model : str
        Name of the curve.
    parameters : dict of str to float
        In the units of x and y, named as in the table of curves.
    exponent : float or None
        Of a power law, positive for a falling one; None where the local slope is no parameter.
    n_points : int
    residual_sd : float
        Of log y, with n minus the parameters as degrees of freedom.
    window : (float, float)
        Smallest and largest x that entered.
    loss : str
        "squares" or "huber".
    message : str
        How it was made, and which coordinates are at a bound that is an answer, such as a floor of 0.
    regression : Regression
        The points, and the curve as the fitter sees it.
    coordinates : ndarray, shape (T,)
        The parameters as the fitter sees them.
    """

    model: str
    parameters: dict[str, float]
    exponent: float | None
    n_points: int
    residual_sd: float
    window: tuple[float, float]
    loss: Loss
    message: str
    regression: Regression = field(repr=False, compare=False)
    coordinates: Array = field(repr=False, compare=False)

    def predict(self, x: ArrayLike) -> Array:
        """Evaluate the curve at positive x, of any shape; 0 where a finite K has learned all K."""
        at = np.asarray(x, dtype=np.float64)
        log_loss, _ = self.regression.curve.evaluate(self.coordinates, self.regression.place(at.ravel()))
        return np.exp(log_loss).reshape(at.shape)


def fit_scaling(
    x: ArrayLike,
    y: ArrayLike,
    curve: ScalingCurve,
    *,
    loss: Loss = "squares",
    huber_delta: float = 1e-3,
    near: ScalingFit | None = None,
) -> ScalingFit:
    """Fit a curve of mean loss against scale, every point weighing the same in log loss.

    The fit starts from a fixed set of coordinates and keeps the best end. Given its floor and its break a
    curve is a line, so that the starts are least-squares lines over a grid of floors and breaks.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite; at least one point more than the curve has parameters.
    curve : ScalingCurve
        Such as `PowerLaw()`.
    loss : {"squares", "huber"}, default "squares"
        Huber's loss is squares up to `huber_delta` and linear beyond, so that no point pulls without limit.
    huber_delta : float, default 1e-3
        In log loss. The default is that of Hoffmann et al. (2022), arXiv:2203.15556, as in Besiroglu et al.
        (2024), arXiv:2404.10102; far below the scatter between seeds, it makes absolute residuals small.
    near : ScalingFit, optional
        Of the same curve at the same x to nearly the same y: starts there, and nowhere else.

    Returns
    -------
    ScalingFit

    Raises
    ------
    TooFewPoints
        If there are no more points than parameters, or all are at one x.
    ValueError
        If a point has no logarithm, or an option is out of its range.
    TypeError
        If the curve is none.
    FitError
        If the fit did not converge, a coordinate ran away, or the points do not determine the parameters;
        carries the fit as far as it got.
    """
    if not isinstance(curve, ScalingCurve):
        raise TypeError(f"curve must be a ScalingCurve, such as PowerLaw(), not {curve!r}")
    x, y = check_points(x, y)
    if x.size <= len(curve.names):
        raise TooFewPoints(
            f"x and y must hold at least {len(curve.names) + 1} points for {curve.name!r}, not {x.size}"
        )
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be one of {', '.join(get_args(Loss))}, not {loss!r}")
    if not huber_delta > 0:
        raise ValueError(f"huber_delta must be positive, not {huber_delta!r}")
    if near is not None and not (near.model == curve.name and np.array_equal(near.regression.x, x)):
        raise ValueError(
            f"near must be a fit of {curve.name!r} at the same x, not of {near.model!r} at others"
        )
    regression = Regression(curve, x, y, loss, huber_delta)
    end = regression.fit(None if near is None else near.coordinates)
    fit = _describe(regression, end)
    fault = regression.find_fault(end)
    if fault is None and not np.isfinite(list(fit.parameters.values())).all():
        fault = f"the window {x.min():g}..{x.max():g} is too short: a parameter is too large for a float"
    if fault is not None:
        raise FitError(f"{curve.name}: {fault}", replace(fit, message=fault))
    return fit


def profile_interval(fit: ScalingFit, parameter: str, confidence: float = 0.9) -> Interval:
    """Find how far a parameter can go, with the others fitted anew, until the fit is clearly worse.

    Clearly: the sum of squares is more than 1 + t²/(n - p) times the smallest, t being the quantile of
    Student's t with n - p degrees of freedom. For a line this is the classical interval, exact however few
    the points; the usual threshold, of chi-squared, is for many.

    Parameters
    ----------
    fit : ScalingFit
        By squares.
    parameter : str
        "a" of `power` and `power + floor`, "c0" or "c1" of `broken power`, "gamma" of a finite K.
    confidence : float, default 0.9
        Nominal coverage, between 0 and 1, if the scatter of log y is normal and independent.

    Returns
    -------
    Interval
        Of the `n` points of the fit. An end that the profile never reaches is the bound of the parameter: 0
        for the a of `power + floor`, and else -inf or inf.

    Raises
    ------
    ValueError
        If the fit has no such parameter, or is not by squares, or the confidence is out of range.
    FitError
        If the fit is exact to rounding, so that nothing is known of the scatter.

    References
    ----------
    Bates and Watts (1988), Nonlinear Regression Analysis and Its Applications, section 6.1.
    """
    regression, n_free = fit.regression, fit.n_points - fit.coordinates.size
    names = [name for name in regression.curve.names if name in fit.parameters]
    if parameter not in names:
        raise ValueError(
            f"parameter must be one of {', '.join(names) or 'none'} for {fit.model!r}, not {parameter!r}"
        )
    if fit.loss != "squares":
        raise ValueError(f"fit must be by squares to have a profile, not by {fit.loss!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    if fit.residual_sd < EXACT:
        raise FitError(
            f"{fit.model}: the fit is exact to rounding, which leaves {parameter} no interval", fit
        )
    growth = 1 + float(stats.t.ppf((1 + confidence) / 2, n_free)) ** 2 / n_free
    threshold = growth * regression.cost(fit.coordinates)
    which = regression.curve.names.index(parameter)
    lower, upper = regression.profile(fit.coordinates, which, threshold)
    kind = "profile likelihood, threshold of Student t"
    return Interval(fit.parameters[parameter], lower, upper, kind, fit.n_points, confidence)


def _describe(regression: Regression, end: End) -> ScalingFit:
    """Put an end into a record, as if it had converged."""
    curve, x = regression.curve, regression.x
    squares = float((regression.residuals(end.t) ** 2).sum())
    parameters = curve.parameters(end.t, regression.origin)
    at_rest = [curve.at_rest.get(name) for name in np.array(curve.names)[~regression.free(end.t)]]
    return ScalingFit(
        model=curve.name,
        parameters=parameters,
        exponent=None if curve.exponent is None else parameters[curve.exponent],
        n_points=x.size,
        residual_sd=math.sqrt(squares / (x.size - end.t.size)),
        window=(float(x.min()), float(x.max())),
        loss=regression.loss,
        message="; ".join([HOW[regression.loss], *filter(None, at_rest)]),
        regression=regression,
        coordinates=end.t,
    )
