"""The Curves dataset: what training leaves behind and all that the analysis reads.

Curves are an `xarray.Dataset` with the variables of `VARIABLES`, saved as netCDF-4. They may come from
this package's training or from anywhere else (`make_curves`).
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from quanta._version import __version__
from quanta.curves.netcdf import NetCDFError, read_netcdf
from quanta.study.axes import STUDY_AXES
from quanta.tasks.atomic import atomic_write
from quanta.tasks.config import one_line
from quanta.tasks.errors import QuantaError

SCHEMA = 1
"""Version of the format; stored in the attribute `schema`."""

UNIT_AXES = tuple(axis.name for axis in STUDY_AXES)
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


VARIABLES = {
    "loss": Variable(AXES, "test cross-entropy of a subtask", "bit", required=True),
    "accuracy": Variable(AXES, "share of test samples predicted correctly", "1", required=False, upper=1),
    "brier": Variable(AXES, "mean squared error of the predicted probability", "1", required=False, upper=1),
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
}
"""The schema: name to dimensions, meaning and units."""


def make_curves(
    loss: ArrayLike,
    *,
    frequency: ArrayLike,
    step: ArrayLike,
    width: ArrayLike,
    n_parameters: ArrayLike,
    seed: ArrayLike = (0,),
    alpha: ArrayLike = (np.nan,),
    n_train: ArrayLike = (np.inf,),
    accuracy: ArrayLike | None = None,
    brier: ArrayLike | None = None,
    samples_seen: ArrayLike | None = None,
    chance: ArrayLike | None = None,
    study: str | None = None,
) -> xr.Dataset:
    """Build Curves from arrays, wherever they come from.

    Parameters
    ----------
    loss : array_like, shape (n_alpha, n_n_train, n_seed, n_width, n_step, K)
        Test cross-entropy in bits. Leading axes of length one may be left out.
    frequency : array_like, shape (n_alpha, K) or (K,)
        How often each subtask is used, most frequent first.
    step : array_like of int, shape (n_step,)
        Optimisation steps at which the loss was measured, increasing.
    width : array_like of int, shape (n_width,)
        Hidden units a layer (or any other size of the model), increasing.
    n_parameters : array_like of int, shape (n_width,)
        Number of parameters N of each network.
    seed, alpha, n_train : array_like, shape (n_seed,), (n_alpha,), (n_n_train,)
        Coordinates. α is NaN where it is not known; -1 stands for uniform frequencies. `n_train` is
        inf where every batch was fresh.
    accuracy, brier : array_like, optional
        Shaped like `loss`.
    samples_seen : array_like of int, optional, shape (n_alpha, n_n_train, n_seed, n_step, K)
        Training samples of each subtask so far.
    chance : float or array_like, optional, shape (K,)
        Loss in bits of a subtask of which nothing is learned, positive; 1 for parity. Without it, it is not
        known.
    study : str, optional
        Where the curves come from; JSON of the study for curves of this package.

    Returns
    -------
    Dataset
        Validated curves, `mean_loss` included.

    Raises
    ------
    CurvesError
        If a shape or a value does not fit.
    """
    if np.ndim(frequency) == 0:
        raise CurvesError(f"frequency: expected one value a subtask, found {frequency!r}")
    axes = {
        "alpha": np.atleast_1d(np.asarray(alpha, dtype=np.float64)),
        "n_train": np.atleast_1d(np.asarray(n_train, dtype=np.float64)),
        "seed": np.atleast_1d(np.asarray(seed, dtype=np.int64)),
        "width": np.atleast_1d(np.asarray(width, dtype=np.int64)),
        "step": np.atleast_1d(np.asarray(step, dtype=np.int64)),
        "subtask": np.arange(1, np.shape(frequency)[-1] + 1, dtype=np.int64),
    }
    if chance is not None and np.ndim(chance) == 0:
        chance = np.full(len(axes["subtask"]), chance)
    given = {
        "loss": loss,
        "accuracy": accuracy,
        "brier": brier,
        "frequency": frequency,
        "n_parameters": n_parameters,
        "samples_seen": samples_seen,
        "chance": chance,
    }
    variables: dict[str, tuple[Any, ...]] = {}
    for name, values in given.items():
        if values is None:
            continue
        schema = VARIABLES[name]
        array = np.asarray(values, dtype=schema.dtype)
        shape = tuple(len(axes[axis]) for axis in schema.dims)
        missing = len(shape) - array.ndim
        if missing > 0 and all(length == 1 for length in shape[:missing]):
            array = array.reshape((1,) * missing + array.shape)
        if array.shape != shape:
            raise CurvesError(f"{name}: expected shape {shape} for {schema.dims}, found {array.shape}")
        variables[name] = (schema.dims, array, _attributes(schema))
    curves = xr.Dataset(
        variables,
        coords=axes,
        attrs={"schema": SCHEMA, "version": __version__} | ({} if study is None else {"study": study}),
    )
    return validate(_with_mean_loss(curves))


def with_chance(curves: xr.Dataset, chance: float) -> xr.Dataset:
    """Give curves the `chance` that they lack; those that have one stay as they are.

    Parameters
    ----------
    curves : Dataset
    chance : float
        Loss in bits of a subtask of which nothing is learned, the same for all.

    Returns
    -------
    Dataset
    """
    if "chance" in curves:
        return curves
    schema = VARIABLES["chance"]
    values = np.full(curves.sizes["subtask"], chance)
    return curves.assign(chance=(schema.dims, values, _attributes(schema)))


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
    if not (curves["n_parameters"] >= 1).all():
        raise CurvesError(f"n_parameters: expected at least 1, found {int(curves['n_parameters'].min())}")
    expected = _weighted_mean_loss(curves)
    mean_loss = curves["mean_loss"].values
    if not np.array_equal(np.isnan(mean_loss), np.isnan(expected)):
        raise CurvesError("mean_loss: expected NaN where loss is NaN and nowhere else")
    if not np.allclose(mean_loss, expected, rtol=1e-4, atol=1e-5, equal_nan=True):
        gap = float(np.nanmax(np.abs(mean_loss - expected)))
        raise CurvesError(f"mean_loss: expected the sum of frequency times loss, found a gap of {gap:.3g}")
    return curves


def save_curves(curves: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Validate curves and write them as one compressed netCDF-4 file, whole or not at all.

    Parameters
    ----------
    curves : Dataset
    path : path-like
        Usually ends in ``.nc``.

    Raises
    ------
    CurvesError
        If they do not fit the schema.
    OSError
        If the file cannot be written.
    """
    validate(curves)
    encoding = {
        name: {"dtype": VARIABLES[name].dtype, "zlib": True, "complevel": 4, "shuffle": True}
        for name in curves.data_vars
        if name in VARIABLES
    }
    # Made in memory: HDF5 crashes the interpreter when the disk is full, a plain write says so.
    contents = io.BytesIO()
    curves.to_netcdf(contents, engine="h5netcdf", encoding=encoding)
    with atomic_write(path) as temporary:
        temporary.write_bytes(contents.getbuffer())


def load_curves(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read curves from a netCDF-4 file into memory; a missing `mean_loss` is computed.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Dataset
        Validated curves.

    Raises
    ------
    CurvesError
        If it is not a readable netCDF-4 file of plain numbers (see `quanta.curves.netcdf.read_netcdf`) or
        does not fit the schema; the message names the file.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no curves at {path}: there is no such file")
    try:
        return validate(_with_mean_loss(read_netcdf(path)))
    except (CurvesError, NetCDFError) as error:
        raise CurvesError(f"{path}: {one_line(error)}") from error


def _weighted_mean_loss(curves: xr.Dataset) -> NDArray[np.float64]:
    loss, frequency = curves["loss"].values, curves["frequency"].values.astype(np.float64)
    mean_loss = np.empty(loss.shape[:-1])
    with np.errstate(over="ignore", invalid="ignore"):
        for network in np.ndindex(loss.shape[:-2]):  # the loss of all as float64 might not fit
            weighted = loss[network].astype(np.float64) * frequency[network[0]]
            mean_loss[network] = weighted.sum(axis=-1)
    return mean_loss


def _with_mean_loss(curves: xr.Dataset) -> xr.Dataset:
    if "mean_loss" in curves or not {"loss", "frequency"} <= set(curves.variables):
        return curves
    for name in ("loss", "frequency"):
        _check_variable(curves, name, VARIABLES[name])
    schema = VARIABLES["mean_loss"]
    with np.errstate(over="ignore"):
        mean_loss = _weighted_mean_loss(curves).astype(schema.dtype)
    return curves.assign(mean_loss=(schema.dims, mean_loss, _attributes(schema)))


def _attributes(variable: Variable) -> dict[str, str]:
    return {"long_name": variable.meaning, "units": variable.units}


def _check_attributes(attributes: dict[Any, Any]) -> None:
    schema, study, missing = (attributes.get(name) for name in ("schema", "study", "units_missing"))
    names = attributes.get("missing_units", "")
    if np.any(schema != SCHEMA):  # a foreign attribute may be an array
        raise CurvesError(f"attribute schema: expected {SCHEMA}, found {schema!r}")
    if not isinstance(study, str | None):
        raise CurvesError(f"attribute study: expected text, found {study!r}")
    if missing is not None and not (isinstance(missing, int | np.integer) and missing >= 0):
        raise CurvesError(f"attribute units_missing: expected a number from 0 up, found {missing!r}")
    if not isinstance(names, str) or not names.isprintable():
        raise CurvesError(f"attribute missing_units: expected ids of units, found {names!r}")


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
            raise CurvesError(f"subtask: expected 1..{values.size} in order, found {_shorten(values)}")
        return
    if not (values[1:] > values[:-1]).all():
        raise CurvesError(f"{axis}: expected increasing values, found {_shorten(values)}")
    if axis in ("seed", "width", "step") and not np.isfinite(values).all():
        raise CurvesError(f"{axis}: expected finite values, found {_shorten(values)}")
    smallest = {"width": 1, "step": 0, "n_train": 1}.get(axis)
    if smallest is not None and not values[0] >= smallest:
        raise CurvesError(f"{axis}: expected values from {smallest} up, found {values[0]}")


def _check_variable(curves: xr.Dataset, name: str, variable: Variable) -> None:
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
    if name not in ("loss", "accuracy", "brier", "mean_loss") and np.isnan(np.min(values)):
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
        resumed = stopped[..., :-1] & ~stopped[..., 1:]
        if (missing.any(axis=-1) != stopped).any() or resumed.any() or stopped[..., 0].any():
            raise CurvesError("loss: expected NaN only after an early stop, found NaN before measured values")


def _check_frequency(frequency: NDArray[np.float64]) -> None:
    total = frequency.sum(axis=-1)
    worst = total[np.abs(total - 1).argmax()]
    if abs(worst - 1) > 1e-6:
        raise CurvesError(f"frequency: expected a sum of 1 over subtasks, found {worst:.6g}")
    if (frequency[..., 1:] > frequency[..., :-1]).any():
        raise CurvesError("frequency: expected the most frequent subtask first, found a later one larger")


def _shorten(values: NDArray[Any]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return f"[{shown}, ...]" if values.size > 6 else f"[{shown}]"
