"""All slices of a study at once: judged one by one, compared, kept and drawn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quanta.analysis.figures.conditions import plot_exponents_by_condition
from quanta.analysis.figures.style import Format, write
from quanta.analysis.keeping import describe, keep, store, write_json, write_tables
from quanta.analysis.sources import Found, check_owner
from quanta.analysis.verdict.columns import CONDITION_COLUMNS, tabulate_columns
from quanta.analysis.verdict.conditions import Conditions, compare_conditions, tabulate_conditions
from quanta.analysis.verdict.judge import Verdict, judge
from quanta.analysis.verdict.tables import tabulate
from quanta.tasks.terminal import progress

Judged = Iterator[tuple[Mapping[str, Any], Verdict]]


@dataclass(frozen=True)
class Overview:
    """What `compare_slices` found.

    Attributes
    ----------
    conditions : Conditions
    record : dict
        All of it as JSON: the conditions, and the verdict of each slice.
    outcomes : list of (str, str)
        Of each slice: of both questions together, and of the count.
    is_kept : bool
        Whether everything could be written that was to be.
    """

    conditions: Conditions
    record: dict[str, Any]
    outcomes: list[tuple[str, str]]
    is_kept: bool


def compare_slices(found: Sequence[Found], settings: dict[str, Any], out: Path | None) -> Overview:
    """Judge slices, keep what is found of each as if it were alone, and compare their exponents.

    Parameters
    ----------
    found : sequence of Found
        Of one study.
    settings : dict
        `tau`, `confidence` and `seed`, as of `judge`.
    out : Path, optional
        Folder of what is kept, in which each slice has its own; by default as `Source.folder` says, and none
        for a file.

    Returns
    -------
    Overview

    Raises
    ------
    ClickException
        If there are results of something else in `out`.
    """
    whole = found[0].source.whole
    said = {"path": whole.to_dict()["path"], **settings}
    folder = out or (whole.folder("analysis", **settings) if whole.path.is_dir() else None)
    if out is not None:
        check_owner(out / "conditions.json", said)
    records: list[dict[str, Any]] = []
    outcomes: list[tuple[str, str]] = []
    is_kept = True

    def judged() -> Judged:
        nonlocal is_kept
        for one in _each(found):
            verdict = judge(one.read(), **settings)
            record = describe(verdict, one.source)
            records.append(record)
            outcomes.append((verdict.outcome, verdict.questions["count"].outcome))
            if folder is not None and is_kept:
                tables = tabulate(verdict.statistics, settings["confidence"])
                own = out / one.source.name if out else one.source.folder("analysis", **settings)
                is_kept = keep(lambda: store(record, tables, own), own, out)  # noqa: B023
            yield one.source.condition, verdict

    conditions = compare_conditions(judged(), seed=settings["seed"])
    record = conditions.to_dict()
    record = {"schema": record["schema"], "study": record["study"], **said, **record, "slices": records}
    if folder is not None and is_kept:
        tables = {
            "conditions": tabulate_conditions(conditions),
            "columns": tabulate_columns(CONDITION_COLUMNS),
        }

        def store_all() -> None:
            write_json(folder / "conditions.json", record)
            write_tables(tables, folder)

        is_kept = keep(store_all, folder, out)
    return Overview(conditions, record, outcomes, is_kept)


def draw_slices(found: Sequence[Found], tau: float, format: Format, out: Path | None) -> list[Path]:
    """Draw and write the figures of several slices together; return their paths."""
    whole = found[0].source.whole
    said = {"path": whole.to_dict()["path"], "tau": tau}
    if out is not None:
        check_owner(out / "figures.json", said)
    folder = out or whole.folder("figures", tau=tau)

    def judged() -> Judged:
        for one in _each(found):
            yield one.source.condition, judge(one.read(), tau=tau)

    figure = plot_exponents_by_condition(compare_conditions(judged()))
    path = folder / f"exponents_by_condition.{format}"
    write(figure, path, format, whole.describe(tau))
    write_json(folder / "figures.json", {"schema": 1, **said})
    return [path]


def _each(found: Sequence[Found]) -> Iterator[Found]:
    """Go through slices, and show how far it is."""
    with progress("analysis", len(found), "slices") as advance:
        for one in found:
            yield one
            if advance is not None:
                advance(1)
