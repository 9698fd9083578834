"""Every statistic of a slice, computed once: what claims, exponents, tables and figures read.

Seeds are independent and nothing else is, so every statistic is one number a seed; means over seeds and their
intervals are made by whoever holds one against something. Statistics know no threshold but τ, and what does
not depend on τ is not computed again for each.

Shapes: S seeds, W widths, X places along an axis, K subtasks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis import axes
from quanta.analysis.axes import Axis, Trace
from quanta.analysis.fits.errors import NoEstimate
from quanta.analysis.fits.intervals import Interval, mean_over_seeds
from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.learned.budget import Budget, measure_budget, measure_drift
from quanta.analysis.learned.drops import Drops, measure_drops
from quanta.analysis.learned.growth import (
    TimeLaw,
    likelihood_of_slope,
    measure_count_law,
    measure_curvature,
    measure_time_law,
)
from quanta.analysis.learned.left import METRICS, Left, read_left, trace
from quanta.analysis.learned.order import concordance, expected_concordance
from quanta.analysis.learned.slices import select
from quanta.analysis.learned.times import (
    TAU,
    count_learned,
    cross_trace,
    find_full,
    learning_times,
    time_bounds,
)
from quanta.analysis.records import Record
from quanta.tasks.frequencies import is_zipf
from quanta.tasks.numerics import own_errors

Array = NDArray[np.float64]

TAUS = (0.05, 0.1, 0.2, 0.5)
"""Shares of chance at which answers are compared: half and twice the usual 0.1, and the middle."""


@dataclass(frozen=True, eq=False)
class AtTau(Record):
    """The statistics that depend on what counts as learned.

    Attributes
    ----------
    tau : float
        Share of chance below which a subtask is learned.
    times : Dataset
        From `quanta.analysis.learning_times`.
    base : Base
        What does not depend on τ.
    """

    tau: float
    times: xr.Dataset
    base: "Base"

    @cached_property
    def n_learned(self) -> NDArray[np.int64]:
        """Subtasks learned by the end, shape (S, W)."""
        return count_learned(self.times).transpose("seed", "width").values

    @cached_property
    def is_full(self) -> NDArray[np.bool_]:
        """Whether networks have room for no more, shape (S, W)."""
        return find_full(self.times)

    @cached_property
    def budgets(self) -> dict[str, Budget]:
        """Of every resource that varies, by its name."""
        return {name: measure_budget(one, self.tau) for name, one in self.base.traces.items()}

    @cached_property
    def time_laws(self) -> dict[str, TimeLaw]:
        """β along S, of the widest network, and along D, by the axis."""
        laws = {"S": measure_time_law(self.base.left.frequency, *time_bounds(self.times))}
        for name, one in self.base.traces.items():
            if one.axis.dim != "n_train":
                continue
            at, lower, upper = cross_trace(one, self.tau)
            latest = np.nanmax(np.where(np.isfinite(at), at, 0), axis=1, keepdims=True)
            lower = np.where(np.isfinite(upper), lower, latest)
            laws[name] = measure_time_law(self.base.left.frequency, lower, upper)
        return laws

    @cached_property
    def curvature(self) -> tuple[Array, Array, Array]:
        """Of log S_k in log p_k at the widest: β in the middle, its change, and log-likelihood, each (S,)."""
        return measure_curvature(self.base.left.frequency, *time_bounds(self.times))

    @cached_property
    def concordance(self) -> Array:
        """Harrell's C of learning time with frequency, shape (S, W)."""
        return concordance(self.times).values

    @cached_property
    def concordance_of_widest(self) -> Array:
        """The same of the widest network alone, shape (S,)."""
        return concordance(self.times.isel(width=[-1])).values[:, 0]

    @cached_property
    def expected_concordance(self) -> Array:
        """C at the widest if S_k ∝ 1/p_k and log S_k scatters as it does, shape (S,)."""
        scatter, n = self.time_laws["S"].scatter, self.n_learned[:, -1]
        return np.array(
            [
                expected_concordance(self.base.left.frequency, *of_seed)
                for of_seed in zip(scatter, n, strict=True)
            ]
        )

    @cached_property
    def _count_law(self) -> tuple[Array, float]:
        return measure_count_law(self.base.left.n_parameters, self.n_learned, self.is_full)

    @property
    def gamma(self) -> Array:
        """γ in n ∝ N^γ, shape (S,): a full network's count is its capacity, any other's a lower bound."""
        return self._count_law[0]

    @property
    def gamma_rounding(self) -> float:
        """Standard error of γ from the rounding of counts, shared by all seeds."""
        return self._count_law[1]

    def mean_gamma(self, confidence: float) -> Interval:
        """Mean of γ over seeds, with an interval that allows for how counts were rounded in all of them."""
        return mean_over_seeds(self.gamma, confidence, shared=self.gamma_rounding)

    @cached_property
    def window(self) -> tuple[Array, Array]:
        """First and last learning time of the widest, each of shape (S,); NaN where none is known.

        Before the first nothing is learned and after the last nothing more: the loss has no slope to explain.
        """
        widest = self.times.isel(width=-1).transpose("seed", "subtask")
        at = np.where(widest["step_lower"] > 0, widest["step"], np.nan)
        known = np.isfinite(at)
        first = np.where(known.any(axis=1), np.where(known, at, np.inf).min(axis=1), np.nan)
        last = np.where(known.any(axis=1), np.where(known, at, -np.inf).max(axis=1), np.nan)
        return first, last

    def loss_exponent(self, axis: Axis) -> Array:
        """Exponent of the mean loss along an axis, positive for a falling one, shape (S,).

        Along S over the steps from the first to the last learning time.
        """
        one = self.base.traces.get(axis.name)
        if one is None:
            return np.full(self.base.left.seed.size, math.nan)
        if axis.dim != "step":
            return self.budgets[axis.name].exponent
        first, last = self.window
        inside = (one.x >= first[:, None]) & (one.x <= last[:, None])
        return np.array(
            [-log_slope(one.x[there], loss[there]) for there, loss in zip(inside, one.mean_loss, strict=True)]
        )

    def loss_points(self, axis: Axis) -> tuple[Array, Array]:
        """Points of the mean loss along an axis that laws are fitted to: x (n,) and loss in bits (S, n).

        Networks of one size are averaged. Along S from the first to the last learning time, medians over
        seeds. Without those where the loss of some seed has no logarithm.
        """
        one = self.base.traces[axis.name]
        x, place = np.unique(one.x, return_inverse=True)
        loss = np.stack([one.mean_loss[:, place == i].mean(axis=1) for i in range(x.size)], axis=1)
        there = (loss > 0).all(axis=0)
        if axis.dim == "step":
            first, last = (
                np.median(ends[np.isfinite(ends)]) if np.isfinite(ends).any() else math.nan
                for ends in self.window
            )
            there &= (x >= first) & (x <= last)
        return x[there], loss[:, there]

    def likelihoods(self, betas: Sequence[float | None]) -> Array:
        """Best log-likelihood of the learning times of the widest at each β (None: free), shape (S, n)."""
        bounds = time_bounds(self.times)
        return np.stack([likelihood_of_slope(self.base.left.frequency, *bounds, b) for b in betas], axis=1)


@dataclass(frozen=True, eq=False)
class Base(Record):
    """The statistics that do not depend on τ.

    Attributes
    ----------
    curves : Dataset
        What was measured.
    alpha : float
        Quanta exponent of the frequencies; -1 if they are equal, NaN if it is not known or they are not those
        of the α that the curves name.
    left : Left
    traces : dict of str to Trace
        Of every resource along which there are three places or more, by its name.
    drops : dict of str to list of Drops
        By metric: of the widest network of each seed.
    """

    curves: xr.Dataset
    alpha: float
    left: Left
    traces: dict[str, Trace]
    drops: dict[str, list[Drops]]

    @cached_property
    def drifts(self) -> dict[str, Array]:
        """Share of the exponent in loss that changes without anything being learned, shape (S,).

        Of N and D, by name; along S all that is half-learned moves.
        """
        found = {}
        for name, one in self.traces.items():
            if one.axis.dim != "step":
                exponent = measure_budget(one).exponent
                found[name] = measure_drift(one) / np.where(exponent == 0, np.nan, exponent)
        return found

    @property
    def serial_beta(self) -> float:
        """β if subtasks are learned one after another, x_k ∝ k; NaN if all are equally frequent.

        It is 1/(1+α) under a Zipf law.
        Source: Liu et al. (2025), arXiv:2501.12391.
        """
        return -log_slope(self.left.frequency, np.arange(1.0, self.left.frequency.size + 1))


@dataclass(frozen=True, eq=False)
class Statistics(Record):
    """All statistics of a slice.

    Attributes
    ----------
    base : Base
    tau : float
        At which the verdict is given.
    by_tau : dict of float to AtTau
        Ascending; `tau` and those it is compared with.
    """

    base: Base
    tau: float
    by_tau: dict[float, AtTau]

    @property
    def here(self) -> AtTau:
        """The statistics at `tau`."""
        return self.by_tau[self.tau]


@own_errors()
def measure(
    curves: xr.Dataset,
    tau: float = TAU,
    taus: Sequence[float] = TAUS,
    resources: Sequence[Axis] = axes.RESOURCES,
) -> Statistics:
    """Measure a slice.

    Parameters
    ----------
    curves : Dataset
        A slice (see `quanta.analysis.select`).
    tau : float, default 0.1
        Share of chance below which a subtask is learned.
    taus : sequence of float
        Others to compare with.
    resources : sequence of Axis
        Along which the loss is followed.

    Returns
    -------
    Statistics

    Raises
    ------
    ValueError
        If `curves` is not a slice, or a τ is not between 0 and 1.
    """
    curves = select(curves)
    left = read_left(curves)
    found = {axis.name: trace(left, axis) for axis in resources}
    base = Base(
        curves=curves,
        alpha=_alpha_of(left.frequency, float(curves["alpha"].values.item())),
        left=left,
        traces={name: one for name, one in found.items() if one.is_a_curve},
        drops={metric: _drops(curves, left, metric) for metric in METRICS if metric in curves},
    )
    by_tau = {one: AtTau(one, learning_times(left, one), base) for one in sorted({tau, *taus})}
    return Statistics(base, tau, by_tau)


def _alpha_of(frequency: Array, alpha: float) -> float:
    """α, where the frequencies are those of it; NaN otherwise, since no prediction follows from it then."""
    known = math.isfinite(alpha) and alpha >= -1 and is_zipf(frequency, alpha)
    return alpha if known else math.nan


def _drops(curves: xr.Dataset, left: Left, metric: str) -> list[Drops]:
    if metric != "loss":
        left = read_left(curves.isel(width=[-1]), metric)
    found = []
    for one in left.at_largest():
        share = one.dense().T.astype(np.float64)
        found.append(measure_drops(left.step[: len(share)], share, left.frequency * left.chance))
    return found


def log_slope(x: Array, y: Array) -> float:
    """Least-squares slope of log y on log x over the positive points; NaN if they do not allow one."""
    there = (x > 0) & (y > 0) & np.isfinite(x) & np.isfinite(y)
    try:
        return fit_power_law(x[there], y[there]).slope
    except NoEstimate:
        return math.nan
