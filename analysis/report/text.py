"""The verdict as one screen of text: the answers, where the exponent comes from, how the count grows."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from quanta.analysis.fits.intervals import Interval
from quanta.analysis.learned.budget import PARTS
from quanta.analysis.verdict.claims import Claim
from quanta.analysis.verdict.judge import Verdict

COLORS = {"supported": "green", "rejected": "red", "inconclusive": "yellow"}
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
    "budget": ("Where the exponents come from", 2),
    "sensitivity": ("How the answers move with what counts as learned, as falling, and with the weights", 2),
    "learning_times": ("beta at each width, and by quarter of the ranks learned", 1),
    "laws": ("Laws of the learning time, by log-likelihood", 1),
    "drops": ("Share of the fall in drops, by metric", 1),
    "models": ("Laws of the loss: what they forecast, and how they do without a seed", 2),
    "widths": ("What each width learned, mean over seeds", 1),
}
"""The tables that are short enough to print: their titles, and how many columns name a row."""
_NOT_PRINTED = ("message", "parameters", "n_held_out")

_UNKNOWN = "–"


def render(verdict: Verdict, console: Console) -> None:
    """Print a verdict: the two answers, where the exponent comes from, the exponents beside their theory.

    Parameters
    ----------
    verdict : Verdict
        From `quanta.analysis.judge`.
    console : Console
        Where to; 80 columns are enough, and in fewer a table takes several blocks.
    """
    console.print(_headline(verdict))
    console.print(Text(_describe_settings(verdict), style="dim"))
    for note in verdict.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    for question in verdict.questions.values():
        console.print()
        title = Text(f"{question.text} ", style="bold")
        console.print(title.append(question.outcome.upper(), style=COLORS[question.outcome]))
        print_table(console, _CLAIM_COLUMNS, list(_claim_rows(question.claims)), left=2)
        if question.outcome == "inconclusive":
            console.print(_indented(Text(f"Undecided: {question.why}")))
        for need in question.needs:
            console.print(_indented(Text(f"Would decide: {need}.")))
    for axis, parts in verdict.budget.items():
        if axis != "S":  # something always falls along S: it is drawn, not judged
            console.print()
            console.print(Text(f"Where the exponent along {axis} comes from", style="bold"))
            rows = list(_budget_rows(parts.exponent, parts.carries, parts.shares))
            print_table(console, _BUDGET_COLUMNS, rows)
    console.print()
    console.print(Text("Exponents", style="bold"))
    print_table(console, _EXPONENT_COLUMNS, list(_exponent_rows(verdict)), left=2)


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
    for name, (title, n_keys) in _DETAILS.items():
        table = tables[name]
        console.print()
        console.print(Text(title, style="bold"))
        if table.empty:
            console.print(_indented(Text("nothing to say: too few points")))
            continue
        shown = _readable(table.drop(columns=[name for name in _NOT_PRINTED if name in table]))
        columns = [str(name).replace("_", " ") for name in shown.columns]
        print_table(console, columns, shown.to_numpy().tolist(), n_keys, left=n_keys)


def _headline(verdict: Verdict) -> Text:
    line = Text(f"{verdict.study}: " if verdict.study else "")
    for place, (name, question) in enumerate(verdict.questions.items()):
        line.append(", " if place else "").append(f"{name} ")
        line.append(question.outcome.upper(), style=f"bold {COLORS[question.outcome]}")
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
        f"{percent(s['confidence'])}, Student over seeds"
    )


def _plain(value: float) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:g}"


def percent(share: float) -> str:
    """Write a share as it was given: 99.5% is not 100%."""
    return f"{(100 * Decimal(repr(share))).normalize():f}%"


_CLAIM_COLUMNS = ("", "", "measured", "needed")


def _claim_rows(claims: tuple[Claim, ...]) -> Iterator[list[str | Text]]:
    for claim in claims:
        color, result = _RESULTS[claim.holds]
        if not claim.asked:
            color, result = "dim", "not asked"
        yield [
            f"{claim.axis}: {_CLAIMS[claim.name]}",
            Text(result, style=color),
            estimate(claim.statistic, claim.lower, claim.upper),
            _window(*claim.window),
        ]


def _window(low: float, high: float) -> str:
    if math.isinf(high):
        return f"≥ {low:.2f}"
    return f"{(low + high) / 2:g} ± {(high - low) / 2:.2g}"


_BUDGET_COLUMNS = ("part of the mean loss", "carries", "share of the exponent")


def _budget_rows(
    whole: Interval, carries: dict[str, Interval], shares: dict[str, Interval]
) -> Iterator[list[str | Text]]:
    for part in PARTS:
        share = shares[part]
        of_exponent = estimate(share.estimate, share.lower, share.upper)
        yield [_PARTS[part], number(carries[part].estimate), of_exponent]
    yield ["all", estimate(whole.estimate, whole.lower, whole.upper), number(1.0)]


_EXPONENT_COLUMNS = ("exponent", "law", "measured", "expected", "K = ∞")


def _exponent_rows(verdict: Verdict) -> Iterator[list[str | Text]]:
    for name, one in verdict.exponents.items():
        measured = estimate(one.estimate, one.lower, one.upper)
        yield [name, one.law, measured, number(one.expected), number(one.expected_infinite)]


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """Join each value with its bounds in one column of text."""
    found: dict[str, list[str]] = {}
    for name in table.columns:
        if name.endswith(("_lower", "_upper")):
            continue
        if f"{name}_lower" in table.columns:
            bounds = zip(table[name], table[f"{name}_lower"], table[f"{name}_upper"], strict=True)
            found[name] = [estimate(*row) for row in bounds]
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


def print_table(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    n_keys: int = 1,
    left: int = 1,
) -> None:
    """Print a table, in blocks of columns where it is wider than the console, so that no number is cut.

    Parameters
    ----------
    console : Console
    columns : sequence of str
        What stands above each.
    rows : sequence of sequence of str or Text
    n_keys : int, default 1
        Columns, the first, that name a row, and stand in every block.
    left : int, default 1
        Columns, the first, that are set to the left.
    """
    cells = [[columns[i], *(row[i] for row in rows)] for i in range(len(columns))]
    sizes = [max(cell_len(str(cell)) for cell in column) + _GAP for column in cells]
    keys, rest = list(range(n_keys)), list(range(n_keys, len(columns)))
    while rest:
        taken = [*keys, rest.pop(0)]
        while rest and sum(sizes[i] for i in [*taken, rest[0]]) - _GAP <= console.width - _INDENT:
            taken.append(rest.pop(0))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
        for i in taken:
            # Where even one column is too wide it is folded.
            table.add_column(columns[i], justify="left" if i < left else "right", overflow="fold")
        for row in rows:
            table.add_row(*(row[i] for i in taken))
        console.print(_indented(table))


_GAP = 3
"""Columns of text between two columns of a table."""
_INDENT = 2


def _indented(what: Table | Text) -> Padding:
    return Padding(what, (0, 0, 0, _INDENT))


def estimate(value: float | None, lower: float | None, upper: float | None) -> str:
    """Write an estimate with its interval, where there is one."""
    if value is None or math.isnan(value):
        return _UNKNOWN
    if lower is None or upper is None or math.isnan(lower) or math.isnan(upper):
        return number(value)
    return f"{number(value)} [{number(lower)}, {number(upper)}]"


def number(value: float | None) -> str:
    """Write a number to two digits."""
    return _UNKNOWN if value is None or math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"
