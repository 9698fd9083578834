"""The order in which subtasks are learned, and how far it is the order of their frequencies."""

import itertools
from bisect import bisect_right, insort

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

_DIMS = ("seed", "width", "subtask")


def concordance(times: xr.Dataset) -> xr.DataArray:
    """Measure how far the order of learning is the order of frequency, by Harrell's C.

    The share of comparable pairs of subtasks in which the more frequent one is learned first. A pair is
    comparable when it is known which came first: two learned at different times, or one learned and one
    censored. It compares with the rank 1..K and not with the frequency: where frequencies are equal the
    ranks are arbitrary, and 0.5 is then a measurement, not the value that ties are given.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.

    Returns
    -------
    DataArray of float, (seed, width)
        1: exactly by rank. 0.5: no order. 0: reversed. NaN: no pair is comparable, as when nothing is
        learned.

    Notes
    -----
    Two subtasks that cross between the same two evaluations are ordered by interpolation. All subtasks of a
    network are censored at the same step, its last, so a censored subtask is later than every learned one.

    References
    ----------
    Harrell et al. (1982), doi:10.1001/jama.1982.03320430047030.
    """
    learned = times["learned"].transpose(*_DIMS).values
    at = times["step"].fillna(np.inf).transpose(*_DIMS).values
    values = np.empty(learned.shape[:2])
    for network in np.ndindex(values.shape):
        values[network] = _share_in_order(at[network], np.flatnonzero(learned[network]))
    coords = {"seed": times["seed"], "width": times["width"]}
    return xr.DataArray(values, coords, ("seed", "width"), name="concordance")


def _share_in_order(at: NDArray[np.float64], learned: NDArray[np.int64]) -> float:
    """Share of the pairs of a learned subtask and a later one in which the later is rarer; NaN if none is.

    `at` has the times by rank, shape (K,), and `learned` the places of those that were learned.
    """
    n_later = n_rarer = 0
    so_far: list[int] = []  # learned by now, sorted by rank; those of one time are no pairs
    in_time = learned[np.argsort(at[learned], kind="stable")]
    for _, ranks in itertools.groupby(in_time.tolist(), key=at.__getitem__):
        together = list(ranks)
        for rank in together:
            insort(so_far, rank)
        for rank in together:
            n_later += at.size - len(so_far)
            n_rarer += at.size - 1 - rank - (len(so_far) - bisect_right(so_far, rank))
    return n_rarer / n_later if n_later else np.nan


def expected_concordance(
    frequency: NDArray[np.float64], scatter: float, n_learned: int, n_draws: int = 100
) -> float:
    """Concordance that would be found if learning times were ∝ 1/p_k but for their scatter.

    Subtasks of nearly equal frequency are learned in either order; the more are learned, the more of them
    there are. So a C below 1 is no objection by itself: this is what it is to be compared with.

    Parameters
    ----------
    frequency : ndarray, shape (K,)
    scatter : float
        Standard deviation of log learning time.
    n_learned : int
        The rest are censored.
    n_draws : int, default 100
        Of which this is the mean; always the same draws.

    Returns
    -------
    float
        NaN if nothing was learned or the scatter is not known.
    """
    if n_learned == 0 or not np.isfinite(scatter):
        return np.nan
    noise = np.random.default_rng(0).standard_normal((n_draws, frequency.size))
    shares = []
    for at in -np.log(frequency) + scatter * noise:
        shares.append(_share_in_order(at, np.argsort(at, kind="stable")[:n_learned]))
    return float(np.mean(shares))


def prefix_score(times: xr.Dataset) -> xr.DataArray:
    """Measure how far the learned set is a prefix of the frequency order.

    Of the n subtasks learned, the share that is among the n most frequent. Unlike `concordance` it needs no
    times, only which subtasks were learned by the end.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.

    Returns
    -------
    DataArray of float, (seed, width)
        1: exactly the n most frequent. A random set of n of the K subtasks scores n/K on average, so that the
        score says little once most are learned. NaN: nothing is learned.
    """
    learned = times["learned"].transpose(*_DIMS)
    n_learned = learned.sum("subtask")
    n_in_prefix = (learned & (times["subtask"] <= n_learned)).sum("subtask")
    return (n_in_prefix / n_learned.where(n_learned > 0)).rename("prefix_score")


def find_inversions(times: xr.Dataset) -> pd.DataFrame:
    """List the pairs of subtasks that were learned against the order of frequency.

    These are the comparable pairs that `concordance` does not count. As there, rank 1..K is the order, also
    where frequencies are equal.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.

    Returns
    -------
    DataFrame
        One row an inversion, the largest `time_factor` first, with the columns seed, width and

        - `subtask_first` : the rarer one, which was learned first.
        - `subtask_later` : the more frequent one, learned later or not at all.
        - `n_ranks` : how many ranks they are apart.
        - `time_factor` : how many times later, at least 1.
        - `at_least` : bool. The factor is a lower bound: the later one is censored, and was compared at the
          last evaluation, or the first one was known only to be learned by the first evaluation after step 0.

    Notes
    -----
    A network that learns half of its K subtasks in no order has about 3 K²/16 inversions.
    """
    names = ("learned", "step", "step_lower", "step_upper")
    learned, step, lower, upper = (times[name].transpose(*_DIMS).values for name in names)
    at = np.where(learned, step, np.inf)
    only_by = lower <= 0
    earliest, latest = np.where(learned, step, lower), np.where(only_by, upper, step)
    rank, seeds, widths = (times[axis].values for axis in ("subtask", "seed", "width"))
    tables = []
    for seed, width in np.ndindex(at.shape[:2]):
        here = (seed, width)
        later, first = np.nonzero(np.triu(at[here][:, None] > at[here]))
        # Where step 0 is all there is, both are 0.
        factor = earliest[here][later] / np.maximum(latest[here][first], np.finfo(np.float64).tiny)
        inversions = {
            "seed": seeds[seed],
            "width": widths[width],
            "subtask_first": rank[first],
            "subtask_later": rank[later],
            "n_ranks": rank[first] - rank[later],
            # A bound below 1, as where both were learned by the first evaluation, says only the order.
            "time_factor": np.maximum(factor, 1.0),
            "at_least": ~learned[here][later] | only_by[here][first],
        }
        tables.append(pd.DataFrame(inversions))
    return pd.concat(tables).sort_values("time_factor", ascending=False, kind="stable", ignore_index=True)


def tabulate_q_sequence(times: xr.Dataset) -> pd.DataFrame:
    """Tabulate the Q Sequence of every network.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.

    Returns
    -------
    DataFrame
        One row a (seed, width, subtask), in that order, with the columns seed, width, n_parameters, subtask,
        frequency, learned, step, step_lower, step_upper and order. `order` is 1 for the subtask learned
        first; those learned at the same time share the smaller number; <NA> if not learned.
    """
    table = times.to_dataframe(dim_order=list(_DIMS)).reset_index()
    order = table.groupby(["seed", "width"])["step"].rank(method="min")
    table["order"] = order.astype("Int64")
    columns = ["seed", "width", "n_parameters", "subtask", "frequency", "learned"]
    return table[[*columns, "step", "step_lower", "step_upper", "order"]]
