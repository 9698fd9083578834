"""Whether there is one Q Sequence: how far it is the same at all widths, in all seeds and at any τ."""

from dataclasses import asdict, replace
from typing import cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from quanta.analysis.fits.errors import FitError
from quanta.analysis.fits.intervals import Interval, Statistic, jackknife_seeds, mean_over_seeds
from quanta.analysis.learned.order import concordance, prefix_score
from quanta.analysis.learned.times import count_learned

Array = NDArray[np.float64]

_DIMS = ("seed", "width", "subtask")

Range = tuple[float, float]

_SHARE = (0.0, 1.0)
"""Where a share can lie, and so its mean."""


def pairwise_agreement(times: xr.Dataset) -> xr.Dataset:
    """Measure how far every two networks learn in the same order.

    A pair of subtasks is comparable when its order is known in both networks: in each, the two were learned
    at different times, or one was learned and the other censored.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.

    Returns
    -------
    Dataset
        Over (seed, width, other_seed, other_width):

        - `agreement` : float. The share of comparable pairs that are in the same order. 1: the same order
          as far as it is known. 0.5: no relation. 0: reversed. NaN: no pair is comparable.
        - `n_pairs` : int. The number of comparable pairs.

    Notes
    -----
    Where nothing is censored and nothing ties this is (1 + Kendall's τ) / 2.

    The mean of many such shares is not 0.5 where there is no relation, but lower if few subtasks are learned.
    Two networks that learned one subtask each have one comparable pair, reversed, if those differ, and K - 1
    pairs in the same order if not: a mean share of 1/K. Of all their comparable pairs together half are in
    the same order, so `agreement_between_widths` and `agreement_between_seeds` count these.

    References
    ----------
    Kendall (1938), doi:10.1093/biomet/30.1-2.81; the comparable pairs are those of Harrell et al. (1982),
    doi:10.1001/jama.1982.03320430047030.
    """
    at = _times(times)
    n_seeds, n_widths, n_subtasks = at.shape
    n_same, n_pairs = _compare(at.reshape(-1, n_subtasks))
    agreement = np.divide(n_same, n_pairs, out=np.full(n_pairs.shape, np.nan), where=n_pairs > 0)
    dims, shape = ("seed", "width", "other_seed", "other_width"), 2 * (n_seeds, n_widths)
    seeds, widths = times["seed"].values, times["width"].values
    return xr.Dataset(
        {
            "agreement": (dims, agreement.reshape(shape)),
            "n_pairs": (dims, n_pairs.reshape(shape).astype(np.int64)),
        },
        coords={"seed": seeds, "width": widths, "other_seed": seeds, "other_width": widths},
    )


def agreement_between_widths(times: xr.Dataset) -> xr.DataArray:
    """Measure how far the widths of one seed learn in the same order.

    The widths of a seed learn the same task from the same batches, so that they can agree for reasons that
    have nothing to do with frequency. `agreement_between_seeds` has no such reason.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.

    Returns
    -------
    DataArray of float, (seed,)
        The share in the same order of the comparable pairs of subtasks of any two widths; see
        `pairwise_agreement`. 1: one order. 0.5: none in common. NaN: nothing is comparable, as when there is
        one width.
    """
    n_same, n_pairs = _compare(_times(times))
    shares = [_share(*of_seed) for of_seed in zip(n_same, n_pairs, strict=True)]
    return xr.DataArray(shares, {"seed": times["seed"]}, ("seed",), name="agreement_between_widths")


def agreement_between_seeds(times: xr.Dataset) -> xr.DataArray:
    """Measure how far the seeds learn in the same order, at every width.

    Two seeds are different tasks, with other subsets of bits, other batches and other initial weights, and
    with nothing in common but the frequencies: what they agree on comes from these.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.

    Returns
    -------
    DataArray of float, (width,)
        The share in the same order of the comparable pairs of subtasks of any two seeds; see
        `pairwise_agreement`. 1: one order. 0.5: none in common. NaN: nothing is comparable, as when there is
        one seed.
    """
    n_same, n_pairs = _compare(_times(times).swapaxes(0, 1))
    shares = [_share(*of_width) for of_width in zip(n_same, n_pairs, strict=True)]
    return xr.DataArray(shares, {"width": times["width"]}, ("width",), name="agreement_between_seeds")


def summarize_q_sequence(times: xr.Dataset, *, confidence: float = 0.9) -> pd.DataFrame:
    """Summarise over seeds how far there is one order, and how far it is that of frequency.

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.
    confidence : float, default 0.9
        Nominal coverage of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        One row a (statistic, width), with the columns statistic, width, and those of `Interval`: estimate,
        lower, upper, kind, n and confidence. The statistics are `n_learned`, `concordance`,
        `prefix_score` and `agreement_between_seeds` at every width, and `agreement_between_widths`, whose
        width is <NA>. The agreement between seeds counts pairs of seeds; the others are means over seeds.
        `n` of them enter, those for which the statistic is known. NaN where it is known for none, or
        has no interval, and then `kind` says why. An interval has no width where all seeds have the same
        value, which few seeds may have by chance.

    Raises
    ------
    ValueError
        If `confidence` is out of its range.
    """
    n_same, n_pairs = _compare(_times(times).swapaxes(0, 1))
    n_learned = count_learned(times).transpose("seed", "width").values
    order, prefix = concordance(times).values, prefix_score(times).values
    counts = (0.0, times.sizes["subtask"])
    found: dict[tuple[str, int | None], Interval] = {}
    for i, width in enumerate(times["width"].values):
        found["n_learned", width] = _mean_over_seeds(n_learned[:, i], confidence, counts)
        found["concordance", width] = _mean_over_seeds(order[:, i], confidence)
        found["prefix_score", width] = _mean_over_seeds(prefix[:, i], confidence)
        found["agreement_between_seeds", width] = _share_between_seeds(n_same[i], n_pairs[i], confidence)
    between_widths = agreement_between_widths(times)
    found["agreement_between_widths", None] = _mean_over_seeds(between_widths, confidence)
    rows = [{"statistic": name, "width": width, **asdict(one)} for (name, width), one in found.items()]
    table = pd.DataFrame(rows)
    return table.astype({"width": "Int64", "lower": np.float64, "upper": np.float64})


def consensus_order(times: xr.Dataset, width: int | None = None, *, confidence: float = 0.9) -> pd.DataFrame:
    """Find the order in which the seeds learn at one width, and how sure it is.

    Every seed ranks all K subtasks by when it learned them; those learned at the same time share the mean of
    their ranks, and so do the censored ones, which are last. The consensus is the order of the mean rank
    over seeds (Borda's).

    Parameters
    ----------
    times : Dataset
        From `analysis.learning_times`.
    width : int, optional
        The widest if left out.
    confidence : float, default 0.9
        Nominal coverage of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        One row a subtask that at least one seed learned, by `mean_rank`, with the columns

        - `order` : int, from 1. Those with the same mean rank share the smaller number.
        - `subtask`, `frequency` : its rank by frequency, and p_k.
        - `mean_rank` : float, between 1 and K.
        - `lower`, `upper` : float. Interval of the mean rank from the spread between seeds, Student t; NaN
          with one seed. It has no width where all seeds agree, which few seeds may do by chance.
        - `n_seeds_learned` : int.

    Raises
    ------
    ValueError
        If there is no such width, or `confidence` is out of its range.
    """
    widths = times["width"].values
    if width is not None and width not in widths:
        raise ValueError(f"width must be one of {', '.join(map(str, widths))}, not {width}")
    one = times.isel(width=[-1]) if width is None else times.sel(width=[width])
    at = _times(one)[:, 0]
    n_seeds_learned = np.isfinite(at).sum(axis=0)
    learned = np.flatnonzero(n_seeds_learned)
    ranks = rankdata(at, axis=1)[:, learned]
    intervals = [_mean_over_seeds(of_subtask, confidence, (1.0, at.shape[1])) for of_subtask in ranks.T]
    table = pd.DataFrame(
        {
            "order": rankdata(ranks.mean(axis=0), method="min").astype(np.int64),
            "subtask": times["subtask"].values[learned],
            "frequency": times["frequency"].values[learned],
            "mean_rank": ranks.mean(axis=0),
            "lower": np.array([interval.lower for interval in intervals], dtype=np.float64),
            "upper": np.array([interval.upper for interval in intervals], dtype=np.float64),
            "n_seeds_learned": n_seeds_learned[learned],
        }
    )
    return table.sort_values("order", kind="stable", ignore_index=True)


def _times(times: xr.Dataset) -> Array:
    """Learning times (seed, width, subtask); inf if censored, later than all that are not."""
    return times["step"].transpose(*_DIMS).fillna(np.inf).values


def _compare(at: Array) -> tuple[Array, Array]:
    """Compare every two of M networks by the times `at` (..., M, K), for each of the leading axes.

    Returns
    -------
    n_same, n_pairs : ndarray of float, (..., M, M)
        How many pairs of subtasks are in the same order, and how many are comparable.
    """
    learned = np.isfinite(at).any(axis=tuple(range(at.ndim - 1)))
    # Two subtasks that no network learned are comparable nowhere, and beside another they are all alike: one
    # column stands for all of them.
    at = np.concatenate([at[..., learned], np.full((*at.shape[:-1], 1), np.inf)], axis=-1)
    n_like_it = np.append(np.ones(np.count_nonzero(learned)), np.count_nonzero(~learned))
    n_same, n_pairs = np.zeros((2, *at.shape[:-1], at.shape[-2]))
    # One subtask at a time: all pairs of all networks at once would need M K^2 / 2 numbers.
    for i in range(at.shape[-1] - 1):
        one, others, n = at[..., [i]], at[..., i + 1 :], n_like_it[i + 1 :]
        before, after = (one < others).astype(np.float64), (one > others).astype(np.float64)
        known = before + after
        n_same += (n * before) @ before.mT + (n * after) @ after.mT
        n_pairs += (n * known) @ known.mT
    return n_same, n_pairs


def _share(n_same: Array, n_pairs: Array) -> float:
    """Divide the sums over every two different networks of counts (M, M); NaN if nothing is comparable."""
    once = np.triu_indices(len(n_pairs), 1)
    total = n_pairs[once].sum()
    return float(n_same[once].sum() / total) if total else np.nan


def _mean_over_seeds(values: ArrayLike, confidence: float, possible: Range = _SHARE) -> Interval:
    """Estimate the mean of one value a seed, cut to what is possible."""
    return _cut(mean_over_seeds(np.asarray(values, dtype=np.float64).ravel(), confidence), possible)


def _share_between_seeds(n_same: Array, n_pairs: Array, confidence: float) -> Interval:
    """Estimate the share from counts (n_seeds, n_seeds), over the seeds that can be compared with another."""
    others = n_pairs * (1 - np.eye(len(n_pairs)))
    known = np.flatnonzero(others.any(axis=1))

    def share(seeds: NDArray[np.int64]) -> float:
        chosen = np.ix_(seeds, seeds)
        return _share(n_same[chosen], n_pairs[chosen])

    return _estimate(share, known, confidence, _SHARE)


def _estimate(statistic: Statistic, known: NDArray[np.int64], confidence: float, possible: Range) -> Interval:
    """Estimate a statistic on the seeds `known`; without an interval, or as NaN, where it must be.

    A seed for which it is not known adds nothing to the spread: it must not count as a measurement. An
    interval is cut to the values that are possible, which takes nothing from its coverage.
    """
    if not known.size:
        return Interval(np.nan, None, None, "none: not known for any seed", 0, confidence)
    try:
        found = jackknife_seeds(lambda seeds: statistic(known[seeds]), known.size, confidence=confidence)
    except FitError as error:
        return cast(Interval, error.partial)
    return _cut(found, possible)


def _cut(found: Interval, possible: Range) -> Interval:
    """Cut an interval to the values that are possible, which takes nothing from its coverage."""
    if found.lower is None or found.upper is None:
        return found
    return replace(found, lower=max(found.lower, possible[0]), upper=min(found.upper, possible[1]))
