"""What was found in several networks that differ by their seeds."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from quanta.analysis.discovery.network import Discovery
from quanta.analysis.fits.intervals import mean_over_seeds

MEASURED = ("ari", "ami", "v", "ari_by_label", "exponent", "exponent_of_truth")


def tabulate_discoveries(found: Mapping[int, Discovery], confidence: float = 0.9) -> dict[str, pd.DataFrame]:
    """Put the tables of networks together, and beside them their means over seeds.

    Parameters
    ----------
    found : mapping of int to Discovery
        By seed; at least one.
    confidence : float, default 0.9
        Nominal coverage of the intervals over seeds.

    Returns
    -------
    dict of str to DataFrame
        "scores", "sweep", "exponents" and "calibration" with a column `seed`; "summary": scores of each
        affinity and null with intervals over seeds; "recovered": the same of debiased exponents, and in how
        many networks the interval of its own holds the true one.
    """
    tables = {
        name: pd.concat(
            [getattr(one, name).assign(seed=seed) for seed, one in found.items()], ignore_index=True
        )
        for name in ("scores", "sweep", "exponents", "calibration")
    }
    tables = {
        name: table[["seed", *(column for column in table if column != "seed")]]
        for name, table in tables.items()
    }
    keys = ["affinity", "of"]
    tables["summary"] = pd.DataFrame(
        [
            dict(zip(keys, key, strict=True)) | _means(rows, MEASURED, confidence) | {"n_seeds": len(rows)}
            for key, rows in tables["scores"].groupby(keys, sort=False)
        ]
    )
    tables["recovered"] = pd.DataFrame(
        [
            dict(zip(keys, key, strict=True))
            | {"true": rows["true"].iloc[0]}
            | _means(rows, ("line", "found", "debiased"), confidence)
            | {"n_holds": int(rows["holds"].sum()), "n_seeds": len(rows)}
            for key, rows in tables["exponents"].groupby(keys, sort=False)
        ]
    )
    return tables


def _means(rows: pd.DataFrame, names: tuple[str, ...], confidence: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        interval = mean_over_seeds(rows[name], confidence)
        found |= {name: interval.estimate, f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
    return found
