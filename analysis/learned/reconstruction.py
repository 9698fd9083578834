"""Whether the mean loss follows from which subtasks are learned, or whether any others would do as well."""

import math
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.analysis.fits.power_laws import fit_power_law
from quanta.analysis.learned.times import final_mean_loss, unlearned_mass

Array = NDArray[np.float64]

FLAT = 1e-9
"""Log losses that differ by less differ by rounding."""


@dataclass(frozen=True)
class PermutationNull:
    """How well the loss is rebuilt when chance decides.

    Attributes
    ----------
    p_value : float
        (1 + permutations with an RMS gap as small or smaller) / (1 + permutations). NaN where no network
        could be used.
    rms_gap : ndarray, shape (n_permutations,)
        That of every permutation; empty where no network could be used.
    """

    p_value: float
    rms_gap: Array = field(repr=False, compare=False)


@dataclass(frozen=True)
class Reconstruction:
    """The final mean loss against the loss rebuilt from the learned set, over networks.

    Attributes
    ----------
    r_squared : float
        `explained_variance`. It forgives any straight line, and is near 1 for anything that falls with width.
    slope : float
        Of log measured on log rebuilt loss, by least squares; 1 if the rebuilt loss is the measured one. NaN
        for fewer than three networks, or where the rebuilt loss does not vary.
    rms_gap : float
        Root mean square of log measured minus log rebuilt loss. Nothing is fitted. NaN where no network could
        be used.
    largest_gap : float
        Measured over rebuilt loss of the network in which they differ by the largest factor. NaN likewise.
    largest_gap_seed, largest_gap_width : int or None
        Which network that is.
    n_networks : int
        Networks that were used.
    n_left_out : int
        Networks whose measured or rebuilt loss is 0, which has no logarithm.
    null_of_sets : PermutationNull
        Every network learns as many subtasks as it did, but any.
    null_of_frequencies : PermutationNull
        Every network learns the subtasks it did, but their frequencies are exchanged.
    """

    r_squared: float
    slope: float
    rms_gap: float
    largest_gap: float
    largest_gap_seed: int | None
    largest_gap_width: int | None
    n_networks: int
    n_left_out: int
    null_of_sets: PermutationNull
    null_of_frequencies: PermutationNull


def measure_reconstruction(
    curves: xr.Dataset, times: xr.Dataset, *, n_permutations: int = 1999, seed: int = 0
) -> Reconstruction:
    """Hold the final mean loss against the mass of what is not learned, and that against chance.

    Both nulls keep the counts. The null of sets draws every network's learned set anew, uniformly among the
    sets of its size and independently of the other networks: it asks whether the count alone would do. The
    null of frequencies exchanges the frequencies among the subtasks, once a permutation for all networks and
    seeds: the learned sets keep everything they share, that wider networks know what narrower ones know and
    that seeds agree, and only the tie to frequency is cut. (An exchange for each seed alone would cut the
    agreement of seeds as well, and so make small p-values come more easily.)

    Parameters
    ----------
    curves : Dataset
        A slice.
    times : Dataset
        From `analysis.learning_times` of that slice.
    n_permutations : int, default 1999
        Of each null, at least 1. The smallest p-value there can be is 1 / (1 + n_permutations).
    seed : int, default 0
        Of the permutations.

    Returns
    -------
    Reconstruction
        Where no permutation changes anything, because frequencies are uniform or nothing is learned, both
        p-values are 1. Where every network has learned everything they are NaN.

    Raises
    ------
    ValueError
        If `n_permutations` is below 1, or the times are not those of the slice.

    Notes
    -----
    A small p-value says that which subtasks are learned matters, not that they account for the loss: that is
    what `rms_gap` says. Where all subtasks improve together p-values are small and the gap is large.

    References
    ----------
    Phipson and Smyth (2010), doi:10.2202/1544-6115.1585: why both parts of the p-value carry a 1.
    """
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1, not {n_permutations}")
    for axis in ("seed", "width", "subtask"):
        if not np.array_equal(times[axis].values, curves[axis].values):
            raise ValueError(f"times must be those of curves, but they differ in {axis}")
    measured = final_mean_loss(curves).values.astype(np.float64)
    rebuilt = unlearned_mass(times).values
    used = (measured > 0) & (rebuilt > 0)
    if not used.any():
        none = PermutationNull(math.nan, np.empty(0))
        return Reconstruction(*(math.nan,) * 4, None, None, 0, used.size, none, none)
    log_measured, log_rebuilt = np.log(measured[used]), np.log(rebuilt[used])
    gap = log_measured - log_rebuilt
    worst = int(np.abs(gap).argmax())
    at_seed, at_width = np.argwhere(used)[worst]
    rms_gap = _rms(gap)
    frequency = times["frequency"].values
    unlearned = ~times["learned"].transpose("seed", "width", "subtask").values[used]
    rng = np.random.default_rng(seed)
    mass_of_sets = _permute_sets(frequency, unlearned, n_permutations, rng)
    mass_of_frequencies = _permute(frequency, n_permutations, rng) @ unlearned.T.astype(np.float64)
    return Reconstruction(
        r_squared=explained_variance(log_measured, log_rebuilt),
        slope=_slope(log_measured, log_rebuilt),
        rms_gap=float(rms_gap),
        largest_gap=math.exp(gap[worst]),
        largest_gap_seed=int(curves["seed"][at_seed]),
        largest_gap_width=int(curves["width"][at_width]),
        n_networks=int(used.sum()),
        n_left_out=int((~used).sum()),
        null_of_sets=_null(rms_gap, log_measured - np.log(mass_of_sets)),
        null_of_frequencies=_null(rms_gap, log_measured - np.log(mass_of_frequencies)),
    )


def explained_variance(log_loss: Array, log_rebuilt: Array) -> float:
    """Share of the variance of log loss that a line in log reconstructed loss explains.

    The squared correlation over the points where both are there; NaN for fewer than three, or where either
    does not vary. Whether that line is the identity is asked elsewhere, of the slopes.
    """
    there = np.isfinite(log_loss) & np.isfinite(log_rebuilt)
    measured, rebuilt = log_loss[there], log_rebuilt[there]
    if measured.size < 3 or np.ptp(measured) < FLAT or np.ptp(rebuilt) < FLAT:
        return math.nan
    return float(np.corrcoef(measured, rebuilt)[0, 1] ** 2)


def _slope(log_measured: Array, log_rebuilt: Array) -> float:
    if log_measured.size < 3 or np.ptp(log_rebuilt) < FLAT:
        return math.nan
    return fit_power_law(np.exp(log_rebuilt), np.exp(log_measured)).slope


def _rms(gap: Array) -> Array:
    """Root mean square over the last axis, the networks."""
    return np.asarray(np.sqrt(np.square(gap).mean(axis=-1)))


def _null(rms_gap: Array, permuted_gap: Array) -> PermutationNull:
    """Compare with the gaps (n_permutations, n_networks) that permutations leave."""
    permuted = _rms(permuted_gap)
    n_as_good = int((permuted <= rms_gap + FLAT).sum())
    return PermutationNull((1 + n_as_good) / (1 + permuted.size), permuted)


def _permute_sets(
    frequency: Array, unlearned: NDArray[np.bool_], n_permutations: int, rng: np.random.Generator
) -> Array:
    """Mass (n_permutations, n_networks) of random sets of the sizes of the rows of `unlearned`."""
    masses = np.empty((n_permutations, len(unlearned)))
    for network, n_unlearned in enumerate(unlearned.sum(axis=1)):
        drawn = _permute(frequency, n_permutations, rng)
        masses[:, network] = drawn[:, :n_unlearned].sum(axis=1)
    return masses


def _permute(frequency: Array, n_permutations: int, rng: np.random.Generator) -> Array:
    """Permutations of p_k, shape (n_permutations, K)."""
    return rng.permuted(np.broadcast_to(frequency, (n_permutations, frequency.size)), axis=1)
