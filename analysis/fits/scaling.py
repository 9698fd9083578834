"""Models of how the mean loss falls with scale, fitted in log loss.

x is a scale (parameters N, steps S or data D) and y the mean loss in bits. What is made small are the
residuals log y - log model, so that every point weighs the same however small its loss.

| model | mean loss | parameters |
|---|---|---|
| `power` | A x^-a | A, a |
| `power + floor` | E + A x^-a, E >= 0, a > 0 | E, A, a |
| `finite K` | Σ_{k>n} p_k at n = c x^gamma, p_k known | c, gamma |
| `exponential` | A exp(-b x) | A, b |
| `broken power` | a + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f), a >= 0 | a, b, c0, c1, d, f |

`finite K` is what the Quantization Hypothesis says of K quanta, linear between whole n
(`analysis.theory.ideal_loss`). `broken power` is the broken neural scaling law of Caballero et al. (2022),
arXiv:2210.14891, with one break: the slope turns from c0 to c0 + c1 about d, over a stretch of about f in
log x. The break is looked for inside the window.

`exponential` is a weak competitor over decades of x. It has one scale, 1/b: next to nothing happens before it
and nothing is left soon after, so that the largest x decide alone. That it fits worse says that the loss
falls on more than one scale, as it must where subtasks are learned one after another, and not that it is a
power law. What a power law has to be told from are curves whose local slope drifts: the other three.

Points are taken as independent. Losses at successive steps of a run are not: over them AICc and intervals are
too sure of themselves.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quanta.analysis.fits.curves import make_curve
from quanta.analysis.fits.errors import FitError
from quanta.analysis.fits.power_laws import check_points
from quanta.analysis.fits.regression import End, Loss, Regression

Array = NDArray[np.float64]

Model = Literal["power", "power + floor", "finite K", "exponential", "broken power"]
"""The models; see the table above."""

MODELS: tuple[Model, ...] = get_args(Model)
"""All of them, in the order of tables and figures."""

HOW: dict[Loss, str] = {
    "squares": "least squares of log loss from several starts",
    "huber": "least Huber loss of log loss from several starts",
}
"""How a message calls a fit."""
EXACT = 1e-7
"""A standard deviation of log loss this small is that of rounding in float32, and has no likelihood."""


@dataclass(frozen=True)
class ScalingFit:
    """A fitted model of mean loss against scale.

    Attributes
    ----------
    model : str
    parameters : dict of str to float
        In the units of x and y, named as in the table of models.
    exponent : float or None
        a of `power` and `power + floor`, positive for a falling law; None where the local slope is no
        parameter.
    log_likelihood : float
        Of log y, Gaussian with the variance that is likeliest; inf where the fit is exact to rounding. With
        the Huber loss it is that of the fit found, not the largest.
    n_points : int
    n_parameters : int
        The variance counts as one; so does a floor of 0.
    aicc : float or None
        Akaike's criterion for small samples, -2 log L + 2k + 2k(k+1)/(n-k-1), where k is `n_parameters`:
        lower is better, between models of the same points. None where n - k - 1 <= 0, so that there is no
        such correction, and where the fit is exact.
    residual_sd : float
        Of log y, with n minus the parameters of the mean as degrees of freedom.
    window : (float, float)
        Smallest and largest x that entered.
    loss : str
        "squares" or "huber".
    converged : bool
        True for every fit that is returned.
    message : str
        How it was made, and which coordinates are at a bound that is an answer, such as a floor of 0.
    regression : Regression
        The points, and the curve as the fitter sees it.
    coordinates : ndarray, shape (T,)
        The parameters as the fitter sees them.

    References
    ----------
    Hurvich and Tsai (1989), doi:10.1093/biomet/76.2.297, for AICc.
    """

    model: Model
    parameters: dict[str, float]
    exponent: float | None
    log_likelihood: float
    n_points: int
    n_parameters: int
    aicc: float | None
    residual_sd: float
    window: tuple[float, float]
    loss: Loss
    converged: bool
    message: str
    regression: Regression = field(repr=False, compare=False)
    coordinates: Array = field(repr=False, compare=False)

    def predict(self, x: ArrayLike) -> Array:
        """Evaluate the model at positive x, of any shape; 0 where `finite K` has learned all K."""
        at = np.asarray(x, dtype=np.float64)
        log_loss, _ = self.regression.curve.evaluate(self.coordinates, self.regression.place(at.ravel()))
        return np.exp(log_loss).reshape(at.shape)


def fit_scaling(
    x: ArrayLike,
    y: ArrayLike,
    model: Model,
    *,
    frequency: ArrayLike | None = None,
    loss: Loss = "squares",
    huber_delta: float = 1e-3,
) -> ScalingFit:
    """Fit a model of mean loss against scale, every point weighing the same in log loss.

    The fit starts from a fixed set of coordinates and keeps the best end. Given its floor and its break a
    model is a line, so that the starts are least-squares lines over a grid of floors and breaks.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive and finite; at least one point more than the mean has parameters.
    model : {"power", "power + floor", "finite K", "exponential", "broken power"}
    frequency : array_like, shape (K,), optional
        p_k, most frequent first, summing to 1; for "finite K" alone.
    loss : {"squares", "huber"}, default "squares"
        Huber's loss is squares up to `huber_delta` and linear beyond, so that no point pulls without limit.
    huber_delta : float, default 1e-3
        In log loss. The default is that of Hoffmann et al. (2022), arXiv:2203.15556, as in Besiroglu et al.
        (2024), arXiv:2404.10102; far below the scatter between seeds, it makes absolute residuals small.

    Returns
    -------
    ScalingFit

    Raises
    ------
    ValueError
        If the points or options do not allow a fit; says why.
    FitError
        If the fit did not converge, a coordinate ran away, or the points do not determine the parameters;
        carries the fit as far as it got.
    """
    x, y = check_points(x, y)
    curve = make_curve(model, frequency)
    if x.size <= len(curve.names):
        raise ValueError(
            f"x and y must hold at least {len(curve.names) + 1} points for {model!r}, not {x.size}"
        )
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be one of {', '.join(get_args(Loss))}, not {loss!r}")
    if not huber_delta > 0:
        raise ValueError(f"huber_delta must be positive, not {huber_delta!r}")
    regression = Regression(curve, x, y, loss, huber_delta)
    end = regression.fit()
    fit = _describe(regression, end, model)
    fault = regression.find_fault(end)
    if fault is None and not np.isfinite(list(fit.parameters.values())).all():
        fault = f"the window {x.min():g}..{x.max():g} is too short: a parameter is too large for a float"
    if fault is not None:
        raise FitError(f"{model}: {fault}", replace(fit, converged=False, message=fault))
    return fit


@dataclass(frozen=True)
class ProfileInterval:
    """An interval of one parameter from the profile of the sum of squares.

    Attributes
    ----------
    parameter : str
    estimate : float
    lower, upper : float
        Where the profile crosses its threshold; the bound of the parameter if it never does, which is 0 for
        the a of `power + floor` and else -inf and inf.
    kind : str
    n_points : int
    confidence : float
        Nominal coverage.
    """

    parameter: str
    estimate: float
    lower: float
    upper: float
    kind: str
    n_points: int
    confidence: float


def profile_interval(fit: ScalingFit, parameter: str, confidence: float = 0.9) -> ProfileInterval:
    """Find how far a parameter can go, with the others fitted anew, until the fit is clearly worse.

    Clearly: the sum of squares is more than 1 + t²/(n - p) times the smallest, t being the quantile of
    Student's t with n - p degrees of freedom. For a line this is the classical interval, exact however few
    the points; the usual threshold, of chi-squared, is for many.

    Parameters
    ----------
    fit : ScalingFit
        By squares.
    parameter : str
        "a" of `power` and `power + floor`, "gamma" of `finite K`, "c0" or "c1" of `broken power`.
    confidence : float, default 0.9
        Nominal coverage, between 0 and 1, if the scatter of log y is normal and independent.

    Returns
    -------
    ProfileInterval

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
    return ProfileInterval(parameter, fit.parameters[parameter], lower, upper, kind, fit.n_points, confidence)


@dataclass(frozen=True)
class _End:
    """Where a refinement ended: coordinates (T,), half the sum, and whether that is a minimum."""

    t: Array
    cost: float
    converged: bool


def _describe(regression: Regression, end: End, model: Model) -> ScalingFit:
    """Put an end into a record, as if it had converged."""
    curve, x, n, k = regression.curve, regression.x, regression.x.size, end.t.size + 1
    squares = float((regression.residuals(end.t) ** 2).sum())
    residual_sd = math.sqrt(squares / (n - end.t.size))
    log_likelihood, aicc = math.inf, None
    if residual_sd >= EXACT:
        log_likelihood = -n / 2 * (math.log(2 * math.pi * squares / n) + 1)
        if n - k - 1 > 0:
            aicc = -2 * log_likelihood + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    parameters = curve.parameters(end.t, regression.origin)
    at_rest = [curve.at_rest.get(name) for name in np.array(curve.names)[~regression.free(end.t)]]
    return ScalingFit(
        model=model,
        parameters=parameters,
        exponent=parameters["a"] if model in ("power", "power + floor") else None,
        log_likelihood=log_likelihood,
        n_points=n,
        n_parameters=k,
        aicc=aicc,
        residual_sd=residual_sd,
        window=(float(x.min()), float(x.max())),
        loss=regression.loss,
        converged=True,
        message="; ".join([HOW[regression.loss], *filter(None, at_rest)]),
        regression=regression,
        coordinates=end.t,
    )
