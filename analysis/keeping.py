"""How results are kept in files, or why they are not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quanta.tasks.terminal import note

# `quanta --help` must not wait for pandas.
if TYPE_CHECKING:
    import pandas as pd

    from quanta.analysis import Verdict
    from quanta.analysis.sources import Source


def describe(verdict: "Verdict", source: "Source") -> dict[str, Any]:
    """Make of a verdict what goes into its file, and say whose it is."""
    record = verdict.to_dict()
    return {"schema": record["schema"], "study": record["study"], **source.to_dict(), **record}


def keep(write: Callable[[], object], folder: Path, out: Path | None) -> bool:
    """Write results to a folder; say so where that cannot be, since they are still to be printed."""
    try:
        write()
    except OSError as error:
        hint = "; --out names another folder" if out is None else ""
        note(f"the results are not kept, for {folder} cannot be written ({error.strerror}){hint}")
        return False
    return True


def store(record: dict[str, Any], tables: "dict[str, pd.DataFrame]", folder: Path) -> None:
    """Write a verdict and all its tables to a folder, and what their columns mean."""
    from quanta.analysis.verdict.columns import tabulate_columns

    write_json(folder / "verdict.json", record)
    write_tables(tables | {"columns": tabulate_columns()}, folder)


def write_tables(tables: "dict[str, pd.DataFrame]", folder: Path) -> None:
    """Write tables as CSV, by their names."""
    from quanta.tasks.atomic import atomic_write

    for name, table in tables.items():
        with atomic_write(folder / f"{name}.csv") as file:
            table.to_csv(file, index=False)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, whole or not at all."""
    from quanta.tasks.atomic import atomic_write

    with atomic_write(path) as file:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
