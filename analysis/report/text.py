"""The verdict as one screen of text: the answers, where the exponent comes from, how the count grows."""

import math
from collections.abc import Iterator

import pandas as pd
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from quanta.analysis.fits.intervals import Interval
from quanta.analysis.learned.budget import PARTS
from quanta.analysis.verdict.claims import Claim
from quanta.analysis.verdict.judge import Verdict

_COLORS = {"supported": "green", "rejected": "red", "inconclusive": "yellow"}
_RESULTS = {True: ("green", "holds"), False: ("red", "FAILS"), None: ("yellow", "unclear")}

_CLAIMS = {
    "count": "count carries the exponent",
    "drift": "nothing else changes",
    "drops": "subtasks fall in drops",
    "order": "in order of frequency",
    "learning time": "S_k ∝ 1/p_k, one law",
    "examples needed": "D_k ∝ 1/p_k, one law",
    "room": "n ∝ N where full",
}
"""Each claim in a few words."""

_PARTS = {
    "count": "not learned: the count",
    "rest": "left in what is learned",
    "falling": "half-learned, still falling",
    "stuck": "half-learned, stuck",
    "drift": "off chance",
}
"""Each part of the loss in a few words."""

_DETAILS = {
    "budget": "Where the exponents come from",
    "sensitivity": "How the answers move with what counts as learned, as falling, and with the weights",
    "learning_times": "beta at each width, and by quarter of the ranks learned",
    "laws": "Laws of the learning time, by log-likelihood",
    "drops": "Share of the fall in drops, by metric",
    "models": "Laws of the loss: what they forecast, and how they do without a seed",
    "widths": "What each width learned, mean over seeds",
}
"""The tables that are short enough to print, and their titles."""
_NOT_PRINTED = ("message", "parameters", "n_held_out")

_UNKNOWN = "–"


def render(verdict: Verdict, console: Console) -> None:
    """Print a verdict: the two answers, where the exponent comes from, the exponents beside their theory.

    Parameters
    ----------
    verdict : Verdict
        From `quanta.analysis.judge`.
    console : Console
        Where to; 80 columns are enough.
    """
    console.print(_headline(verdict))
    console.print(Text(_describe_settings(verdict), style="dim"))
    for note in verdict.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    for question in verdict.questions.values():
        console.print()
        title = Text(f"{question.text} ", style="bold")
        console.print(title.append(question.outcome.upper(), style=_COLORS[question.outcome]))
        console.print(_indented(_claims_table(question.claims)))
        if question.outcome == "inconclusive":
            console.print(_indented(Text(f"Undecided: {question.why}")))
        for need in question.needs:
            console.print(_indented(Text(f"Would decide: {need}.")))
    for axis, parts in verdict.budget.items():
        if axis != "S":  # something always falls along S: it is drawn, not judged
            console.print()
            console.print(Text(f"Where the exponent along {axis} comes from", style="bold"))
            console.print(_indented(_budget_table(parts.exponent, parts.carries, parts.shares)))
    console.print()
    console.print(Text("Exponents", style="bold"))
    console.print(_indented(_exponents_table(verdict)))


def render_details(verdict: Verdict, tables: dict[str, pd.DataFrame], console: Console) -> None:
    """Print what each claim rests on, in sentences, and the tables beside the verdict.

    Parameters
    ----------
    verdict : Verdict
    tables : dict of str to DataFrame
        From `quanta.analysis.tabulate`; the long ones are not printed.
    console : Console
    """
    for question in verdict.questions.values():
        for claim in question.claims:
            console.print()
            console.print(Text(f"{claim.name} along {claim.axis}: {_RESULTS[claim.holds][1]}", style="bold"))
            console.print(_indented(Text(claim.why)))
    for name, title in _DETAILS.items():
        table = tables[name]
        console.print()
        console.print(Text(title, style="bold"))
        if table.empty:
            console.print(_indented(Text("nothing to say: too few points")))
        shown = table.drop(columns=[name for name in _NOT_PRINTED if name in table])
        for block in _blocks(_readable(shown), console.width - 2):
            console.print(_indented(block))


def _headline(verdict: Verdict) -> Text:
    line = Text(f"{verdict.study}: " if verdict.study else "")
    for place, (name, question) in enumerate(verdict.questions.items()):
        line.append(", " if place else "").append(f"{name} ")
        line.append(question.outcome.upper(), style=f"bold {_COLORS[question.outcome]}")
    return line


def _describe_settings(verdict: Verdict) -> str:
    s = verdict.settings
    alpha = "uniform frequencies" if s["alpha"] == "uniform" else f"α = {_plain(s['alpha'])}"
    data = ", ".join(n if isinstance(n, str) else f"D = {n:,}" for n in s["n_train"])
    chance = s["chance"]
    return (
        f"{alpha}; K = {s['n_subtasks']}; {data}; seeds: {s['n_seeds']}; "
        f"learned: below {s['tau']:g} of chance, "
        f"{chance['bits']:.3g} bit{'s' * (chance['bits'] != 1)} ({chance['source']}); intervals: "
        f"{100 * s['confidence']:.6g}%, Student over seeds"
    )


def _plain(value: float) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:g}"


def _claims_table(claims: tuple[Claim, ...]) -> Table:
    table = _table("", "", "measured", "needed", left=2)
    for claim in claims:
        color, result = _RESULTS[claim.holds]
        if not claim.asked:
            color, result = "dim", "not asked"
        table.add_row(
            f"{claim.axis}: {_CLAIMS[claim.name]}",
            Text(result, style=color),
            _estimate(claim.statistic, claim.lower, claim.upper),
            _window(*claim.window),
        )
    return table


def _window(low: float, high: float) -> str:
    if math.isinf(high):
        return f"≥ {low:.2f}"
    return f"{(low + high) / 2:g} ± {(high - low) / 2:.2g}"


def _budget_table(whole: Interval, carries: dict[str, Interval], shares: dict[str, Interval]) -> Table:
    table = _table("part of the mean loss", "carries", "share of the exponent")
    for part in PARTS:
        share = shares[part]
        table.add_row(
            _PARTS[part],
            _number(carries[part].estimate),
            _estimate(share.estimate, share.lower, share.upper),
        )
    table.add_row("all", _estimate(whole.estimate, whole.lower, whole.upper), _number(1.0))
    return table


def _exponents_table(verdict: Verdict) -> Table:
    table = _table("exponent", "law", "measured", "expected", "K = ∞", left=2)
    for name, one in verdict.exponents.items():
        table.add_row(
            name,
            one.law,
            _estimate(one.estimate, one.lower, one.upper),
            _number(one.expected),
            _number(one.expected_infinite),
        )
    return table


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """Join each value with its bounds in one column of text."""
    found: dict[str, list[str]] = {}
    for name in table.columns:
        if name.endswith(("_lower", "_upper")):
            continue
        if f"{name}_lower" in table.columns:
            bounds = zip(table[name], table[f"{name}_lower"], table[f"{name}_upper"], strict=True)
            found[name] = [_estimate(*row) for row in bounds]
        else:
            found[name] = [_cell(value) for value in table[name]]
    return pd.DataFrame(found)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _UNKNOWN if math.isnan(value) else f"{value:.3g}"
    return _UNKNOWN if value is None or value is pd.NA else str(value)


def _blocks(table: pd.DataFrame, width: int) -> Iterator[Table]:
    """Cut a table into blocks of columns that fit, each with the first column, so that no number is cut."""
    columns = list(table.columns)
    if not columns:
        return
    sizes = {
        name: max(len(name), *map(len, table[name])) + 3 if len(table) else len(name) + 3 for name in columns
    }
    key, rest = columns[0], columns[1:]
    while True:
        taken: list[str] = []
        used = sizes[key]
        while rest and (used + sizes[rest[0]] <= width or not taken):
            used += sizes[rest[0]]
            taken.append(rest.pop(0))
        block = _table(*(name.replace("_", " ") for name in [key, *taken]))
        for row in table[[key, *taken]].itertuples(index=False):
            block.add_row(*row)
        yield block
        if not rest:
            return


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", no_wrap=True)
    return table


def _indented(what: Table | Text) -> Padding:
    return Padding(what, (0, 0, 0, 2))


def _estimate(value: float | None, lower: float | None, upper: float | None) -> str:
    if value is None or math.isnan(value):
        return _UNKNOWN
    if lower is None or upper is None or math.isnan(lower) or math.isnan(upper):
        return _number(value)
    return f"{_number(value)} [{_number(lower)}, {_number(upper)}]"


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None or math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"
