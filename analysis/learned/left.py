"""What is left of each subtask's loss, made monotone: everything else about learning is read off this.

A subtask is learned when its loss is below a share τ of chance, and there to stay. Asked of the raw curve
"to stay" would depend on how often one evaluates, since one spike or one noisy evaluation in a thousand would
unlearn it. So spikes are taken out, and every curve is made monotone once, by isotonic regression over steps:
noise is pooled with its neighbours, and a relapse that lasts raises what came before it. What lies above is
the relapse share.

A network that overfits a finite training set would unlearn by its end what it had learned. So its curve ends
where its mean loss was lowest, as if training had stopped there: what is learned by then is learned. That
step is chosen on one half of the test samples, and the curve is that of the other half
(`quanta.curves.selection`).

Shapes: D training-set sizes, S seeds, W widths, T steps, K subtasks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis, Trace
from quanta.analysis.learned.monotone import MonotoneCurves, make_monotone, remove_spikes
from quanta.analysis.learned.slices import select
from quanta.analysis.records import Record
from quanta.curves.selection import HALVES, find_place
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
    curves : dict of (int, int, int) to MonotoneCurves
        By places in D, S and W: what is left of each network's subtasks, float32, as a share of chance, until
        its last evaluation.
    relapse : ndarray, shape (D, S, W)
        By how much the measured mean loss lies above the monotone one, as a share of it, mean over the
        evaluations.
    last : ndarray of int, shape (D, S, W)
        Place of the last measured evaluation; on a finite training set, of that with the lowest mean loss.
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

    curves: dict[tuple[int, ...], MonotoneCurves]
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
    def share(self) -> NDArray[np.float32]:
        """Share left at every evaluation, shape (D, S, W, T, K).

        After an early stop it is what the network ended with. At the paper's size this is large; most is
        read off `curves`.
        """
        found = np.empty((*self.last.shape, self.step.size, self.frequency.size), dtype=np.float32)
        for network, curves in self.curves.items():
            found[network] = curves.at(-1)
            found[network][: curves.n_evaluations] = curves.dense().T
        return found

    def at_largest(self, width: int = -1) -> list[MonotoneCurves]:
        """Curves of the networks at a width and the largest n_train, one a seed."""
        n_train, n_seeds, n_widths = self.last.shape
        return [self.curves[n_train - 1, seed, width % n_widths] for seed in range(n_seeds)]

    @property
    def start(self) -> Array:
        """Share left at the first evaluation of each network, shape (D, S, W, K)."""
        return _at(self.curves, 0)

    @property
    def end(self) -> Array:
        """Share left at the last evaluation of each network, shape (D, S, W, K)."""
        return _at(self.curves, -1)

    @property
    def last_step(self) -> Array:
        """Step of the last evaluation that counts, shape (D, S, W)."""
        return np.asarray(self.step[self.last])

    def at_half(self) -> Array:
        """Share left of each network at half its steps, shape (D, S, W, K); see `halfway`."""
        found = np.empty(self.end.shape)
        for network, curves in self.curves.items():
            found[network] = halfway(self.step, curves, float(self.last_step[network]))
        return found


def halfway(step: Array, curves: MonotoneCurves, at: float | Array) -> Array:
    """Read monotone curves at half of some steps, linear in log step between evaluations.

    Parameters
    ----------
    step : ndarray, shape (T,)
    curves : MonotoneCurves
    at : float or ndarray, shape (...)
        Within the curves' evaluations.

    Returns
    -------
    ndarray, shape (..., K)
        NaN where no evaluation lies between a quarter and three quarters of the step: nothing tells what was
        there.
    """
    half = np.asarray(at, dtype=np.float64)[..., None] / 2
    tells = ((step >= half / 2) & (step <= 3 * half / 2) & (step > 0)).any(axis=-1, keepdims=True)
    after = np.searchsorted(step, half)
    before = np.maximum(after - 1, 0)
    high, low = (curves.at(place).astype(np.float64) for place in (after, before))
    is_placed = (step[after] != half) & (after > 0) & (step[before] > 0)
    start, here, end = (
        np.log(np.where(is_placed, at, somewhere))
        for at, somewhere in ((step[before], 1), (half, 2), (step[after], 2))
    )
    part = (here - start) / (end - start)
    return np.where(tells, (1 - part) * low + part * high, np.nan)


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
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    return read_left(select(curves), metric)


@own_errors()
def read_left(curves: xr.Dataset, metric: str = "loss") -> Left:
    """As `measure_left`, of what `select` has returned."""
    dims = ("n_train", "seed", "width", "step", "subtask")
    loss = _ordered(curves["loss"], dims)
    value = loss if metric == "loss" else np.asarray(METRICS[metric](_ordered(curves[metric], dims)))
    measured = _measured(loss)
    if metric != "loss" and not np.array_equal(measured, _measured(value)):
        raise ValueError(f"{metric} must be measured wherever the loss is, and nowhere else")
    frequency = curves["frequency"].values.astype(np.float64)
    last = measured.sum(axis=-1) - 1
    if set(HALVES) <= set(curves.variables):
        choice, report = (_ordered(curves[name], dims) for name in HALVES)
        halved = np.isfinite(choice[..., 0, 0])  # not of online data
        for network in zip(*np.nonzero(halved), strict=True):
            last[network] = find_place(choice[network], frequency, "lowest mean")[0]
        if metric == "loss":
            value = np.where(halved[..., None, None], report, loss)
    found: dict[tuple[int, ...], MonotoneCurves] = {}
    relapse = np.empty(last.shape)
    for network in np.ndindex(last.shape):
        raw = np.ascontiguousarray(value[network][: last[network] + 1].T)
        monotone = make_monotone(remove_spikes(raw))
        found[network] = MonotoneCurves.of(monotone.astype(np.float32))
        mean, raised = frequency @ monotone, frequency @ np.maximum(raw - monotone, 0)
        relapse[network] = float(np.mean(raised / np.where(mean > 0, mean, 1)))
    step = axes.S.values(curves)
    chance, source = np.ones(frequency.size), "given"
    if metric == "loss":
        chance, source = _find_chance(curves, found, step)
        found = {network: one.divided_by(chance) for network, one in found.items()}
    return Left(
        curves=found,
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


def _measured(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where all subtasks are known, shape (D, S, W, T); a network at a time, since marks of all are large."""
    found = np.empty(values.shape[:-1], dtype=bool)
    for network in np.ndindex(values.shape[:-2]):
        found[network] = np.isfinite(values[network]).all(axis=-1)
    return found


def _at(networks: dict[tuple[int, ...], MonotoneCurves], evaluation: int) -> Array:
    """Every network's curves at an evaluation, or where it had stopped before, shape (D, S, W, K)."""
    shape = np.max(list(networks), axis=0) + 1
    rows = [one.at(min(evaluation, one.n_evaluations - 1)) for one in networks.values()]
    return np.reshape(rows, (*shape, -1)).astype(np.float64)


def _find_chance(
    curves: xr.Dataset, networks: dict[tuple[int, ...], MonotoneCurves], step: Array
) -> tuple[Array, str]:
    """Return the loss of a subtask of which nothing is learned, (K,), and how it is known.

    Never the first evaluation: networks may begin far above chance. It is where the subtasks rest that stay
    unlearned: the median of the losses that no longer fall and are above the middle of all that do not;
    unless that is so low that all of these may well be learned.
    """
    n_subtasks = curves.sizes["subtask"]
    if "chance" in curves:
        return np.broadcast_to(curves["chance"].values.astype(np.float64), n_subtasks).copy(), "given"
    quarter = int(np.searchsorted(step, step[-1] / 4))
    start, before, end = (_at(networks, evaluation) for evaluation in (0, quarter, -1))
    resting = end[(end >= FLAT * before) & (quarter < step.size - 1)]
    high = resting[resting > resting.max(initial=0) / 2]
    if high.size < MIN_RESTING or np.median(high) < LOWEST_REST * np.median(start):
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
    networks = left.at_largest(width)
    there_left = np.stack([one.dense().T[there] for one in networks]).astype(np.float64)
    halves = np.stack([halfway(left.step, one, left.step[there]) for one in networks])
    return Trace(axis, x[there], there_left, halves, **fixed)
