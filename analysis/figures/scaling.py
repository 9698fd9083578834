"""Figures of how the loss of a slice scales, in the manner of `analysis.figures`."""

from typing import Any

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from quanta.analysis.figures import style
from quanta.analysis.fits.forecasts import (
    MIN_FACTOR,
    MIN_FITTED,
    Scale,
    audit_windows,
    fit_models,
    forecast,
    forecast_error,
    hold_out_largest,
    scaling_points,
)
from quanta.analysis.fits.scaling import Model, ScalingFit
from quanta.analysis.learned.times import count_learned, learning_times
from quanta.analysis.theories.quanta import count_from_threshold, expected_exponents, local_slope

Array = NDArray[np.float64]

_NAMES: dict[Scale, str] = {"parameters": "parameters N", "steps": "optimisation step S"}
_EXPONENTS: dict[Scale, tuple[str, str]] = {"parameters": ("alpha_N", "α"), "steps": ("alpha_S", "α/(1+α)")}
_BAND_NOTES: dict[Scale, str] = {"parameters": "", "steps": " (if independent)"}
_PALETTE = sns.color_palette("colorblind")
_LINES: dict[Model, tuple[Any, Any]] = {
    "power": (style.FITTED, "-"),
    "power + floor": (_PALETTE[2], (0, (5, 1.5))),
    "finite K": (style.THEORY, "-"),
    "exponential": (_PALETTE[4], (0, (1, 1))),
    "broken power": (_PALETTE[9], (0, (5, 1, 1, 1))),
}
"""Colour and dashes of each model, so that they are told apart without colour too."""


@style.applied()
def plot_scaling_fits(
    curves: xr.Dataset,
    ax: Axes | None = None,
    *,
    scale: Scale = "parameters",
    hold_out: float = 2.0,
    confidence: float = 0.9,
    tau: float = 0.1,
) -> Axes:
    """Draw the mean loss, the models fitted to all but the largest scales, and what they forecast there.

    The legend gives AICc less the smallest, and the error of the forecast (`analysis.forecasts`). The band is
    where the model with the smallest AICc expects single points beyond those it was fitted to.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    scale : {"parameters", "steps"}, default "parameters"
        See `scaling_points`. Points along steps are of the same runs, so that the band is too narrow.
    hold_out : float, default 2
        The points within this factor of the largest are not fitted; see `hold_out_largest`.
    confidence : float, default 0.9
        Of the band.
    tau : float, default 0.1
        Loss in bits below which a subtask is learned; it sets the window of steps.
    """
    ax = ax or style.new_axes(height=3.7)
    ax.set(xscale="log", yscale="log", xlabel=_NAMES[scale], ylabel="mean loss (bits)")
    x, y = scaling_points(curves, scale, tau=tau)
    if np.unique(x).size <= MIN_FITTED:
        ax.set(xscale="linear", yscale="linear")
        style.note(ax, f"fewer than {MIN_FITTED + 1} points with a loss")
        return ax
    held_out = hold_out_largest(x, hold_out)
    seeds = "1 seed" if curves.sizes["seed"] == 1 else f"geometric mean of {curves.sizes['seed']} seeds"
    for chosen, face, label in (
        (~held_out, style.MEASURED, f"fitted ({seeds})"),
        (held_out, "white", "held out (error: RMS of log loss)"),
    ):
        dots = ax.plot(x[chosen], y[chosen], "o", color=style.MEASURED, markersize=3.2, label=label, zorder=3)
        dots[0].set_markerfacecolor(face)
    fits = fit_models(x[~held_out], y[~held_out], curves["frequency"].values)
    known = [fit.aicc for fit in fits.values() if isinstance(fit, ScalingFit) and fit.aicc is not None]
    along = np.geomspace(x.min(), x.max(), 200)
    ahead = along[along >= x[~held_out].max()]
    for model, fit in fits.items():
        if isinstance(fit, str):
            style.say_in_legend(ax, f"{model}: not fitted")
            continue
        color, dashes = _LINES[model]
        name = f"{model} (E = 0)" if fit.parameters.get("E") == 0 else model
        above = "undefined" if fit.aicc is None else style.number(fit.aicc - min(known), 1)
        error = style.number(forecast_error(fit, x[held_out], y[held_out]))
        label = f"{name}: ΔAICc {above}, error {error}"
        ax.plot(along, fit.predict(along), linestyle=dashes, color=color, label=label)
        if fit.aicc is not None and fit.aicc == min(known):
            band = forecast(fit, ahead, confidence)
            label = f"{confidence:.0%} forecast of {model}{_BAND_NOTES[scale]}"
            ax.fill_between(ahead, band.lower, band.upper, color=color, alpha=0.2, linewidth=0, label=label)
    ax.set_ylim(y.min() / 1.5, y.max() * 1.2)
    style.readable_log_ticks(ax.xaxis, ax.yaxis)
    style.legend_above(ax)
    return ax


@style.applied()
def plot_window_audit(
    curves: xr.Dataset,
    ax: Axes | None = None,
    *,
    scale: Scale = "parameters",
    min_factor: float = MIN_FACTOR,
    tau: float = 0.1,
) -> Axes:
    """Draw the exponent that a power law has in every window of the scale, and what theory expects.

    The exponent is positive for a falling loss. Windows overlap, and their standard errors are those of
    independent points, which points along steps are not. The theory is n ∝ N, or S_k ∝ 1/p_k, with its one
    constant from what was learned and summed exactly over the K subtasks (`local_slope`), at a point and not
    over a window; and that for infinite K. Neither is fitted to the loss.

    Parameters
    ----------
    curves : Dataset, a slice
    ax : Axes, optional
    scale : {"parameters", "steps"}, default "parameters"
        See `scaling_points`.
    min_factor : float, default 4
        Smallest ratio of the ends of a window.
    tau : float, default 0.1
        Loss in bits below which a subtask is learned.
    """
    ax = ax or style.new_axes(height=3.0)
    ax.set(xlabel=f"{_NAMES[scale]}, centre of window", ylabel="exponent of the loss in the window")
    x, y = scaling_points(curves, scale, tau=tau)
    if np.unique(x).size < MIN_FITTED or x.max() < min_factor * x.min():
        style.note(ax, f"no window of a factor {min_factor:g}")
        return ax
    windows = audit_windows(x, y, min_factor=min_factor)
    windows["factor"] = windows["upper"] / windows["lower"]
    windows = windows.sort_values("factor", ignore_index=True)  # the longest are the fewest, and on top
    lower, upper, exponent, stderr, factor = (
        windows[name].to_numpy() for name in ("lower", "upper", "slope", "stderr", "factor")
    )
    centre, exponent = np.sqrt(lower * upper), -exponent
    longest = x.max() / x.min()
    norm = style.log_norm((min_factor, longest))
    ax.set_xscale("log")
    ax.vlines(centre, exponent - stderr, exponent + stderr, colors=style.ORDERED_COLORS(norm(factor)), lw=0.6)
    ax.scatter(centre, exponent, c=factor, s=10, cmap=style.ORDERED_COLORS, norm=norm)
    number = f"{len(windows)} windows" if len(windows) > 1 else "1 window"
    ax.plot([], [], "o", color="0.35", markersize=3, label=f"{number} (bars: standard error)")
    along = np.geomspace(centre.min() / 1.1, centre.max() * 1.1, 400)
    expected = _expected_exponent(curves, scale, along, tau)
    if np.isfinite(expected).any():
        label = f"local slope, exact for K = {curves.sizes['subtask']}"
        ax.plot(along, expected, color=style.THEORY, label=label, zorder=1)
    else:
        style.say_in_legend(ax, "no theory: nothing, or everything, learned")
    name, formula = _EXPONENTS[scale]
    infinite = expected_exponents(float(curves["alpha"]))[name]
    if infinite is not None:
        label = f"infinite K, {formula} = {style.number(infinite)}"
        ax.axhline(infinite, linestyle="--", color=style.GUIDE, label=label, zorder=1)
    style.readable_log_ticks(ax.xaxis)
    style.legend_above(ax)
    ticks = style.ticks_125(min_factor, longest) or [min_factor]
    style.add_bar([ax], norm, "length of the window, as a factor", ticks)
    return ax


def _expected_exponent(curves: xr.Dataset, scale: Scale, x: Array, tau: float) -> Array:
    """Return the local exponent at x that follows from what was learned; NaN where that says nothing."""
    p = curves["frequency"].values
    times = learning_times(curves, tau).transpose("seed", "width", "subtask")
    if scale == "parameters":
        counts = count_learned(times).values
        known = (counts >= 1) & (counts < p.size)
        rates = (counts / curves["n_parameters"].values)[known]
    else:
        rates = (1 / (times["step"].isel(width=-1).values * p)).ravel()
        rates = rates[np.isfinite(rates)]
    if not rates.size:
        return np.full(x.shape, np.nan)
    rate = style.geometric_mean(rates)
    n = np.minimum(rate * x, p.size) if scale == "parameters" else count_from_threshold(p, 1 / (rate * x))
    inside = (n >= 1) & (n < p.size - 0.5)
    expected = np.full(x.shape, np.nan)
    if inside.sum() > 1:
        pace = np.gradient(np.log(n[inside]), np.log(x[inside]))
        expected[inside] = local_slope(p, n[inside]) * pace
    return expected
