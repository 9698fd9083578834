"""The door to the analysis: `quanta simulate`, `analyze`, `compare`, `figures` and `discover`."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from quanta.analysis.keeping import describe, keep, store, write_json, write_tables
from quanta.analysis.options import at_option, confidence_option, seed_option, slice_options, tau_option
from quanta.analysis.sources import USUAL, At, Found, check_owner, choose_units, find_slices
from quanta.tasks.terminal import (
    PathType,
    WholeRange,
    echo,
    echo_json,
    echo_rich,
    note,
)

# Only click is imported here: `quanta --help` must not wait for xarray. Commands import what they need.
if TYPE_CHECKING:
    import pandas as pd

    from quanta.analysis import Verdict

EXIT_NOT_HELD = 4


@click.command(short_help="Check whether the loss follows from the count.")
@click.argument("path", type=PathType(exists=True))
@slice_options
@confidence_option
@seed_option("Of what the theory expects.")
@click.option(
    "--out",
    type=PathType(file_okay=False),
    help="Folder of the tables.  [default: PATH/analysis; of a file none are kept]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--details", is_flag=True, help="Print why, in sentences, and all tables.")
@click.option("--strict", is_flag=True, help="Exit with code 4 unless both answers are 'supported'.")
@click.option("--strict-count", is_flag=True, help="The same for the first question alone.")
def analyze(
    path: Path,
    at: At,
    tau: float,
    confidence: float,
    seed: int,
    out: Path | None,
    as_json: bool,
    details: bool,
    strict: bool,
    strict_count: bool,
) -> None:
    """Analyze PATH, a run directory or a netCDF file of curves, and print the verdict.

    Two questions are answered: does the loss follow from the count of subtasks learned, and does the count
    grow as the hypothesis says? For a run directory, also writes verdict.json and tables to its folder
    analysis/; to a folder for each slice, such as analysis/alpha=0.4/, if there are several, and for each
    setting that is not the default, such as analysis/tau=0.2/. Its columns.csv says what each column of each
    table means, and its unit.

    Of several slices that --at leaves open, prints a table of exponents, a row a slice, beside what infinite
    K, finite K and learning one after another predict, and also writes conditions.json and conditions.csv.
    """
    from quanta.analysis import judge, tabulate

    if as_json and details:
        raise click.UsageError("--json and --details exclude each other")
    settings: dict[str, Any] = {"tau": tau, "confidence": confidence, "seed": seed}
    found = find_slices(path, at)
    if len(found) > 1:
        outcomes, is_kept = _analyze_slices(found, settings, out, as_json, details)
        _finish(outcomes, strict, strict_count, is_kept or out is None)
        return
    source, curves = found[0].source, found[0].read()
    folder = out
    if out is not None:
        check_owner(out / "verdict.json", source.to_dict() | settings)
    elif path.is_dir():
        folder = source.folder("analysis", **settings)
    verdict = judge(curves, tau=tau, confidence=confidence, seed=seed)
    tables = tabulate(verdict.statistics, confidence)
    record = describe(verdict, source)

    # Before anything is printed: whoever reads may have seen enough after one line.
    is_kept = folder is None or keep(lambda: store(record, tables, folder), folder, out)
    if as_json:
        echo_json(record)
    else:
        _print(verdict, tables, details)
    outcomes = [(verdict.outcome, verdict.questions["count"].outcome)]
    _finish(outcomes, strict, strict_count, is_kept or out is None)


def _analyze_slices(
    found: list[Found], settings: dict[str, Any], out: Path | None, as_json: bool, details: bool
) -> tuple[list[tuple[str, str]], bool]:
    """Print the exponents of all slices; return what the answers are, and whether results are kept."""
    from quanta.analysis import render_conditions
    from quanta.analysis.overview import compare_slices

    if details:
        raise click.UsageError("--details is for one slice: --at chooses one")
    overview = compare_slices(found, settings, out)
    if as_json:
        echo_json(overview.record)
    else:
        echo_rich(lambda console: render_conditions(overview.conditions, console))
    return overview.outcomes, overview.is_kept


def _finish(outcomes: list[tuple[str, str]], strict: bool, strict_count: bool, is_kept: bool) -> None:
    """Exit with the code of what was asked for, of each slice: its whole outcome and that of the count."""
    asked = [whole for whole, _ in outcomes if strict] + [count for _, count in outcomes if strict_count]
    if any(outcome != "supported" for outcome in asked):
        sys.exit(EXIT_NOT_HELD)
    if not is_kept:
        sys.exit(1)


def _print(verdict: "Verdict", tables: "dict[str, pd.DataFrame]", details: bool) -> None:
    """Print the verdict to be read, and all that stands beside it if asked for."""
    from quanta.analysis import render, render_details

    echo_rich(lambda console: render(verdict, console))
    if details:
        echo_rich(lambda console: render_details(verdict, tables, console))


@click.command(short_help="Put exponents beside the published ones.")
@click.argument("path", type=PathType(exists=True))
@at_option
@confidence_option
@seed_option("Of what theories predict.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(path: Path, at: At, confidence: float, seed: int, as_json: bool) -> None:
    """Put the exponents of PATH, a run directory or a file of curves, beside those of arXiv:2303.13506.

    Each is read by this package's fits and by the paper's estimator, plain least squares over the windows
    that it chose: at evenly spaced steps, for which curves are interpolated, and as they were evaluated.
    Beside them stand what theories predict of the same reading, and by how many standard errors over seeds
    all of these differ. What a window needs and the curves do not have is named. All slices are compared
    unless one is chosen.
    """
    from quanta.analysis import compare_published, render_comparison

    records: list[dict[str, Any]] = []
    for one in find_slices(path, at):
        found = compare_published(one.read(), confidence=confidence, seed=seed)
        if not as_json:
            if records:
                echo("")
            echo_rich(partial(render_comparison, found))
        records.append(one.source.to_dict() | found.to_dict())
    if as_json:
        echo_json({"schema": 1, "slices": records})


@click.command(short_help="Draw the figures.")
@click.argument("path", type=PathType(exists=True))
@slice_options
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["png", "svg", "pdf"]),
    default="png",
    show_default=True,
    help="File format; PNG at 200 dpi.",
)
@click.option(
    "--out",
    type=PathType(file_okay=False),
    help="Folder.  [default: PATH/figures; of a file figures/NAME beside it]",
)
def figures(
    path: Path, at: At, tau: float, file_format: Literal["png", "svg", "pdf"], out: Path | None
) -> None:
    """Draw the figures of PATH, a run directory or a netCDF file of curves; prints their paths.

    If there are several slices, each has a folder of its own, such as figures/alpha=0.4/, and so has a tau
    that is not the default. Its figures.json says what the figures are of, as each does in its metadata. Of
    several that --at leaves open, one figure is drawn: exponents_by_condition.
    """
    from quanta.analysis import measure, save_figures

    found = find_slices(path, at)
    if len(found) > 1:
        from quanta.analysis.overview import draw_slices

        note(f"of {len(found)} slices, drawn together; --at chooses one, whose own figures are then drawn")
        for file in draw_slices(found, tau, file_format, out):
            echo(file)
        return
    source, curves = found[0].source, found[0].read()
    said = source.to_dict() | {"tau": tau}
    if out is not None:
        check_owner(out / "figures.json", said)
    folder = out or source.folder("figures", tau=tau)
    statistics = measure(curves, tau)
    drawn = save_figures(statistics, folder, format=file_format, description=source.describe(tau))
    write_json(folder / "figures.json", {"schema": 1, **said})
    for file in drawn:
        echo(file)


_USUAL_DISCOVERY: dict[str, Any] = USUAL | {
    "width": None,
    "samples": 1000,
    "affinity": "angular+cos4",
    "embedding": False,
}


@click.command(short_help="Find quanta from gradients.")
@click.argument("path", type=PathType(exists=True, file_okay=False))
@tau_option
@at_option
@click.option("--width", type=WholeRange(1), help="Which networks.  [default: the widest]")
@click.option(
    "--samples",
    type=WholeRange(3, 20_000),
    default=_USUAL_DISCOVERY["samples"],
    show_default=True,
    help="Samples to cluster; memory and time grow as their square and cube.",
)
@click.option(
    "--affinity",
    "affinities",
    type=click.Choice(["angular", "abs", "elementwise", "cos4"]),
    multiple=True,
    default=_USUAL_DISCOVERY["affinity"].split("+"),
    show_default=True,
    help="How alike two samples are, from the cosine of their gradients; may be repeated.",
)
@click.option(
    "--embedding",
    is_flag=True,
    help="Count the weights of the subtask code too, whose gradients hold the answer.",
)
@confidence_option
@seed_option("Of samples and clusters.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute gradients; auto is CUDA if there is one.",
)
@click.option("--out", type=PathType(file_okay=False), help="Folder.  [default: PATH/discovery]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def discover(
    path: Path,
    tau: float,
    at: At,
    width: int | None,
    samples: int,
    affinities: tuple[str, ...],
    embedding: bool,
    confidence: float,
    seed: int,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Cluster samples by gradients of the trained networks in PATH, and hold clusters against subtasks.

    PATH is a run directory, of which every seed that is done is looked at. What of the agreement, and of the
    exponent of the clusters' sizes, is due to gradients is seen from the nulls beside it. Writes tables,
    figures of the first seed and discovery.json to its folder discovery/, or to one below for what is not as
    usual.
    """
    from quanta.analysis.figures.gallery import save_discovery
    from quanta.analysis.probing import discover_units, find_width
    from quanta.analysis.report.discovery import render_discovery
    from quanta.analysis.verdict.columns import DISCOVERY, tabulate_columns

    affinities = tuple(dict.fromkeys(affinities))
    run, units, source = choose_units(path, at)
    settings: dict[str, Any] = {
        "tau": tau,
        "confidence": confidence,
        "seed": seed,
        "samples": samples,
        "embedding": embedding,
    }
    settings |= {"width": find_width(run, width), "affinity": "+".join(affinities)}
    said = source.to_dict() | settings
    if out is not None:
        check_owner(out / "discovery.json", said)
    folder = out or source.folder("discovery", _USUAL_DISCOVERY, **settings | {"width": width})
    found, tables = discover_units(run, units, device, settings)
    networks = "1 network" if len(found) == 1 else f"{len(found)} networks"
    headline = (
        f"{run.study.name}: quanta of {networks} of width {settings['width']}, {samples} samples each; "
        f"intervals: {100 * confidence:g}%, Student over seeds"
    )
    learned = {str(number): (one.learned + 1).tolist() for number, one in found.items()}
    record = {"schema": 1, "study": run.study.name, **said, "learned": learned}
    record |= {name: json.loads(tables[name].to_json(orient="records")) for name in ("summary", "recovered")}
    first = next(iter(found))

    def store_all() -> None:
        write_json(folder / "discovery.json", record)
        write_tables(tables | {"columns": tabulate_columns(DISCOVERY)}, folder)
        save_discovery(found[first], folder, f"{source.describe(tau)}, seed={first}")

    is_kept = keep(store_all, folder, out)
    if as_json:
        echo_json(record)
    else:
        echo_rich(lambda console: render_discovery(headline, tables, console))
    if out is not None and not is_kept:
        sys.exit(1)
