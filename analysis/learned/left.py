"""What is left of each subtask's loss, made monotone: everything else about learning is read off this.

A subtask is learned when its loss is below a share τ of chance, and there to stay. Asked of the raw curve
"to stay" would depend on how often one evaluates, since one spike or one noisy evaluation in a thousand would
unlearn it. So spikes are taken out, and every curve is made monotone once, by isotonic regression over steps:
noise is pooled with its neighbours, and a relapse that lasts raises what came before it. What lies above is
the relapse share.

Shapes: D training-set sizes, S seeds, W widths, T steps, K subtasks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from quanta.analysis import axes
from quanta.analysis.axes import Axis, Trace
from quanta.analysis.learned.slices import select
from quanta.analysis.records import Record
from quanta.tasks.numerics import own_errors

Array = NDArray[np.float64]

METRICS: dict[str, Callable[[Any], Any]] = {
    "loss": lambda loss: loss,
    "accuracy": lambda accuracy: 2 * (1 - accuracy),
    "brier": lambda brier: 4 * brier,
}
"""What brings each metric of Curves to one scale, 1 at chance and 0 where the subtask is perfectly done; a
loss still has to be divided by chance."""

FLAT = 0.95
"""A loss that in the last factor 4 of steps fell by less than a twentieth rests, at chance or at its
floor."""
MIN_RESTING = 5
"""Subtasks at rest above the middle from which chance is measured; fewer may be something half learned."""
LOWEST_REST = 1 / 15
"""Of the loss in the beginning; what rests lower is learned. Networks may begin at ten times chance, and what
is learned rests at a twentieth of it or less."""


@dataclass(frozen=True, eq=False)
class Left(Record):
    """What is left of the loss in one slice.

    Attributes
    ----------
    share : ndarray of float32, shape (D, S, W, T, K)
        Monotone over steps, as a share of chance; after an early stop what the network ended with.
    relapse : ndarray, shape (D, S, W)
        By how much the measured mean loss lies above the monotone one, as a share of it, mean over the
        evaluations.
    last : ndarray of int, shape (D, S, W)
        Place of the last measured evaluation.
    chance : ndarray, shape (K,)
        In bits.
    chance_source : {"given", "measured", "assumed"}
    frequency : ndarray, shape (K,)
    step, n_parameters, n_train : ndarray, shapes (T,), (W,), (D,)
    width : ndarray of int, shape (W,)
    seed : ndarray of int, shape (S,)
    coordinates : dict of str to ndarray
        Every variable of the curves along n_train, width or step alone, for axes.
    """

    share: NDArray[np.float32]
    relapse: Array
    last: NDArray[np.int64]
    chance: Array
    chance_source: str
    frequency: Array
    step: Array
    n_parameters: Array
    n_train: Array
    width: NDArray[np.int64]
    seed: NDArray[np.int64]
    coordinates: dict[str, Array]

    def values(self, axis: Axis) -> Array:
        """Return the values along an axis, shape (n,)."""
        return self.coordinates[axis.coordinate]

    @property
    def end(self) -> Array:
        """Share left at the last evaluation of each network, shape (D, S, W, K)."""
        return self.share[..., -1, :].astype(np.float64)

    @property
    def last_step(self) -> Array:
        """Step of the last measured evaluation, shape (D, S, W)."""
        return np.asarray(self.step[self.last])

    def at_half(self) -> Array:
        """Share left of each network at half its steps, shape (D, S, W, K); see `halfway`."""
        found = np.empty(self.end.shape)
        for network in np.ndindex(self.last.shape):
            found[network] = halfway(self.step, self.share[network], float(self.last_step[network]))
        return found


def halfway(step: Array, share: NDArray[Any], at: float) -> Array:
    """Read monotone curves at half of a step, linear in log step between evaluations.

    Parameters
    ----------
    step : ndarray, shape (T,)
    share : ndarray, shape (T, K)
    at : float

    Returns
    -------
    ndarray, shape (K,)
        NaN where no evaluation lies between a quarter and three quarters of the step: nothing tells what was
        there.
    """
    if not ((step >= at / 4) & (step <= 3 * at / 4) & (step > 0)).any():
        return np.full(share.shape[1], np.nan)
    after = int(np.searchsorted(step, at / 2))
    if step[after] == at / 2 or after == 0 or step[after - 1] == 0:
        return np.asarray(share[after], dtype=np.float64)
    low, high = np.log(step[after - 1]), np.log(step[after])
    part = (np.log(at / 2) - low) / (high - low)
    return np.asarray((1 - part) * share[after - 1] + part * share[after], dtype=np.float64)


@own_errors()
def measure_left(curves: xr.Dataset, metric: str = "loss") -> Left:
    """Make every learning curve of a slice monotone, as a share of chance.

    Parameters
    ----------
    curves : Dataset
        A slice (see `quanta.analysis.select`).
    metric : {"loss", "accuracy", "brier"}, default "loss"

    Returns
    -------
    Left

    Raises
    ------
    ValueError
        If `curves` is not a slice, or the metric is not there wherever the loss is.

    References
    ----------
    Barlow, Bartholomew, Bremner and Brunk (1972), Statistical Inference under Order Restrictions: isotonic
    regression.
    """
    curves = select(curves)
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    dims = ("n_train", "seed", "width", "step", "subtask")
    loss = _ordered(curves["loss"], dims)
    value = loss if metric == "loss" else np.asarray(METRICS[metric](_ordered(curves[metric], dims)))
    measured = np.isfinite(loss).all(axis=-1)
    if metric != "loss" and not np.array_equal(measured, np.isfinite(value).all(axis=-1)):
        raise ValueError(f"{metric} must be measured wherever the loss is, and nowhere else")
    frequency = curves["frequency"].values.astype(np.float64)
    last = measured.sum(axis=-1) - 1
    share = np.empty(value.shape, dtype=np.float32)
    relapse = np.empty(last.shape)
    for network in np.ndindex(last.shape):
        n = last[network] + 1
        raw = value[network][:n]
        monotone = make_monotone(remove_spikes(raw))
        share[network][:n], share[network][n:] = monotone, monotone[-1]
        mean, raised = monotone @ frequency, np.maximum(raw - monotone, 0) @ frequency
        relapse[network] = float(np.mean(raised / np.where(mean > 0, mean, 1)))
    step = axes.S.values(curves)
    if metric == "loss":
        chance, source = _find_chance(curves, share, step)
        share /= chance.astype(np.float32)
    else:
        chance, source = np.ones(frequency.size), "given"
    return Left(
        share=share,
        relapse=relapse,
        last=last,
        chance=chance,
        chance_source=source,
        frequency=frequency,
        step=step,
        n_parameters=axes.N.values(curves),
        n_train=axes.D.values(curves),
        width=curves["width"].values,
        seed=curves["seed"].values,
        coordinates={
            str(name): np.atleast_1d(values).astype(np.float64)
            for name, values in curves.variables.items()
            if values.dims in (("n_train",), ("width",), ("step",)) or name == "n_train"
        },
    )


def _ordered(variable: xr.DataArray, dims: tuple[str, ...]) -> NDArray[Any]:
    """Values over the dimensions of a slice; n_train is added where one value was chosen."""
    if "n_train" not in variable.dims:
        variable = variable.expand_dims("n_train")
    return np.asarray(variable.transpose(*dims).values)


def remove_spikes(values: NDArray[Any]) -> NDArray[Any]:
    """Take out what stands above both its neighbours, down the first axis of an array of shape (T, K).

    By the median of every three: a falling curve is its own, and one spike in a hundred evaluations does not
    raise what isotonic regression makes of the rest. Of the last evaluation the two before it decide.
    """
    if len(values) < 3:
        return values
    before, here, after = values[:-2], values[1:-1], values[2:]
    low, high = np.minimum(before, after), np.maximum(before, after)
    last = np.minimum(values[-1:], np.maximum(values[-2:-1], values[-3:-2]))
    return np.concatenate([values[:1], np.clip(here, low, high), last])


def make_monotone(values: NDArray[Any]) -> NDArray[Any]:
    """Isotonic regression, falling along the first axis, of the columns of an array of shape (T, K)."""
    found = values.T.astype(np.float64, order="C")
    # Curves that fall already, as most of a simulated world, are their own regression.
    for k in np.flatnonzero((found[:, 1:] > found[:, :-1]).any(axis=1)):
        found[k] = isotonic_regression(found[k], increasing=False).x
    return found.T


def _find_chance(curves: xr.Dataset, share: NDArray[np.float32], step: Array) -> tuple[Array, str]:
    """Return the loss of a subtask of which nothing is learned, (K,), and how it is known.

    Never the first evaluation: networks may begin far above chance. It is where the subtasks rest that stay
    unlearned: the median of the losses that no longer fall and are above the middle of all that do not;
    unless that is so low that all of these may well be learned.
    """
    n_subtasks = share.shape[-1]
    if "chance" in curves:
        return np.broadcast_to(curves["chance"].values.astype(np.float64), n_subtasks).copy(), "given"
    quarter = int(np.searchsorted(step, step[-1] / 4))
    end, before = share[..., -1, :], share[..., quarter, :]
    resting = end[(end >= FLAT * before) & (quarter < step.size - 1)]
    high = resting[resting > resting.max(initial=0) / 2]
    if high.size < MIN_RESTING or np.median(high) < LOWEST_REST * np.median(share[..., 0, :]):
        return np.ones(n_subtasks), "assumed"
    return np.full(n_subtasks, float(np.median(high))), "measured"


def trace(left: Left, axis: Axis, *, width: int = -1) -> Trace:
    """Follow one resource, with the others at their largest.

    Parameters
    ----------
    left : Left
    axis : Axis
        A resource. Along D, training without end ("online") is no place.
    width : int, default -1
        Place of the width that is followed along S and D.

    Returns
    -------
    Trace
        Along N and D at the end of training; along S at every evaluation after step 0.

    Raises
    ------
    ValueError
        If the axis is no resource.
    """
    fixed = {"chance": left.chance, "frequency": left.frequency}
    if axis.dim not in ("width", "n_train", "step"):
        raise ValueError(f"axis must be a resource, along width, n_train or step, not {axis.name}")
    x = left.values(axis)
    if axis.dim == "width":
        order = np.argsort(x, kind="stable")
        return Trace(axis, x[order], left.end[-1][:, order], left.at_half()[-1][:, order], **fixed)
    if axis.dim == "n_train":
        finite = np.isfinite(x)
        end, at_half = (values[finite, :, width].swapaxes(0, 1) for values in (left.end, left.at_half()))
        return Trace(axis, x[finite], end, at_half, **fixed)
    last = int(left.last[-1, :, width].min())  # beyond an early stop nothing was measured
    there = np.flatnonzero(left.step[: last + 1] > 0)
    one = left.share[-1, :, width]
    at_half = np.empty((len(one), there.size, left.frequency.size))
    for seed, place in np.ndindex(at_half.shape[:2]):
        at_half[seed, place] = halfway(left.step, one[seed], float(left.step[there[place]]))
    return Trace(axis, x[there], one[:, there].astype(np.float64), at_half, **fixed)
