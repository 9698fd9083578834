"""Slices: Curves at one α, which is what the analysis works on."""

import numpy as np
import xarray as xr

from quanta.curves.conversion import as_curves


def select(curves: xr.Dataset, alpha: float | None = None, n_train: float | None = None) -> xr.Dataset:
    """Take the slice of Curves at one α, and at one n_train if one is asked for.

    Parameters
    ----------
    curves : Dataset
        Curves, or what `quanta.as_curves` can make Curves of, such as a slice.
    alpha : float, optional
        Needed only where there are several. NaN matches NaN.
    n_train : float, optional
        One value of the resource D, `inf` for online training. All stay if left out.

    Returns
    -------
    Dataset
        Without the dimension alpha, which stays as a scalar coordinate.

    Raises
    ------
    CurvesError
        If they are no Curves and cannot be put right.
    ValueError
        If a value is not there, or there are several α and none was chosen; lists what there is.
    """
    found = _select_one(as_curves(curves), "alpha", alpha)
    return found if n_train is None else _select_one(found, "n_train", n_train, keep=True)


def _select_one(curves: xr.Dataset, axis: str, chosen: float | None, *, keep: bool = False) -> xr.Dataset:
    values = curves[axis].values
    available = ", ".join(f"{value:g}" for value in values)
    if chosen is None:
        if len(values) > 1:
            raise ValueError(f"{axis} must be chosen: the curves hold {available}")
        place = 0
    else:
        matches = np.flatnonzero(np.isclose(values, chosen, rtol=1e-9, atol=1e-12, equal_nan=True))
        if matches.size == 0:
            raise ValueError(f"{axis} must be one of {available}, not {chosen:g}")
        place = int(matches[0])
    return curves.isel({axis: [place] if keep else place})
