"""The Curves dataset: what training leaves behind and all that the analysis reads.

Curves are an `xarray.Dataset` with the variables of `quanta.curves.schema.VARIABLES`, saved as netCDF-4. They
may come from this package's training or from anywhere else (`make_curves`).
"""

import io
import os
from collections.abc import Container, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from quanta._version import __version__
from quanta.curves.conversion import as_curves
from quanta.curves.netcdf import NetCDFError, read_netcdf
from quanta.curves.schema import AXES, SCHEMA, VARIABLES, CurvesError
from quanta.tasks.atomic import atomic_write
from quanta.tasks.config import one_line


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
    examples_seen: ArrayLike | None = None,
    selection_loss: ArrayLike | None = None,
    reported_loss: ArrayLike | None = None,
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
        Training samples of each subtask so far; those that came again are counted again.
    examples_seen : array_like of int, optional, shaped like `samples_seen`
        Different ones of them.
    selection_loss, reported_loss : array_like, optional, shaped like `loss`
        Loss on the two halves of the test samples, so that a step can be chosen on the first and its loss
        reported on the second; see `quanta.curves.selection`.
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
    n_subtasks = np.shape(frequency)[-1]
    axes = {
        "alpha": _array("alpha", alpha, "float64"),
        "n_train": _array("n_train", n_train, "float64"),
        "seed": _array("seed", seed, "int64"),
        "width": _array("width", width, "int64"),
        "step": _array("step", step, "int64"),
        "subtask": np.arange(1, n_subtasks + 1, dtype=np.int64),
    }
    axes = {axis: np.atleast_1d(values) for axis, values in axes.items()}
    if chance is not None and np.ndim(chance) == 0:
        chance = np.full(n_subtasks, chance)
    given = {
        "loss": loss,
        "accuracy": accuracy,
        "brier": brier,
        "frequency": frequency,
        "n_parameters": n_parameters,
        "samples_seen": samples_seen,
        "examples_seen": examples_seen,
        "selection_loss": selection_loss,
        "reported_loss": reported_loss,
        "chance": chance,
    }
    variables: dict[str, tuple[Any, ...]] = {}
    for name, values in given.items():
        if values is None:
            continue
        schema = VARIABLES[name]
        if isinstance(values, xr.DataArray):  # which has names
            variables[name] = _aligned(name, values, axes)
            continue
        array = _array(name, values, schema.dtype)
        shape = tuple(len(axes[axis]) for axis in schema.dims)
        missing = len(shape) - array.ndim
        if missing > 0 and all(length == 1 for length in shape[:missing]):
            array = array.reshape((1,) * missing + array.shape)
        if array.shape != shape:
            raise CurvesError(f"{name}: expected shape {shape} for {schema.dims}, found {array.shape}")
        variables[name] = (schema.dims, array, schema.attributes)
    attributes = {"schema": SCHEMA, "version": __version__} | ({} if study is None else {"study": study})
    try:
        data = xr.Dataset(variables, axes, attributes)
    except ValueError as error:  # names that do not fit each other
        raise CurvesError(f"curves: {one_line(error)}") from error
    return as_curves(data)


def _array(name: str, values: Any, dtype: str) -> NDArray[Any]:
    """Take numbers from whatever holds them; masked ones are NaN, and whole ones are not made whole."""
    try:
        if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "iuf" and np.ma.is_masked(values):
            values = np.ma.filled(values.astype(np.float64), np.nan)
        found = np.asarray(values)
        if found.dtype.kind == "O":
            found = found.astype(np.float64)
        if found.dtype.kind not in "iuf":  # text, truth values and complex ones could be cast
            raise CurvesError(f"{name}: expected numbers, found type {found.dtype}")
        return found.astype(dtype, copy=False) if dtype.startswith("float") else found
    except CurvesError:
        raise
    except (TypeError, ValueError) as error:
        raise CurvesError(f"{name}: expected numbers, found {one_line(error)}") from error


def _aligned(name: str, values: xr.DataArray, axes: dict[str, NDArray[Any]]) -> tuple[Any, ...]:
    """Take an array with names along the axes that were given, whatever its order."""
    for axis, wanted in axes.items():
        if axis in values.dims and axis in values.coords:
            try:
                values = values.sel({axis: wanted})
            except (KeyError, ValueError) as error:
                raise CurvesError(f"{name}: expected the values of {axis}, found others") from error
    return values.dims, values.variable.data, values.attrs


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
    return curves.assign(chance=(schema.dims, values, schema.attributes))


def with_examples(curves: xr.Dataset, names: Container[Hashable]) -> xr.Dataset:
    """Give curves of online data what those of finite training sets have beside them.

    Parameters
    ----------
    curves : Dataset
    names : container of str
        What the others have. Every sample is a new example, where the samples are known; the halves of the
        test set were not measured.

    Returns
    -------
    Dataset
    """
    values = {name: np.full_like(curves["loss"], np.nan) for name in ("selection_loss", "reported_loss")}
    if "samples_seen" in curves:
        values["examples_seen"] = curves["samples_seen"].values
    return curves.assign(
        {
            name: (VARIABLES[name].dims, value, VARIABLES[name].attributes)
            for name, value in values.items()
            if name in names and name not in curves
        }
    )


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
    curves = as_curves(curves)
    curves = curves.drop_vars([name for name in curves.variables if name not in (*VARIABLES, *AXES)])
    encoding = {
        name: {"dtype": VARIABLES[str(name)].dtype, "zlib": True, "complevel": 4, "shuffle": True}
        for name in curves.data_vars
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
        If it is not a readable netCDF file of plain numbers (see `quanta.curves.netcdf.read_netcdf`) or
        does not fit the schema; the message names the file.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no curves at {path}: there is no such file")
    try:
        return as_curves(read_netcdf(path, (*VARIABLES, *AXES)))
    except (CurvesError, NetCDFError) as error:
        raise CurvesError(f"{path}: {one_line(error)}") from error
