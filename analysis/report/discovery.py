"""Quanta found from gradients, as one screen of text."""

from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_OF = {
    "gradients": "gradients",
    "equal": "  at equal frequencies",
    "shuffled": "  against shuffled subtasks",
    "hidden": "hidden activations instead",
    "input": "input instead",
    "bits": "bits alone instead",
    "untrained": "gradients at step 0",
    "all": "of all subtasks",
    "low_loss": "of samples of low loss",
}


def render_discovery(headline: str, tables: dict[str, pd.DataFrame], console: Console) -> None:
    """Print what was found, with every null beside it.

    Parameters
    ----------
    headline : str
        Of what.
    tables : dict of str to DataFrame
        From `quanta.analysis.discovery.summary.tabulate_discoveries`.
    console : Console
    """
    console.print(Text(headline))
    for affinity, rows in tables["summary"].groupby("affinity", sort=False):
        console.print()
        console.print(Text(f"Clusters by {affinity}", style="bold"))
        table = _table("", "ARI", "AMI", "V", "exponent of sizes", "true sizes")
        for _, row in rows.iterrows():
            cells = [
                _interval(row, "ari"),
                f"{row['ami']:.2f}",
                f"{row['v']:.2f}",
                _interval(row, "exponent"),
            ]
            table.add_row(_OF[row["of"]], *map(_minus, cells), f"{row['exponent_of_truth']:.2f}")
        console.print(table)
        sweep = tables["sweep"]
        by_gap = sweep[(sweep["affinity"] == affinity) & sweep["chosen_by"].str.contains("eigengap")]
        clusters = by_gap["n_clusters"].to_numpy()
        ari, exponent = _minus(f"{by_gap['ari'].mean():.2f}"), f"{by_gap['exponent'].mean():.2f}"
        said = f"{_span(clusters)} clusters, with which ARI is {ari} and the exponent {exponent}"
        console.print(Text(f"  The largest eigengap says {said}."))
    console.print()
    console.print(
        Text(
            "Zipf exponents: by a line as in the paper, by likelihood, and debiased by samples of known ones",
            style="bold",
        )
    )
    table = _table("", "", "line", "found", "debiased", "true", "interval holds it")
    for _, row in tables["recovered"].iterrows():
        table.add_row(
            row["affinity"],
            _OF[row["of"]].strip(),
            f"{row['line']:.2f}",
            f"{row['found']:.2f}",
            _interval(row, "debiased"),
            f"{row['true']:.2f}",
            f"{row['n_holds']} of {row['n_seeds']}",
        )
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if not column or place == 0 else "right")
    return table


def _interval(row: "pd.Series[Any]", name: str) -> str:
    text = f"{row[name]:.2f}"
    if pd.notna(row[f"{name}_lower"]):
        text += f" [{row[f'{name}_lower']:.2f}, {row[f'{name}_upper']:.2f}]"
    return _minus(text)


def _minus(text: str) -> str:
    return text.replace("-0.00", "0.00").replace("-", "−")


def _span(values: "np.ndarray[Any, Any]") -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low} to {high}"
