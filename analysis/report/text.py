"""The verdict, and what stands beside it, as one screen of text."""

import math

import pandas as pd
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from quanta.analysis.learned.discreteness import MAX_DROP_FACTOR
from quanta.analysis.verdict.checks import (
    MAX_P_VALUE,
    MIN_CONCORDANCE,
    MIN_COUNT_SLOPE,
    MIN_R_SQUARED,
    SLOPE_RATIO_TOLERANCE,
    TIME_TOLERANCE,
)
from quanta.analysis.verdict.evidence import Evidence
from quanta.analysis.verdict.judge import Verdict

_OUTCOMES = {
    "supported": ("green", "the loss power law follows from the count of subtasks learned."),
    "rejected": ("red", "the loss power law does not follow from learning subtasks in order of frequency."),
    "inconclusive": ("yellow", "these data do not decide whether the loss power law follows from the count."),
}

_RESULTS = {True: ("green", "pass"), False: ("red", "FAIL"), None: ("yellow", "unclear")}

_NEEDED = {
    "order": f"C ≥ {MIN_CONCORDANCE:g}",
    "learning time": f"beta meets 1 ± {TIME_TOLERANCE:g}, not serial",
    "count": f"gamma > {MIN_COUNT_SLOPE:g}",
    "reconstruction": f"R² ≥ {MIN_R_SQUARED:g}",
    "which subtasks": f"p ≤ {MAX_P_VALUE:g}",
    "exponent from the count": f"ratio 1 ± {SLOPE_RATIO_TOLERANCE:g}",
    "steps": f"drop within a factor {MAX_DROP_FACTOR:g}",
}

_LAWS = {
    "alpha_N": "L ∝ N^-alpha_N",
    "alpha_S": "L ∝ S^-alpha_S",
    "alpha_D": "L ∝ D^-alpha_D",
    "beta": "S_k ∝ p_k^-beta",
    "gamma": "n ∝ N^gamma",
    "gamma_S": "n ∝ S^gamma_S",
}

_UNKNOWN = "–"


def render(verdict: Verdict, evidence: Evidence, console: Console) -> None:
    """Print a verdict and what stands beside it.

    The outcome, the checks, the exponents beside their theory, how answers move with τ, models of the loss,
    and what happened at each width.

    Parameters
    ----------
    verdict : Verdict
        From `analysis.judge`.
    evidence : Evidence
        From `analysis.gather_evidence` on the same slice.
    console : Console
        Where to. Nothing is told by colour alone.
    """
    color, sentence = _OUTCOMES[verdict.outcome]
    title = Text(f"{verdict.study or 'Curves'}: ", style="bold")
    title.append(verdict.outcome.upper(), style=f"bold {color}")
    console.print(title.append(f", {sentence}", style="not bold"))
    console.print(Text(_settings(verdict), style="dim"))
    console.print()
    console.print(_checks(verdict))
    for check in verdict.checks:
        if not check.passed:
            console.print(Padding(Text.assemble((f"{check.name}: ", "bold"), check.why), (0, 0, 0, 1)))
    console.print()
    console.print(_exponents(verdict))
    console.print()
    console.print(_taus(evidence.by_tau))
    console.print()
    for scale, models in evidence.models.groupby("scale"):
        console.print(_models(str(scale), models))
        console.print()
    console.print(_widths(verdict.scaling))


def _settings(verdict: Verdict) -> str:
    settings = verdict.settings
    alpha, n_train = settings["alpha"], settings["n_train"]
    parts = [
        "α unknown" if math.isnan(alpha) else "uniform frequencies" if alpha == -1 else f"α = {alpha:g}",
        f"K = {settings['n_subtasks']:g}",
        "online" if math.isinf(n_train) else f"D = {n_train:g}",
        f"seeds: {settings['n_seeds']:g}",
        f"learned: below {settings['tau']:g} bit",
        f"intervals: {settings['confidence']:.0%}, Student over seeds",
    ]
    return "; ".join(parts)


def _table(*columns: tuple[str, str]) -> Table:
    """Make an empty table; each column has a heading, and "<" or ">" for the side it leans to."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading, side in columns:
        table.add_column(Text(heading), justify="left" if side == "<" else "right", no_wrap=True)
    return table


def _checks(verdict: Verdict) -> Table:
    table = _table(("check", "<"), ("result", "<"), ("measured", ">"), ("needed", "<"))
    for check in verdict.checks:
        color, word = _RESULTS[check.passed]
        measured = _interval(check.statistic, check.lower, check.upper) if check.name in _NEEDED else ""
        if check.name == "which subtasks" and check.statistic is not None:
            measured = f"{check.statistic:.2g}"  # a p-value may be far below 0.01
        table.add_row(check.name, Text(word, style=color), Text(measured), _NEEDED.get(check.name, ""))
    return table


def _exponents(verdict: Verdict) -> Table:
    table = _table(
        ("exponent", "<"),
        ("measured", ">"),
        ("this K", ">"),
        ("from gamma", ">"),
        ("infinite K", ">"),
        ("points", ">"),
        ("law", "<"),
    )
    for name, exponent in verdict.exponents.items():
        table.add_row(
            name,
            Text(_interval(exponent.estimate, exponent.lower, exponent.upper)),
            _decimals(exponent.expected_finite),
            _decimals(exponent.expected_count),
            _decimals(exponent.expected_infinite),
            _UNKNOWN if exponent.n_points is None else str(exponent.n_points),
            _LAWS.get(name, ""),
        )
    return table


def _taus(by_tau: pd.DataFrame) -> Table:
    """Tabulate how answers move with the threshold of learning."""
    table = _table(
        ("learned below", ">"),
        ("outcome", "<"),
        ("learned", ">"),
        ("order", ">"),
        ("learning time", ">"),
        ("count", ">"),
        ("R²", ">"),
        ("ratio", ">"),
    )
    names = ("order", "learning time", "count", "reconstruction", "exponent from the count")
    for row in by_tau.to_dict("records"):
        statistics = [_decimals(row[name]) for name in names]
        table.add_row(f"{row['tau']:g} bit", row["outcome"], f"{row['n_learned']:.1f}", *statistics)
    return table


def _models(scale: str, models: pd.DataFrame) -> Table:
    """Tabulate models of the loss in one scale; the best by AICc is 0."""
    table = _table((f"loss in {scale}", "<"), ("ΔAICc", ">"), ("forecast error", ">"), ("parameters", "<"))
    for row in models.to_dict("records"):
        values = ", ".join(f"{name} {value:.2g}" for name, value in row["parameters"].items())
        error = row["forecast_error"]
        table.add_row(
            row["model"],
            _UNKNOWN if math.isnan(row["delta_aicc"]) else f"{row['delta_aicc']:.1f}",
            _UNKNOWN if math.isnan(error) else f"{math.expm1(error):.0%}",
            values or "no fit",
        )
    return table


def _widths(scaling: pd.DataFrame) -> Table:
    """Tabulate what happened at each width, mean over seeds, and the range over seeds of the count."""
    table = _table(
        ("width", ">"),
        ("parameters", ">"),
        ("learned", ">"),
        ("concordance", ">"),
        ("mean loss", ">"),
        ("from the count", ">"),
    )
    for width, at in scaling.groupby("width"):
        fewest, most = at["n_learned"].min(), at["n_learned"].max()
        table.add_row(
            str(width),
            f"{at['n_parameters'].iloc[0]:,}",
            str(fewest) if fewest == most else f"{fewest} to {most}",
            _decimals(at["concordance"].mean()),
            f"{at['mean_loss'].mean():.4f}",
            f"{at['reconstructed_loss'].mean():.4f}",
        )
    return table


def _interval(estimate: float | None, lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return _decimals(estimate)
    return f"{_decimals(estimate)} [{_decimals(lower)}, {_decimals(upper)}]"


def _decimals(value: float | None) -> str:
    return _UNKNOWN if value is None or math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"
