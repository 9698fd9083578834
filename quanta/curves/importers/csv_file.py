"""Curves from a long table in a CSV file: one row a measurement."""

import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import xarray as xr

from quanta.curves.schema import CurvesError
from quanta.curves.tables import COLUMNS, curves_from_table
from quanta.tasks.config import one_line
from quanta.tasks.memory import format_bytes, memory_size

MEMORY_PER_BYTE = 32
"""Bytes of memory that reading may take for a byte of the file: cells of one letter take the most."""


def curves_from_csv(
    path: str | os.PathLike[str],
    *,
    alpha: float | None = None,
    offset: float = 0.0,
    unit: str = "bit",
    chance: float | None = None,
    align: bool = False,
) -> xr.Dataset:
    """Build Curves from a CSV file, uncompressed, whose first line names the columns.

    Parameters
    ----------
    path : path-like
    alpha, offset, unit, chance, align
        See `quanta.curves_from_table`, which says which columns there may be.

    Returns
    -------
    Dataset

    Raises
    ------
    CurvesError
        If it is no such file, or too large for this machine's memory, or the table does not fit; the message
        names the file, and the line of a cell that is no number.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe or a device has no end
        raise CurvesError(f"{path}: expected a plain file")
    try:
        with path.open("rb") as file:
            table = _read(file)
        return curves_from_table(table, alpha=alpha, offset=offset, unit=unit, chance=chance, align=align)
    except CurvesError as error:
        raise CurvesError(f"{path}: {error}") from error


def _read(file: BinaryIO) -> pd.DataFrame:
    size, most = os.fstat(file.fileno()).st_size, memory_size() // MEMORY_PER_BYTE
    if size > most:
        raise CurvesError(f"expected at most {format_bytes(most)}, found {format_bytes(size)}")
    options: dict[str, Any] = {
        "compression": None,
        "skipinitialspace": True,
        "low_memory": False,
        "float_precision": "round_trip",
        "encoding": "utf-8-sig",
        "index_col": False,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the first
            header = pd.read_csv(file, header=None, nrows=1, dtype=str, **options)
            names = [str(name).strip() for name in header.iloc[0]]
            chosen = [place for place, name in enumerate(names) if name in COLUMNS]
            file.seek(0)
            # All of it: of chosen columns pandas does not tell that a row is longer than the first.
            table: pd.DataFrame = pd.read_csv(file, header=0, **options).iloc[:, chosen]
    except (ValueError, OverflowError, pd.errors.ParserWarning) as error:  # pandas' errors are ValueErrors
        raise CurvesError(f"not a readable table ({one_line(error)})") from error
    table.columns = [names[place] for place in chosen]  # pandas would call a second loss loss.1
    if not chosen:
        raise CurvesError(f"expected columns {', '.join(COLUMNS)}, found {one_line(', '.join(names), 80)}")
    for place in range(len(chosen)):
        if not pd.api.types.is_numeric_dtype(table.dtypes.iloc[place]):
            _find_text(table.iloc[:, place])
    return table


def _find_text(column: "pd.Series[str]") -> None:
    """Raise CurvesError with the first cell that is no number, and its line."""
    is_text = pd.to_numeric(column, errors="coerce").isna() & column.notna()
    if is_text.any():
        row = int(np.flatnonzero(is_text)[0])
        found = one_line(column.iloc[row], 40)
        raise CurvesError(f"line {row + 2}: {column.name}: expected a number, found {found!r}")
