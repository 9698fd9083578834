"""Exponents as functions of the conditions, as one screen of text."""

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from quanta.analysis.report.text import COLORS, estimate, number, percent, print_table
from quanta.analysis.verdict.conditions import PREDICTIONS, Conditions, Row
from quanta.study.axes import symbol_of

NAMES = {"infinite": "∞", "finite": "K", "serial": "serial"}
"""Each prediction at the head of a column."""


def render_conditions(found: Conditions, console: Console) -> None:
    """Print a row a slice: exponents, three predictions of each, and the answers; and how far they are off.

    Parameters
    ----------
    found : Conditions
        From `quanta.analysis.compare_conditions`.
    console : Console
        Where to; in few columns the table takes several blocks.
    """
    fixed = [f"{symbol_of(n)} = {x}" for n, x in found.rows[0].condition.items() if n not in found.varied]
    title = Text(f"{found.study}: " if found.study else "", style="bold")
    console.print(title.append(f"exponents in {len(found.rows)} slices"))
    settings = [*fixed, f"intervals: {percent(found.confidence)}, Student over seeds"]
    console.print(Text("; ".join(settings), style="dim"))
    meaning = (
        "∞: expected of infinitely many subtasks; K: measured on curves of the hypothesis at the fitted "
        "constants, K finite; serial: the same of learning one after another"
    )
    console.print(Text(meaning, style="dim"))
    console.print()
    heads = [head for name in found.exponents for head in (name, *NAMES.values())]
    columns = [*map(symbol_of, found.varied), *heads, *found.rows[0].outcomes, "seeds"]
    rows = [_cells(found, row) for row in found.rows]
    print_table(console, columns, rows, n_keys=len(found.varied), left=0)
    for name in found.exponents:
        for said in _sum_up(found, name):
            console.print(Padding(Text(said), (0, 0, 0, 2)))


def _cells(found: Conditions, row: Row) -> list[str | Text]:
    cells: list[str | Text] = [str(row.condition[name]) for name in found.varied]
    for name in found.exponents:
        one = row.exponents.get(name)
        if one is None:
            cells += [number(None)] * (1 + len(PREDICTIONS))
        else:
            cells.append(estimate(one.estimate, one.lower, one.upper))
            cells += [number(getattr(one, prediction)) for prediction in PREDICTIONS]
    cells += [Text(outcome, style=COLORS[outcome]) for outcome in row.outcomes.values()]
    return [*cells, str(row.n_seeds)]


def _sum_up(found: Conditions, name: str) -> Iterator[str]:
    errors = found.errors[name]
    off = _list({prediction: errors[prediction] for prediction in PREDICTIONS})
    if off:
        yield f"{name} is off by (root mean square over {errors['n']} slices): {off}."
    for change in found.changes:
        if change.exponent == name and change.estimate is not None:
            [varied] = found.varied
            p_value = "" if change.p_value is None else f", p = {change.p_value:.2g} of no change"
            predicted = _list({prediction: getattr(change, prediction) for prediction in PREDICTIONS})
            yield (
                f"{name} changes by {estimate(change.estimate, change.lower, change.upper)} from "
                f"{symbol_of(varied)} = {change.start[varied]} to {change.end[varied]}{p_value}"
                f"{predicted and f'; predicted: {predicted}'}."
            )


def _list(values: dict[str, float | None]) -> str:
    return ", ".join(f"{NAMES[name]} {number(value)}" for name, value in values.items() if value is not None)
