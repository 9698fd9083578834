"""The order in which subtasks are learned, and how far it is the order of their frequencies."""

import numpy as np
import pandas as pd
import xarray as xr
from lifelines.utils import concordance_index

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
    rank = times["subtask"].values
    values = np.full(learned.shape[:2], np.nan)
    for network in np.ndindex(values.shape):
        try:
            values[network] = concordance_index(at[network], rank, learned[network])
        except ZeroDivisionError:  # how lifelines says that no pair is comparable
            continue
    coords = {"seed": times["seed"], "width": times["width"]}
    return xr.DataArray(values, coords, ("seed", "width"), name="concordance")


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
