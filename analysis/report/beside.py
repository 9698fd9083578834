"""Exponents beside the published ones, as text."""

import math
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.text import Text

from quanta.analysis.fits.intervals import Interval
from quanta.analysis.report.text import print_table
from quanta.analysis.verdict.beside import INFINITE, OWN_FIT, THEORIES, Comparison, Reading

_UNKNOWN = "–"
_PREDICTED = "Predicted of the same reading, on curves that each theory makes"
_HOW_FAR = "in brackets by how many standard errors the reading is above it; * beyond the confidence"
_HOW = "own fit: along S between the first and the last learning time; beta by censored regression"


def render_comparison(found: Comparison, console: Console) -> None:
    """Print a comparison: measured, published, predicted, where they disagree, and what was out of reach.

    Parameters
    ----------
    found : Comparison
        From `quanta.analysis.compare_published`.
    console : Console
        Where to; in fewer columns a table takes several blocks.
    """
    s = found.settings
    name = f"{found.study}: " if found.study else ""
    alpha = s["alpha"] if isinstance(s["alpha"], str) else f"α = {s['alpha']:g}"
    console.print(Text(f"{name}{alpha}, K = {s['n_subtasks']}, seeds: {s['n_seeds']}; beside {found.source}"))
    for note in found.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if found.readings:
        _title(console, "Measured beside published: by own fits, and by the paper's plain least squares")
        console.print(Text(f"  {_HOW}", style="dim"))
        rows = list(_grouped(found.readings, lambda one: [_interval(one.measured), _difference(one)]))
        print_table(console, ("", "here", "off by"), rows)
        _title(console, _PREDICTED)
        if any(each.n_stderr is not None for one in found.readings for each in one.predicted.values()):
            console.print(Text(f"  {_HOW_FAR}", style="dim"))
        said = {theory for one in found.readings for theory in one.predicted}
        theories = [name for name in (*(theory.name for theory in THEORIES), INFINITE) if name in said]
        rows = list(
            _grouped(
                _once(found.readings),
                lambda one: [
                    _number(one.measured.estimate),
                    *(_predicted(one, theory) for theory in theories),
                ],
            )
        )
        print_table(console, ("", "here", *theories), rows)
    if found.windows:
        _title(console, f"What window and spacing decide: alpha_S of width {found.width}")
        spacings = list(dict.fromkeys(one.by for one in found.windows))
        slopes = {(one.steps, one.by): _interval(one.slope) for one in found.windows}
        rows = [
            [f"steps {low}-{high}", *(slopes.get(((low, high), by), _UNKNOWN) for by in spacings)]
            for low, high in dict.fromkeys(one.steps for one in found.windows)
        ]
        print_table(console, ("", *spacings), rows)
        known = [one.slope.estimate for one in found.windows if math.isfinite(one.slope.estimate)]
        if len(known) > 1:
            span = f"from {_number(min(known))} to {_number(max(known))}"
            console.print(Text(f"  On the same curve, they alone move it {span}."))
    if found.left_out:
        _title(console, "Published, and left out")
        for what, why in found.left_out.items():
            console.print(Text(f"  {what}: {why}"))
    console.print()
    for sentence in _disagreements(found):
        console.print(Text(sentence))


def _title(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))


def _once(readings: Iterable[Reading]) -> Iterable[Reading]:
    """Leave out own fits that stand beside another published value already."""
    found: dict[tuple[str, str, str | None], Reading] = {}
    for one in readings:
        found.setdefault((one.exponent, one.by, None if one.by == OWN_FIT else one.where), one)
    return found.values()


def _grouped(readings: Iterable[Reading], cells: Callable[[Reading], list[str]]) -> Iterator[list[str]]:
    """Make rows, below a head for each published value."""
    last = None
    for one in readings:
        head = one.exponent
        if one.published is not None:
            head = f"{one.exponent}: {_published(one)} at {one.where}"
        made = cells(one)
        if head != last:
            yield [head, *[""] * len(made)]
            last = head
        yield [f"  {one.by}", *made]


def _interval(found: Interval) -> str:
    if found.lower is None or found.upper is None:
        return _number(found.estimate)
    return f"{_number(found.estimate)} [{_number(found.lower)}, {_number(found.upper)}]"


def _published(one: Reading) -> str:
    return f"{one.published:g}" + (f" ± {one.error:g}" if one.error else "")


def _difference(one: Reading) -> str:
    if one.difference is None:
        return _UNKNOWN
    return f"{one.difference:+.3f}" + (f", {abs(one.n_stderr):.1f} SE" if one.n_stderr is not None else "")


def _predicted(one: Reading, theory: str) -> str:
    if theory not in one.predicted:
        return _UNKNOWN
    found = one.predicted[theory]
    if found.n_stderr is None:
        return _number(found.value)
    return f"{_number(found.value)} ({found.n_stderr:+.1f}{'*' * bool(found.disagrees)})"


def _number(value: float) -> str:
    return f"{value:.3f}" if value == value else _UNKNOWN


def _disagreements(found: Comparison) -> Iterator[str]:
    if not any(one.difference is not None for one in found.readings):
        yield "Nothing here can be held against a published value."
        return
    if all(one.n_stderr is None for one in found.readings):
        yield "Whether any of it disagrees with what was published cannot be said: " + (
            "one seed gives no standard error."
            if found.settings["n_seeds"] == 1
            else "no reading is known of two seeds."
        )
        return
    off = [one for one in found.readings if one.disagrees]
    level = f"{100 * found.settings['confidence']:g}%"
    if not off:
        yield f"Nothing disagrees with what was published, at {level}."
    for one in off:
        yield (
            f"{one.exponent}, {one.by}, disagrees at {level} with the {one.published:g} published at "
            f"{one.where}: by {one.difference:+.3f}, {abs(one.n_stderr or 0):.1f} standard errors."
        )
