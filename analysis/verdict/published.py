"""What was published, and the estimators that it was read with.

The paper fits lines by plain least squares to log-log points, over windows that it chose and at the steps at
which it logged. The same is done here with any curves, so that what differs is not how one looks.

Shapes: S seeds, W widths, T evaluations.
"""

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis.verdict.statistics import log_slope

Array = NDArray[np.float64]

LEARNED = 0.1
"""Loss in bits below which the paper takes a subtask for learned, at the first evaluation."""

MIN_POINTS = 3
"""Evaluations inside a window, below which interpolation would make up the curve."""

REACH = 0.02
"""Share by which curves may fall short of the end of a window: the paper's own were last logged before it."""


_ALONG = {"alpha_N": "widths", "alpha_S": "steps", "alpha_D": "D"}


class OutOfReachError(Exception):
    """Why curves do not allow what was published to be read off them."""


@dataclass(frozen=True)
class Series:
    """One exponent as it was published, at one α or several.

    Attributes
    ----------
    exponent : str
        As in `quanta.analysis.verdict.exponents.LAWS`.
    study : str
    alpha, value : tuple of float
    error : float
        By how much values may be off that were read off a figure; 0 of those that were printed.
    width : int
        Of the network; 0 where all are meant.
    window : (float, float)
        Of widths for alpha_N, of steps for alpha_S and of D for alpha_D.
    step : int
        At which the loss was taken, for alpha_N.
    below : float
        Loss in bits at which the window along D begins.
    """

    exponent: str
    study: str
    alpha: tuple[float, ...]
    value: tuple[float, ...]
    error: float = 0.0
    width: int = 0
    window: tuple[float, float] = (0.0, math.inf)
    step: int = 0
    below: float = math.inf

    @property
    def where(self) -> str:
        """Which network and window, in a few words."""
        low, high = self.window
        parts = [f"width {self.width}"] if self.width else []
        parts += [f"{_ALONG[self.exponent]} {low:.0f}-{high:.0f}"] if self.exponent in _ALONG else []
        return ", ".join(parts + ([f"step {self.step}"] if self.step else []))

    def at(self, alpha: float) -> float | None:
        """Return the value at an α; None where none was published."""
        for published, value in zip(self.alpha, self.value, strict=True):
            if math.isclose(published, alpha, rel_tol=1e-9):
                return value
        return None


@dataclass(frozen=True)
class Published:
    """All that was published.

    Attributes
    ----------
    source : str
    settings : dict
        Of its studies, by the names of a study of this package.
    every : int
        Steps between two of its evaluations.
    windows : tuple of (int, int)
        Windows of steps to compare.
    series : tuple of Series
    """

    source: str
    settings: dict[str, float]
    every: int
    windows: tuple[tuple[int, int], ...]
    series: tuple[Series, ...]


@cache
def load_published() -> Published:
    """Read the values that were published, which lie beside this module."""
    text = Path(__file__).with_name("published.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    series = [Series(**{name: _frozen(value) for name, value in one.items()}) for one in data["series"]]
    return Published(
        data["source"],
        data["settings"],
        data["every"],
        _frozen(data["windows"]),
        tuple(series),
    )


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def read_as_published(curves: xr.Dataset, series: Series, every: int | None) -> Array:
    """Read an exponent off curves as the paper reads it.

    Parameters
    ----------
    curves : Dataset
        A slice.
    series : Series
        What is read, at which network and in which window.
    every : int or None
        Steps between the points of a curve along S, at multiples of it, where it is linear in log step
        between evaluations; None for the evaluations themselves.

    Returns
    -------
    ndarray, shape (S,)
        Of a loss, positive for a falling one; NaN where not known.

    Raises
    ------
    OutOfReachError
        If the curves do not have the network or do not reach the window.
    """
    if series.exponent == "alpha_S":
        return _along_steps(curves, series, every)
    read = {"alpha_N": _along_parameters, "alpha_D": _along_data, "beta": _learning_times}
    return read[series.exponent](curves, series)


def _along_parameters(curves: xr.Dataset, series: Series) -> Array:
    curves, width = _online(curves), curves["width"].values
    low, high = series.window
    if width[0] > low or width[-1] < high:
        raise OutOfReachError(f"the widths are {width[0]}..{width[-1]}")
    inside = (width >= low) & (width <= high)
    if inside.sum() < MIN_POINTS:
        raise OutOfReachError(f"{inside.sum()} widths lie in it")
    _check_last(curves, series.step)
    at = _interpolate(curves, np.array([float(series.step)]))[..., 0][:, inside]
    N = curves["n_parameters"].values[inside].astype(np.float64)
    return np.array([_slope(N, loss) for loss in at])


def _along_steps(curves: xr.Dataset, series: Series, every: int | None) -> Array:
    curves = _of_width(_online(curves), series.width)
    (low, high), step = series.window, curves["step"].values.astype(np.float64)
    _check_last(curves, high)
    inside = (step >= low) & (step <= high)
    usual = load_published().every
    first, needed = step[step > 0].min(initial=math.inf), math.ceil(low / usual) * usual
    if first > needed * (1 + REACH) or inside.sum() < MIN_POINTS:
        raise OutOfReachError(f"{inside.sum()} evaluations lie in it, the first of all at step {first:g}")
    at = step[inside]
    if every is not None:
        numbers = range(math.ceil(low / every), math.floor(high / every) + 1)
        at = np.array([float(number * every) for number in numbers])
    loss = _interpolate(curves, np.minimum(at, step[-1]))[:, 0]
    return np.array([_slope(at, of_seed) for of_seed in loss])


def _along_data(curves: xr.Dataset, series: Series) -> Array:
    curves = _of_width(curves, series.width)
    n_train, (low, high) = curves["n_train"].values, series.window
    finite = np.isfinite(n_train)
    if not finite.any() or n_train[0] > low or n_train[finite][-1] < high:
        span = f"D is {n_train[0]:g}..{n_train[finite][-1]:g}" if finite.any() else "all batches are fresh"
        raise OutOfReachError(span)
    inside = finite & (n_train >= low) & (n_train <= high)
    loss = curves["mean_loss"].transpose("n_train", "seed", "width", "step").values[inside, :, 0]
    lowest = np.fmin.reduce(loss.astype(np.float64), axis=-1)
    found = []
    for of_seed in lowest.T:
        started = np.logical_or.accumulate(of_seed < series.below)
        found.append(_slope(n_train[inside][started], of_seed[started]))
    return np.array(found)


def _learning_times(curves: xr.Dataset, series: Series) -> Array:
    curves = _of_width(_online(curves), series.width)
    loss = curves["loss"].transpose("seed", "width", "step", "subtask").values
    step, frequency = curves["step"].values.astype(np.float64), curves["frequency"].values
    found = []
    for below in loss[:, 0] < LEARNED:
        there = below.any(axis=0)
        found.append(_slope(frequency[there], step[below.argmax(axis=0)][there]))
    return np.array(found)


def _slope(x: Array, y: Array) -> float:
    """Exponent of a falling law; NaN where a point is not known or fewer than three are there."""
    if x.size < MIN_POINTS or not (np.isfinite(y) & (y > 0)).all():
        return math.nan
    return -log_slope(x, y)


def _online(curves: xr.Dataset) -> xr.Dataset:
    """Take what was trained on fresh batches, without the axis D."""
    if not math.isinf(curves["n_train"].values[-1]):
        raise OutOfReachError("no batch was fresh")
    return curves.isel(n_train=-1)


def _of_width(curves: xr.Dataset, width: int) -> xr.Dataset:
    there = curves["width"].values
    if width not in there:
        raise OutOfReachError(f"there is no width {width}; the widest is {there[-1]}")
    return curves.sel(width=[width])


def _check_last(curves: xr.Dataset, step: float) -> None:
    last = curves["step"].values[-1]
    if last < step * (1 - REACH):
        raise OutOfReachError(f"the last evaluation is at step {last}")


def _interpolate(curves: xr.Dataset, at: Array) -> Array:
    """Mean loss (S, W, n) at other steps, linear in log step; past the last, the last."""
    step = curves["step"].values.astype(np.float64)
    loss = curves["mean_loss"].transpose("seed", "width", "step").values.astype(np.float64)
    later = step > 0
    log_step = np.log(step[later])
    found = [[np.interp(np.log(at), log_step, one[later]) for one in of_seed] for of_seed in loss]
    return np.array(found)
