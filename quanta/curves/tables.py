"""Curves from a long table: one row a measurement, as most logs are."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from quanta.curves.conversion import DEFAULTS, as_curves
from quanta.curves.schema import AXES, VARIABLES, CurvesError
from quanta.study.size import MAX_CURVES_BYTES
from quanta.tasks.frequencies import uniform_frequencies, zipf_frequencies
from quanta.tasks.memory import format_bytes, memory_size

METRICS = ("loss", "accuracy", "brier")
"""Columns that hold a measurement."""

COLUMNS = (*AXES, *METRICS, "n_parameters", "frequency")
"""Columns that are read."""

MOST_NAMED = 3
"""Gaps that are named one by one."""

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
        With the columns `loss`, `step`, `subtask` (1 is the most frequent) and `width` or `n_parameters`, of
        which one stands for the other if that is left out; and as far as there are several: `seed`, `alpha`,
        `n_train`; and `frequency`, or else an α; and `accuracy` and `brier` if they are known. Rows may come
        in any order; other columns are left aside.
    alpha : float, optional
        Frequencies follow (k + offset)^-(1 + alpha); -1 for uniform ones. It may be the column instead, and
        is not both. A column `frequency` beside the column alpha is what counts; one beside this is not read.
    offset : float, default 0
        Of frequencies that follow from α.
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
        If a column is missing, a place is there twice, rows do not fill a grid (networks were measured at
        other steps and `align` is false, or some subtasks of one were not), the grid is more than fits in
        memory, or the curves do not fit the schema.
    """
    for wanted in (("loss",), ("step",), ("subtask",), ("width", "n_parameters")):
        if not any(name in table for name in wanted):
            found = ", ".join(map(str, table.columns)) or "none"
            raise CurvesError(f"table: expected a column {' or '.join(wanted)}, found {found}")
    table = _numbers_of(table)
    if alpha is not None and "alpha" in table:
        raise CurvesError("alpha: expected a column or one number for all, found both")
    if offset != 0 and alpha is None and "frequency" in table:
        raise CurvesError("offset: expected beside an alpha, found a column frequency, which needs none")
    table = table.assign(
        **{axis: value for axis, value in DEFAULTS.items() if axis not in table and axis != "width"}
    )
    for name, other in (("width", "n_parameters"), ("n_parameters", "width")):
        if name not in table:
            table = table.assign(**{name: table[other]})
    if alpha is not None:
        table = table.assign(alpha=float(alpha))
    places = list(AXES)
    twice = table.duplicated(places)
    if twice.any():
        raise CurvesError(
            f"table: expected each place once, found {_say(table.loc[twice, places].iloc[0])} twice"
        )
    _check_size(table)
    metrics = [name for name in METRICS if name in table]
    # pandas leaves out NaN, which stands for an alpha that is not known.
    known = table.fillna({"alpha": np.inf}).set_index(places)[metrics].to_xarray().transpose(*AXES)
    known = known.assign_coords(alpha=np.where(np.isinf(known["alpha"]), np.nan, known["alpha"]))
    known = _check_subtasks(known)
    known = _on_common_steps(known, metrics) if align else _check_steps(known)
    known["loss"].attrs["units"] = unit
    variables: dict[str, Any] = {name: known[name] for name in metrics}
    variables["n_parameters"] = _along(table, "n_parameters", ["width"])
    if alpha is None and "frequency" in table:
        variables["frequency"] = _along(table, "frequency", ["alpha", "subtask"])
    else:
        variables["frequency"] = ["alpha", "subtask"], _frequencies(known, offset)
    if chance is not None:
        values = np.full(known.sizes["subtask"], float(chance))
        variables["chance"] = (VARIABLES["chance"].dims, values, {"units": unit})
    return as_curves(xr.Dataset(variables, known.coords))


def _numbers_of(table: pd.DataFrame) -> pd.DataFrame:
    """Take the columns that are known, with numbers as numpy holds them, whatever pandas calls them."""
    if table.empty:
        raise CurvesError("table: expected at least one row, found none")
    columns = {}
    for name in COLUMNS:
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


def _check_size(table: pd.DataFrame) -> None:
    """Refuse rows that are scattered over a grid much larger than they are."""
    n_places = math.prod(table[axis].nunique(dropna=False) for axis in AXES)
    most = min(MAX_CURVES_BYTES, memory_size() // 4)
    if n_places * len(METRICS) * 8 > most:
        raise CurvesError(
            f"table: expected rows that fill a grid, found {len(table)} in one of {n_places} places, "
            f"for which {format_bytes(most)} are too little"
        )


def _frequencies(known: xr.Dataset, offset: float) -> NDArray[np.float64]:
    """Frequencies of every α, shape (n_alpha, K)."""
    alphas, n_subtasks = known["alpha"].values, known.sizes["subtask"]
    if np.isnan(alphas).any():
        raise CurvesError("table: expected a column frequency, or alpha, found neither")
    try:
        laws = [
            uniform_frequencies(n_subtasks) if alpha == -1 else zipf_frequencies(n_subtasks, alpha, offset)
            for alpha in alphas.tolist()
        ]
    except ValueError as error:
        raise CurvesError(str(error)) from error
    return np.stack(laws)


def _along(table: pd.DataFrame, name: str, axes: list[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Take a column that depends on some axes alone."""
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
        networks: dict[str, list[float]] = {}
        for *network, step in gaps.tolist():
            networks.setdefault(_say_network(known, network), []).append(known["step"].values[step])
        named = [f"{_list(steps)} for {network}" for network, steps in networks.items()]
        raise CurvesError(
            f"step: expected the same for each network, found none at {_list(named, '; ')}; "
            "align brings them onto common steps"
        )
    return known


def _check_subtasks(known: xr.Dataset) -> xr.Dataset:
    """Refuse networks of which some subtasks were not measured at a step at which others were."""
    measured = known["loss"].notnull().values
    gaps = np.argwhere(measured.any(axis=-1, keepdims=True) & ~measured)
    if gaps.size:
        places: dict[str, list[int]] = {}
        for *network, step, subtask in gaps.tolist():
            name = f"{_say_network(known, network)}, step {known['step'].values[step]:g}"
            places.setdefault(name, []).append(known["subtask"].values[subtask])
        named = [f"{_list(subtasks)} for {place}" for place, subtasks in places.items()]
        raise CurvesError(f"subtask: expected the same at each step, found none of {_list(named, '; ')}")
    return known


def _say_network(known: xr.Dataset, place: list[int]) -> str:
    """Name a network by its seed, its width and what else there are several of."""
    named = [axis for axis in _NETWORK if axis in ("seed", "width") or known.sizes[axis] > 1]
    return _say(pd.Series({axis: known[axis].values[place[_NETWORK.index(axis)]] for axis in named}))


def _list(values: Sequence[object], between: str = ", ") -> str:
    """Name the first few."""
    said = between.join(
        f"{value:g}" if not isinstance(value, str) else value for value in values[:MOST_NAMED]
    )
    return said + (f"{between}and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else "")


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
