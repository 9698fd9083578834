"""The one way in: whatever becomes Curves, from a file, arrays or a table, becomes so here.

Variables and axes are taken by their names, never by their places. What can be put right without a guess is
put right; what cannot is refused, by name and value.
"""

import math
import operator
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta._version import __version__
from quanta.curves.schema import (
    AXES,
    SCHEMA,
    VARIABLES,
    CurvesError,
    is_mean_loss,
    validate,
    weighted_mean_loss,
)
from quanta.tasks.numerics import own_errors

DEFAULTS = {"alpha": math.nan, "n_train": math.inf, "seed": 0, "width": 1}
"""What an axis of length one holds that curves do not speak of: not known, online, and the only ones."""

FILL = 9.969209968386869e36
"""What netCDF holds where a floating-point number was never written, if no other fill value was declared."""

ROUNDING = 1e-6
"""By how much a value may lie outside its range, as sums of float32 do; it is then put at the end of it."""

BITS: dict[str, float] = {"bit": 1.0, "bits": 1.0, "1": 1.0, "": 1.0} | dict.fromkeys(
    ("nat", "nats"), 1 / math.log(2)
)
"""Bits in each unit of a loss; a unit that says nothing is taken for bits."""

WHOLE = ("seed", "width", "step", "subtask", "n_parameters", "samples_seen", "examples_seen")
"""What must be whole numbers: a part of one is refused and never cut off."""

ATTRIBUTES = ("schema", "version", "study", "units_missing", "missing_units", "left_out")
"""What is kept of the attributes of a dataset."""

_LOSSES = ("loss", "mean_loss", "chance", "selection_loss", "reported_loss")
_ALONG_ONE = (("n_train",), ("width",), ("step",))
_converted: dict[int, tuple[Callable[[], xr.Dataset | None], list[Any], xr.Dataset | None]] = {}


@own_errors()
def as_curves(data: xr.Dataset) -> xr.Dataset:
    """Bring a dataset into the schema of Curves.

    Axes are transposed by name, sorted, and added where one of length one is missing or a scalar; masked and
    unwritten values become NaN; losses in nats become bits; a missing `mean_loss` is computed. Variables that
    the schema does not know are left aside, but for numbers along n_train, width or step alone, which may be
    an axis of the analysis. A seed of which a network was not measured at all is left out, or else such a
    width, and so is a `mean_loss` that is another mean; the attribute `left_out` says what.

    Parameters
    ----------
    data : Dataset
        With `loss`, `frequency` and `n_parameters` at least; values may lie in a file still.

    Returns
    -------
    Dataset
        Curves in memory; the same object if nothing had to be done. Of an object that was brought here
        before, what became of it then, unless a variable was replaced; numbers that are changed within one
        are not noticed.

    Raises
    ------
    CurvesError
        If something cannot be put right; names the variable, what was expected and what was found.
    """
    if not isinstance(data, xr.Dataset):
        raise CurvesError(f"curves: expected a Dataset, found {type(data).__name__}")
    before = _converted.get(id(data))
    if before is not None and before[0]() is data and _is_same(before[1], _held(data)):
        return data if before[2] is None else before[2]
    found = validate(_convert(data))
    _remember(data, found)
    _remember(found, found)
    return found


def _remember(data: xr.Dataset, curves: xr.Dataset) -> None:
    """Note what a dataset became, so that it is not looked at again."""
    key = id(data)
    of_data = weakref.ref(data, lambda _: _converted.pop(key, None))
    # Held by itself it would never go.
    _converted[key] = of_data, _held(data), None if curves is data else curves


def _held(data: xr.Dataset) -> list[Any]:
    """List what a dataset holds, and in which units: other variables may be put into it later."""
    return [part for variable in data.variables.values() for part in (variable, variable.attrs.get("units"))]


def _is_same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(map(operator.is_, before, now))


def _convert(data: xr.Dataset) -> xr.Dataset:
    axes = {axis: _axis(data, axis) for axis in AXES}
    variables = {}
    for name, variable in data.variables.items():
        if name in VARIABLES:
            variables[str(name)] = _variable(str(name), variable, axes)
        elif name not in AXES and variable.dims in _ALONG_ONE and variable.dtype.kind in "iuf":
            variables[str(name)] = variable
    attributes = {"schema": SCHEMA, "version": __version__} | {
        name: data.attrs[name] for name in ATTRIBUTES if name in data.attrs
    }
    is_same = set(attributes) == set(data.attrs) and data.variables.keys() == (variables | axes).keys()
    for name, variable in (variables | axes).items():
        is_same = is_same and variable is data.variables[name]
    found = data if is_same else xr.Dataset(variables, axes, attributes)
    return _with_mean_loss(_leave_out(_in_order(found)))


def _axis(data: xr.Dataset, axis: str) -> xr.Variable:
    """Return the values of an axis, whole where they have to be."""
    if axis not in data.variables:
        n = data.sizes.get(axis, 1)
        if axis in ("subtask", "seed") and axis in data.dims:  # their names are their numbers
            values: Any = np.arange(n) + (axis == "subtask")
        elif axis in DEFAULTS and n == 1:
            values = np.array([DEFAULTS[axis]], dtype=np.int64 if axis in WHOLE else np.float64)
        else:
            raise CurvesError(f"{axis}: expected a coordinate of one dimension, found none")
        return xr.Variable(axis, values)
    given = data.variables[axis]
    if given.size == 0:
        raise CurvesError(f"{axis}: expected at least one value, found none")
    if given.ndim > 1 or (given.ndim == 1 and given.dims != (axis,)):
        raise CurvesError(f"{axis}: expected a coordinate of one dimension, found {given.dims}")
    values = _numbers(axis, given)
    found = _whole(axis, values) if axis in WHOLE else values.astype(np.float64, copy=False)
    if given.ndim == 1 and found is values:
        return given
    return xr.Variable(axis, np.atleast_1d(found), given.attrs)


def _variable(name: str, given: xr.Variable, axes: dict[str, xr.Variable]) -> xr.Variable:
    """Return a variable over its dimensions, in bits, with NaN for what is missing."""
    schema = VARIABLES[name]
    values = _numbers(name, given)
    if name in _LOSSES:
        values = _in_bits(name, values, given.attrs.get("units", ""))
    if name in WHOLE:
        values = _whole(name, values)
    elif values.dtype.kind == "f":
        values = _in_range(_missing(values, given.attrs), schema.upper)
    with np.errstate(over="ignore", under="ignore"):  # what is infinite then is refused as such
        values = values.astype(schema.dtype, copy=False)
    if values is given.values and given.dims == schema.dims:
        return given
    absent = [dim for dim in schema.dims if dim not in given.dims]
    beside = [dim for dim in given.dims if dim not in schema.dims]
    if any(axes[dim].size > 1 for dim in absent) or any(
        dim not in AXES or given.sizes[dim] > 1 for dim in beside
    ):
        raise CurvesError(f"{name}: expected dimensions {schema.dims}, found {given.dims}")
    named = xr.Variable(given.dims, values).isel(dict.fromkeys(beside, 0))
    whole = xr.Variable((*absent, *named.dims), named.values[(None,) * len(absent)])
    return xr.Variable(schema.dims, whole.transpose(*schema.dims).values, schema.attributes)


def _numbers(name: str, given: xr.Variable) -> NDArray[Any]:
    values = np.asarray(given.values)  # which reads what lies in a file, or is only planned, still
    if values.dtype.kind not in "iuf":
        raise CurvesError(f"{name}: expected numbers, found type {values.dtype}")
    return values


def _whole(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "i":
        return values.astype(np.int64, copy=False)
    if values.dtype.kind == "u":
        wrong = values > np.iinfo(np.int64).max
    else:
        wrong = ~(np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2.0**63))
    if wrong.any():
        raise CurvesError(f"{name}: expected whole numbers, found {values[wrong].flat[0]:.6g}")
    return values.astype(np.int64)


def _missing(values: NDArray[Any], attributes: dict[Any, Any]) -> NDArray[Any]:
    """Put NaN where a value was never written, or is the one that stands for missing."""
    marks = [FILL, *(attributes[name] for name in ("_FillValue", "missing_value") if name in attributes)]
    for mark in np.array([mark for mark in marks if isinstance(mark, int | float | np.number)], values.dtype):
        if (values == mark).any():
            values = np.where(values == mark, np.nan, values)
    return values


def _in_bits(name: str, values: NDArray[Any], unit: object) -> NDArray[Any]:
    bits = BITS.get(unit.strip().lower()) if isinstance(unit, str) else None
    if bits is None:
        raise CurvesError(f"{name}: expected units of bit or nat, found {unit!r}")
    return values if bits == 1 else np.asarray(values * bits, dtype=np.result_type(values, np.float32))


def _in_range(values: NDArray[Any], upper: float) -> NDArray[Any]:
    """Put what rounding carried out of the range back to its end."""
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    below, above = -ROUNDING <= low < 0, upper < high <= upper * (1 + ROUNDING)
    if below or above:
        values = np.clip(values, 0 if below else None, upper if above else None)
    return values


def _in_order(curves: xr.Dataset) -> xr.Dataset:
    """Sort the axes; a value that is there twice is refused."""
    for axis in AXES:
        values = curves[axis].values
        order = np.argsort(values, kind="stable")
        for first, second in zip(values[order][:-1], values[order][1:], strict=True):
            if first == second or (first != first and second != second):
                raise CurvesError(f"{axis}: expected each value once, found {second:g} after {first:g}")
        if not np.array_equal(order, np.arange(values.size)):
            curves = curves.isel({axis: order})
    return curves


def _leave_out(curves: xr.Dataset) -> xr.Dataset:
    """Leave out the seeds, or else the widths, of which a network was not measured at all."""
    loss = curves.variables.get("loss")
    if loss is None or loss.dims != AXES or loss.size == 0:
        return curves
    never = np.isnan(loss.values[..., 0, 0])  # for most, enough to know that there is something
    for network in np.argwhere(never):
        never[tuple(network)] = np.isnan(loss.values[tuple(network)]).all()
    if not never.any():
        return curves
    for axis, along in (("seed", (0, 1, 3)), ("width", (0, 1, 2))):
        incomplete = never.any(axis=along)
        if incomplete.all():
            continue
        others = "width" if axis == "seed" else "seed"
        place = AXES.index(others)
        at = np.unique(np.argwhere(never)[:, place])
        left_out = ", ".join(str(value) for value in curves[axis].values[incomplete])
        where = ", ".join(str(value) for value in curves[others].values[at])
        note = f"{axis} {left_out}: nothing was measured at {others} {where}"
        return _noted(curves.isel({axis: ~incomplete}), note)
    _, _, seed, width = np.argwhere(never)[0]
    where = f"seed {curves['seed'].values[seed]}, width {curves['width'].values[width]}"
    raise CurvesError(f"loss: nothing was measured for {where}: leave out that seed or that width")


def _noted(curves: xr.Dataset, note: str) -> xr.Dataset:
    known = curves.attrs.get("left_out")
    return curves.assign_attrs(left_out=f"{known}; {note}" if known else note)


def _with_mean_loss(curves: xr.Dataset) -> xr.Dataset:
    """Compute the mean loss where it is missing or another one, as of other samples or of rounded losses."""
    if not {"loss", "frequency"} <= set(curves.variables):
        return curves
    schema = VARIABLES["mean_loss"]
    mean_loss = weighted_mean_loss(curves)
    given = curves.variables.get("mean_loss")
    if given is not None:
        if given.shape == mean_loss.shape and is_mean_loss(given.values, mean_loss):
            return curves
        curves = _noted(curves, "mean_loss as it was given, which is not the sum of frequency times loss")
    with np.errstate(over="ignore", under="ignore"):
        return curves.assign(mean_loss=(schema.dims, mean_loss.astype(schema.dtype), schema.attributes))
