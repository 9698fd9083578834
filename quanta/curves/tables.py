"""Curves from a long table: one row a measurement, as most logs are."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from quanta.curves.conversion import DEFAULTS, as_curves
from quanta.curves.schema import AXES, VARIABLES, CurvesError
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies

METRICS = ("loss", "accuracy", "brier")
"""Columns that hold a measurement."""

_NETWORK = AXES[:4]


def curves_from_table(
    table: pd.DataFrame,
    *,
    alpha: float | None = None,
    offset: float = 0.0,
    unit: str = "bit",
    chance: float | None = None,
    align: bool = False,
) -> xr.Dataset:
    """Build Curves from a table with one row a (network, step, subtask).

    Parameters
    ----------
    table : DataFrame
        With the columns `loss`, `step`, `subtask` (1 is the most frequent) and `n_parameters`; and as far as
        there are several: `width` (the number of parameters if left out), `seed`, `alpha`, `n_train`; and
        `frequency`, unless alpha is given; and `accuracy` and `brier` if they are known. Rows may come in any
        order; other columns are left aside.
    alpha : float, optional
        Frequencies follow (k + offset)^-(1 + alpha); -1 for uniform ones.
    offset : float, default 0
    unit : str, default "bit"
        Of the loss: bit or nat.
    chance : float, optional
        Loss of a subtask of which nothing is learned, in the same unit.
    align : bool, default False
        Bring networks that were measured at other steps onto common ones: those of the network with the
        fewest. Between two measurements the others are read linearly in log step; beyond its last a network
        has none, as after an early stop.

    Returns
    -------
    Dataset

    Raises
    ------
    CurvesError
        If a column is missing, a place is there twice, networks were measured at other steps and `align` is
        false, or the curves do not fit the schema.
    """
    for name in ("loss", "step", "subtask", "n_parameters"):
        if name not in table:
            raise CurvesError(f"table: expected a column {name}, found {', '.join(map(str, table.columns))}")
    table = _numbers_of(table)
    table = table.assign(
        **{axis: value for axis, value in DEFAULTS.items() if axis not in table and axis != "width"}
    )
    if "width" not in table:
        table = table.assign(width=table["n_parameters"])
    if alpha is not None:
        table = table.assign(alpha=float(alpha))
    places = list(AXES)
    twice = table.duplicated(places)
    if twice.any():
        raise CurvesError(
            f"table: expected each place once, found {_say(table.loc[twice, places].iloc[0])} twice"
        )
    metrics = [name for name in METRICS if name in table]
    # pandas leaves out NaN, which stands for an alpha that is not known.
    known = table.fillna({"alpha": np.inf}).set_index(places)[metrics].to_xarray().transpose(*AXES)
    known = known.assign_coords(alpha=np.where(np.isinf(known["alpha"]), np.nan, known["alpha"]))
    known = _on_common_steps(known, metrics) if align else _check_steps(known)
    known["loss"].attrs["units"] = unit
    variables: dict[str, Any] = {name: known[name] for name in metrics}
    variables["n_parameters"] = _along(table, "n_parameters", ["width"])
    variables["frequency"] = (
        _along(table, "frequency", ["alpha", "subtask"])
        if alpha is None
        else (("subtask",), _frequencies(known.sizes["subtask"], alpha, offset))
    )
    if chance is not None:
        values = np.full(known.sizes["subtask"], float(chance))
        variables["chance"] = (VARIABLES["chance"].dims, values, {"units": unit})
    return as_curves(xr.Dataset(variables, known.coords))


def _numbers_of(table: pd.DataFrame) -> pd.DataFrame:
    """Take the columns that are known, with numbers as numpy holds them, whatever pandas calls them."""
    if table.empty:
        raise CurvesError("table: expected at least one row, found none")
    columns = {}
    for name in (*AXES, *METRICS, "n_parameters", "frequency"):
        if name not in table:
            continue
        if table[name].ndim > 1:
            raise CurvesError(f"table: expected each column once, found {name} twice")
        values = table[name].to_numpy()
        if values.dtype.kind not in "iuf":  # pandas has types of its own, with a mark for what is missing
            values = table[name].astype(object).to_numpy()
            kind = pd.api.types.infer_dtype(values, skipna=True)
            if kind not in ("integer", "floating", "mixed-integer-float"):
                raise CurvesError(f"{name}: expected numbers, found type {kind}")
            missing = pd.isna(values)
            whole = kind == "integer" and not missing.any()
            values = np.where(missing, np.nan, values).astype(np.int64 if whole else np.float64)
        if name in AXES and name != "alpha" and np.isnan(values).any():
            raise CurvesError(f"{name}: expected a number in each row, found NaN")
        columns[name] = values
    return pd.DataFrame(columns)


def _frequencies(n_subtasks: int, alpha: float, offset: float) -> NDArray[np.float64]:
    try:
        return uniform_frequencies(n_subtasks) if alpha == -1 else zipf_frequencies(n_subtasks, alpha, offset)
    except ValueError as error:
        raise CurvesError(str(error)) from error


def _along(table: pd.DataFrame, name: str, axes: list[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Take a column that depends on some axes alone."""
    if name not in table:
        raise CurvesError(f"table: expected a column {name}, or alpha, found neither")
    groups = table.groupby(axes, dropna=False)[name]
    several = groups.nunique(dropna=False) > 1
    if several.any():
        where = dict(zip(axes, np.atleast_1d(np.asarray(several.idxmax())), strict=True))
        raise CurvesError(f"{name}: expected one value at {_say(pd.Series(where))}, found several")
    values = groups.first()
    return axes, values.unstack().to_numpy() if len(axes) > 1 else values.to_numpy()


def _check_steps(known: xr.Dataset) -> xr.Dataset:
    """Refuse networks that lack steps that others have, but for those that stopped early."""
    measured = known["loss"].notnull().any("subtask").values
    later = np.logical_or.accumulate(measured[..., ::-1], axis=-1)[..., ::-1]
    gaps = np.argwhere(later & ~measured)
    if gaps.size:
        place = {axis: known[axis].values[i] for axis, i in zip((*_NETWORK, "step"), gaps[0], strict=True)}
        network = _say(pd.Series({axis: place[axis] for axis in ("seed", "width")}))
        raise CurvesError(
            f"step: expected the same for each network, found none at {place['step']:g} for {network}; "
            "align brings them onto common steps"
        )
    return known


def _on_common_steps(known: xr.Dataset, metrics: list[str]) -> xr.Dataset:
    measured = known["loss"].notnull().any("subtask").values
    step = known["step"].values.astype(np.float64)
    there = [step[of_one] for of_one in measured.reshape(-1, step.size) if of_one.any()]
    fewest, first = min(there, key=len), max(of_one[0] for of_one in there)
    common = fewest[fewest >= first]
    if not common.size:
        raise CurvesError("step: expected networks that were measured at steps in common, found none")
    found = known.reindex(step=common.astype(known["step"].dtype))
    for name in metrics:
        values = np.full(found[name].shape, np.nan)
        for network in np.ndindex(measured.shape[:-1]):
            own = measured[network]
            if own.any():
                values[network] = _read_at(common, step[own], known[name].values[network][own])
        found[name] = (AXES, values)
    return found


def _read_at(
    common: NDArray[np.float64], step: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Read curves (T, K) at other steps, linearly in log step; NaN beyond their last."""
    first = min(steps[steps > 0].min(initial=np.inf) for steps in (common, step))

    def along(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        # Between step 0, which has no logarithm, and the first one linearly in the step itself.
        share = steps / first
        return np.asarray(np.where(share > 1, 1 + np.log(np.maximum(share, 1)), share))

    curves = [np.interp(along(common), along(step), one, right=np.nan) for one in values.T]
    return np.stack(curves, axis=1)


def _say(place: "pd.Series[float]") -> str:
    values: dict[Hashable, float] = place.to_dict()
    return ", ".join(f"{axis} {value:g}" for axis, value in values.items())
