"""Join the curves of several units into one dataset, which is then the only copy of them."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from quanta.curves.schema import AXES, UNIT_AXES, CurvesError, validate


def combine(parts: Iterable[xr.Dataset], grid: Mapping[str, ArrayLike] | None = None) -> xr.Dataset:
    """Join the curves of several units along the axes of a study.

    Parameters
    ----------
    parts : iterable of Dataset
        Curves that agree on width, step and subtask and together fill a grid of (alpha, n_train, seed).
    grid : mapping of str to array_like, optional
        The values on each of these three axes, in any order. With it the parts are taken one by one, so that
        an iterator need not hold one while it makes the next; without it they are all looked at first.

    Returns
    -------
    Dataset
        Validated; the attributes are those of the first part.

    Raises
    ------
    CurvesError
        If there is none, one does not fit the schema, or they do not fill a grid.
    """
    checked: Iterable[xr.Dataset] = map(validate, parts)
    if grid is None:
        checked = list(checked)
        if not checked:
            raise CurvesError("curves: expected at least one unit, found none")
        grid = {axis: np.concatenate([part[axis].values for part in checked]) for axis in UNIT_AXES}
    whole = _Whole({axis: np.unique(np.asarray(grid[axis])) for axis in UNIT_AXES})
    for part in checked:
        whole.put(part.transpose(*AXES, ...))
        del part  # before the next one is made
    return whole.finish()


class _Whole:
    """Curves that are filled part by part. What fits the schema in all parts fits it in the whole."""

    def __init__(self, axes: dict[str, NDArray[Any]]) -> None:
        self._axes = axes
        self._seen = np.zeros([len(values) for values in axes.values()], dtype=bool)
        self._first: xr.Dataset | None = None
        self._variables: dict[Hashable, xr.Variable] = {}
        self._known: dict[Hashable, NDArray[np.bool_]] = {}

    def put(self, part: xr.Dataset) -> None:
        """Copy a part to its place; its variables have the axes of a study first."""
        places = {axis: self._find(axis, part[axis].values) for axis in UNIT_AXES}
        here = np.ix_(*places.values())
        if self._seen[here].any():
            raise _misfit("one of them is there twice")
        self._seen[here] = True
        if self._first is None:
            if self._seen.all():  # it is the whole, and need not be copied
                self._first = part
                return
            self._first = part.drop_vars([*part.data_vars])
            self._make_room(part)
        for name in part.variables.keys() ^ (self._variables.keys() | set(UNIT_AXES)):
            raise _misfit(f"{name} is known of some only")
        for name in self._variables:
            self._fill(name, part.variables[name], places)

    def _find(self, axis: str, values: NDArray[Any]) -> NDArray[np.intp]:
        there = self._axes[axis]
        places = np.minimum(np.searchsorted(there, values), len(there) - 1)
        if not np.array_equal(there[places], values, equal_nan=True):
            raise _misfit(f"there is none for {axis} {values[there[places] != values][0]}")
        return places

    def _make_room(self, first: xr.Dataset) -> None:
        for name, variable in first.variables.items():
            if name not in UNIT_AXES:
                shape = {dim: len(self._axes.get(str(dim), ())) or n for dim, n in variable.sizes.items()}
                values = np.empty(tuple(shape.values()), variable.dtype)
                self._variables[name] = xr.Variable(variable.dims, values, variable.attrs)
                self._known[name] = np.zeros([n for dim, n in shape.items() if dim in UNIT_AXES], dtype=bool)

    def _fill(self, name: Hashable, part: xr.Variable, places: dict[str, NDArray[np.intp]]) -> None:
        """Copy a variable; where another part has told it before, both must agree."""
        whole, known = self._variables[name].values, self._known[name]
        here = np.ix_(*(places[str(dim)] for dim in part.dims if dim in UNIT_AXES))
        before = known[here]
        shape = (*before.shape, *whole.shape[known.ndim :])
        if part.shape != shape or not np.can_cast(part.dtype, whole.dtype, "safe"):
            raise _misfit(
                f"{name} is {part.dtype} of shape {part.shape} in one, not {whole.dtype} of {shape}"
            )
        if before.any():
            told, again = whole[here][before], part.values[before]
            if not np.array_equal(told, again, equal_nan=whole.dtype.kind in "fc"):
                raise _misfit(f"{name} is not the same in all")
        whole[here] = part.values
        known[here] = True

    def finish(self) -> xr.Dataset:
        """Return the whole, once all of it is there."""
        if self._first is None or not self._seen.all():
            missing = np.argwhere(~self._seen)[0]
            where = zip(self._axes.items(), missing, strict=True)
            raise _misfit(
                "there is none for " + ", ".join(f"{axis} {there[i]}" for (axis, there), i in where)
            )
        if not self._variables:
            return self._first
        axes = {axis: (axis, there, self._first[axis].attrs) for axis, there in self._axes.items()}
        whole = xr.Dataset({**self._variables, **axes}, attrs=self._first.attrs)
        return whole.set_coords(list(self._first.coords))


def _misfit(reason: str) -> CurvesError:
    return CurvesError(f"curves: the units do not fill one grid ({reason})")
