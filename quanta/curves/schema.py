"""The schema of Curves: which variables there are, over which axes, and what their values may be."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from quanta.study.axes import CURVES_AXES
from quanta.tasks.errors import QuantaError

SCHEMA = 1
"""Version of the format; stored in the attribute `schema`."""

UNIT_AXES = tuple(axis.name for axis in CURVES_AXES)
"""The dimensions along which units differ: each unit has one value of each."""

AXES = (*UNIT_AXES, "width", "step", "subtask")
"""The dimensions of `loss`, in order. Axes of length one stay."""


class CurvesError(QuantaError):
    """Data that do not fit the Curves schema; says which variable, what was expected, what was found."""


@dataclass(frozen=True)
class Variable:
    """One variable of the schema.

    Attributes
    ----------
    dims : tuple of str
        Its dimensions, in order.
    meaning : str
        One line for people.
    units : str
        "1" where there is none.
    required : bool
        Whether curves without it are refused.
    dtype : str
        The type it is saved as.
    upper : float
        The largest value allowed; the smallest is 0 for every variable.
    positive : bool
        Whether 0 is refused as well.
    """

    dims: tuple[str, ...]
    meaning: str
    units: str
    required: bool
    dtype: str = "float32"
    upper: float = np.inf
    positive: bool = False

    @property
    def attributes(self) -> dict[str, str]:
        """What it says of itself in files, as netCDF's conventions call it."""
        return {"long_name": self.meaning, "units": self.units}


VARIABLES = {
    "loss": Variable(AXES, "test cross-entropy of a subtask", "bit", required=True),
    "accuracy": Variable(AXES, "share of test samples predicted correctly", "1", required=False, upper=1),
    "brier": Variable(AXES, "mean squared error of the predicted probability", "1", required=False, upper=1),
    "selection_loss": Variable(
        AXES, "loss on the half of the test samples on which a step is chosen", "bit", required=False
    ),
    "reported_loss": Variable(
        AXES, "loss on the other half, which is reported at the step chosen", "bit", required=False
    ),
    "mean_loss": Variable(AXES[:-1], "mean loss, sum of frequency times loss", "bit", required=True),
    "frequency": Variable(
        ("alpha", "subtask"),
        "probability of a subtask",
        "1",
        required=True,
        dtype="float64",
        upper=1,
        positive=True,
    ),
    "chance": Variable(
        ("subtask",),
        "loss of a subtask of which nothing is learned",
        "bit",
        required=False,
        dtype="float64",
        positive=True,
    ),
    "n_parameters": Variable(
        ("width",), "number of parameters of one network", "1", required=True, dtype="int64"
    ),
    "samples_seen": Variable(
        (*UNIT_AXES, "step", "subtask"),
        "training samples of the subtask so far",
        "1",
        required=False,
        dtype="int64",
    ),
    "examples_seen": Variable(
        (*UNIT_AXES, "step", "subtask"),
        "different training examples of the subtask so far",
        "1",
        required=False,
        dtype="int64",
    ),
}
"""The schema: name to dimensions, meaning and units."""


def validate(curves: xr.Dataset) -> xr.Dataset:
    """Check that curves fit the schema, and return them unchanged.

    Parameters
    ----------
    curves : Dataset

    Returns
    -------
    Dataset
        The same object.

    Raises
    ------
    CurvesError
        Names the first variable that does not fit, what was expected and what was found.
    """
    _check_attributes(curves.attrs)
    for axis in AXES:
        _check_axis(curves, axis)
    for name, variable in VARIABLES.items():
        if name in curves:
            _check_variable(curves, name, variable)
        elif variable.required:
            raise CurvesError(f"{name}: expected a variable over {variable.dims}, found none")
    _check_early_stops(curves)
    _check_frequency(curves["frequency"].values)
    _check_sizes(curves["n_parameters"].values, curves["width"].values)
    expected = weighted_mean_loss(curves)
    mean_loss = curves["mean_loss"].values
    if not np.array_equal(np.isnan(mean_loss), np.isnan(expected)):
        raise CurvesError("mean_loss: expected NaN where loss is NaN and nowhere else")
    if not is_mean_loss(mean_loss, expected):
        gap = float(np.nanmax(np.abs(mean_loss - expected)))
        raise CurvesError(f"mean_loss: expected the sum of frequency times loss, found a gap of {gap:.3g}")
    _check_halves(curves)
    return curves


def is_mean_loss(mean_loss: NDArray[np.floating], expected: NDArray[np.float64]) -> bool:
    """Whether a mean loss is the expected one, to the rounding of float32."""
    return np.allclose(mean_loss, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


def weighted_mean_loss(curves: xr.Dataset) -> NDArray[np.float64]:
    """Sum frequency times loss over subtasks, in bits, over the other dimensions of `loss`."""
    loss, frequency = curves["loss"].values, curves["frequency"].values.astype(np.float64)
    mean_loss = np.empty(loss.shape[:-1])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for network in np.ndindex(loss.shape[:-2]):  # the loss of all as float64 might not fit
            weighted = loss[network].astype(np.float64) * frequency[network[0]]
            mean_loss[network] = weighted.sum(axis=-1)
    return mean_loss


def _check_attributes(attributes: dict[Any, Any]) -> None:
    schema, study, missing = (attributes.get(name) for name in ("schema", "study", "units_missing"))
    names, left_out = attributes.get("missing_units", ""), attributes.get("left_out", "")
    if np.any(schema != SCHEMA):  # a foreign attribute may be an array
        raise CurvesError(f"attribute schema: expected {SCHEMA}, found {schema!r}")
    if not isinstance(study, str | None):
        raise CurvesError(f"attribute study: expected text, found {study!r}")
    if missing is not None and not (isinstance(missing, int | np.integer) and missing >= 0):
        raise CurvesError(f"attribute units_missing: expected a number from 0 up, found {missing!r}")
    if not isinstance(names, str) or not names.isprintable():
        raise CurvesError(f"attribute missing_units: expected ids of units, found {names!r}")
    if not isinstance(left_out, str) or not left_out.isprintable():
        raise CurvesError(f"attribute left_out: expected what was left out, found {left_out!r}")


def _check_axis(curves: xr.Dataset, axis: str) -> None:
    if axis not in curves.coords or curves[axis].dims != (axis,):
        raise CurvesError(f"{axis}: expected a coordinate of one dimension, found none")
    values = curves[axis].values
    if values.size == 0:
        raise CurvesError(f"{axis}: expected at least one value, found none")
    if values.dtype.kind not in "iuf":
        raise CurvesError(f"{axis}: expected numbers, found type {values.dtype}")
    if axis == "subtask":
        if not np.array_equal(values, np.arange(1, values.size + 1)):
            place = int((values != np.arange(1, values.size + 1)).argmax())
            found = f"{values[place]:g} at place {place + 1}"
            raise CurvesError(f"subtask: expected 1..{values.size}, all of them, found {found}")
        return
    rising = values[1:] > values[:-1]
    if not rising.all():
        place = int(rising.argmin())
        after = f"{values[place + 1]:g} after {values[place]:g}"
        raise CurvesError(f"{axis}: expected increasing values, found {after}")
    if axis in ("seed", "width", "step") and not np.isfinite(values).all():
        raise CurvesError(f"{axis}: expected finite values, found {values[~np.isfinite(values)][0]:g}")
    smallest = {"width": 1, "step": 0, "n_train": 1}.get(axis)
    if smallest is not None and not values[0] >= smallest:
        raise CurvesError(f"{axis}: expected values from {smallest} up, found {values[0]}")


def _check_variable(curves: xr.Dataset, name: str, variable: Variable) -> None:
    """Raise CurvesError unless the dimensions, the type and the range of a variable are as they must be."""
    array = curves[name]
    if array.dims != variable.dims:
        raise CurvesError(f"{name}: expected dimensions {variable.dims}, found {array.dims}")
    if array.dtype.kind not in "iuf":
        raise CurvesError(f"{name}: expected numbers, found type {array.dtype}")
    values = array.values
    # All that is asked of the values, without an array as large as they are; NaN is left out.
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if np.isinf([low, high]).any():
        raise CurvesError(f"{name}: expected finite values, found an infinite one")
    is_curve = {"width", "step"} <= set(variable.dims)
    if not is_curve and np.isnan(np.min(values)):
        raise CurvesError(f"{name}: expected finite values, found NaN")
    if low < 0 or high > variable.upper * (1 + 1e-6):
        raise CurvesError(f"{name}: expected 0..{variable.upper:g}, found {low:.6g}..{high:.6g}")
    if variable.positive and low == 0:
        raise CurvesError(f"{name}: expected positive values, found 0")


def _check_early_stops(curves: xr.Dataset) -> None:
    """NaN may stand only at the end of a curve, for every subtask at once."""
    loss = curves["loss"].values
    for unit in np.ndindex(loss.shape[:3]):  # one by one, for the sake of memory
        missing = np.isnan(loss[unit])
        stopped = missing.all(axis=-1)
        # Here, or later.
        measured = np.logical_or.accumulate(~stopped[..., ::-1], axis=-1)[..., ::-1]
        wrong = (missing & measured[..., None]).any(axis=-1)
        wrong[..., 0] |= stopped[..., 0]
        if wrong.any():
            width, step = np.argwhere(wrong)[0]
            places = {"seed": unit[2], "width": width, "step": step}
            where = ", ".join(f"{axis} {curves[axis].values[place]}" for axis, place in places.items())
            raise CurvesError(
                f"loss: expected NaN only after an early stop, found NaN before measured values at {where}"
            )


def _check_halves(curves: xr.Dataset) -> None:
    """Refuse losses on halves of the test samples unless they are where the loss is, or none of a unit is."""
    for name in ("selection_loss", "reported_loss"):
        if name not in curves:
            continue
        for unit in np.ndindex(curves["loss"].shape[:3]):
            missing, expected = (np.isnan(curves[x].values[unit]) for x in (name, "loss"))
            if not (missing.all() or np.array_equal(missing, expected)):
                where = ", ".join(
                    f"{x} {curves[x].values[i]:g}" for x, i in zip(UNIT_AXES, unit, strict=True)
                )
                raise CurvesError(
                    f"{name}: expected NaN where loss is NaN, or everywhere, found others at {where}"
                )


def _check_frequency(frequency: NDArray[np.float64]) -> None:
    total = frequency.sum(axis=-1)
    worst = total[np.abs(total - 1).argmax()]
    if abs(worst - 1) > 1e-6:
        raise CurvesError(f"frequency: expected a sum of 1 over subtasks, found {worst:.6g}")
    larger = frequency[..., 1:] > frequency[..., :-1]
    if larger.any():
        alpha, place = np.argwhere(larger)[0]
        raise CurvesError(
            "frequency: expected the most frequent subtask first, found "
            f"{frequency[alpha, place + 1]:.6g} after {frequency[alpha, place]:.6g}"
        )


def _check_sizes(n_parameters: NDArray[np.int64], width: NDArray[np.int64]) -> None:
    if n_parameters.min() < 1:
        raise CurvesError(f"n_parameters: expected at least 1, found {n_parameters.min()}")
    falls = n_parameters[1:] < n_parameters[:-1]
    if falls.any():
        place = int(falls.argmax())
        found = f"{n_parameters[place + 1]} at width {width[place + 1]} after {n_parameters[place]}"
        raise CurvesError(f"n_parameters: expected not to fall with width, found {found}")
