"""The door to the analysis: `quanta simulate`, `analyze` and `figures`."""

import functools
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from quanta.study.axes import ALPHA, N_TRAIN
from quanta.tasks.terminal import (
    AssignmentType,
    PathType,
    RealRange,
    WholeRange,
    echo,
    echo_descriptions,
    echo_json,
    echo_rich,
    note,
)

# Only click is imported here: `quanta --help` must not wait for xarray. Commands import what they need.
if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from quanta import RunDirectory
    from quanta.analysis import Verdict

EXIT_NOT_HELD = 4

AXES: dict[str, Mapping[str, float]] = {
    ALPHA.name: ALPHA.words,
    "n_subtasks": {},
    N_TRAIN.name: N_TRAIN.words,
}
"""What `--at` chooses by, and the words that stand for a number, as in a study."""

USUAL: dict[str, float] = {"tau": 0.1, "confidence": 0.9, "seed": 0}
"""The settings where nothing else is said."""

At = tuple[tuple[str, float], ...]


class _WorldCommand(click.Command):
    """A command whose help ends with the worlds; what they are is read only then."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from quanta.analysis.theories.worlds import WORLDS

        with formatter.section("Worlds"):
            formatter.write_dl([(name, world.meaning) for name, world in WORLDS.items()])


def _parse_world(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    from quanta.analysis.theories.worlds import WORLDS

    choice = click.Choice(list(WORLDS))
    return choice.convert(value, parameter, ctx)


def _list_worlds(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from quanta.analysis.theories.worlds import WORLDS

    echo_descriptions({name: world.meaning for name, world in WORLDS.items()})
    ctx.exit()


@click.command(cls=_WorldCommand, short_help="Write curves with a known answer.")
@click.argument("world", callback=_parse_world)
@click.option(
    "--out",
    required=True,
    type=PathType(dir_okay=False),
    help="File of curves (netCDF), usually ending in .nc.",
)
@click.option(
    "--alpha",
    type=RealRange(0, 4, min_open=True),
    help="Quanta exponent; the world uniform has none.  [default: 0.4]",
)
@click.option(
    "--n-subtasks",
    "-K",
    type=WholeRange(2, 10_000),
    default=64,
    show_default=True,
    help="Number of subtasks K.",
)
@click.option("--n-seeds", type=WholeRange(1, 1000), default=3, show_default=True, help="Independent draws.")
@click.option("--steps", type=WholeRange(1, 10**9), default=6000, show_default=True, help="The last step.")
@click.option(
    "--scatter",
    type=RealRange(0, 3),
    default=0.3,
    show_default=True,
    help="Standard deviation of log learning times.",
)
@click.option(
    "--seed", type=WholeRange(min=0), default=0, show_default=True, help="Decides all that is random."
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_worlds,
    help="List the worlds.",
)
def simulate(
    world: str,
    out: Path,
    alpha: float | None,
    n_subtasks: int,
    n_seeds: int,
    steps: int,
    scatter: float,
    seed: int,
) -> None:
    """Write curves of WORLD, in which it is known what is learned, when and in which order.

    They have the schema of trained ones and about the sizes of the demo. Some hold to the hypothesis and
    some break it in one way each, so `quanta analyze` can be tried on them. Prints the path.
    """
    from quanta import save_curves
    from quanta.analysis import simulate

    if world == "uniform" and alpha is not None:
        raise click.UsageError("--alpha is not for the world uniform, whose frequencies are equal")
    curves = simulate(
        world,
        alpha=0.4 if alpha is None else alpha,
        n_subtasks=n_subtasks,
        n_seeds=n_seeds,
        steps=steps,
        scatter=scatter,
        seed=seed,
    )
    save_curves(curves, out)
    echo(out)


def _parse_at(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> At:
    return tuple(_parse_choice(*value.partition("=")) for value in values)


def _parse_old(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> At:
    return tuple(_parse_choice(str(parameter.name), "=", value) for value in values)


def _parse_choice(axis: str, equals: str, text: str) -> tuple[str, float]:
    """Take what a study takes as a value, and return the number that Curves hold for it."""
    from quanta.tasks.config import ConfigError
    from quanta.tasks.toml import parse_value

    axis, text = axis.strip(), text.strip()
    if axis not in AXES or not equals:
        raise click.BadParameter(
            f"{axis + equals + text!r} is not AXIS=VALUE, where AXIS is one of {', '.join(AXES)}."
        )
    words = AXES[axis]
    try:
        value = parse_value(text)
    except ConfigError as error:
        raise click.BadParameter(f"{axis}: {error}") from None
    if isinstance(value, str) and value in words:
        return axis, words[value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return axis, float(value)
    raise click.BadParameter(f"{axis} must be {' or '.join(['a number', *words])}, not {text!r}.")


def _say(axis: str, value: float) -> str:
    """Write a value of an axis as a study does, and as the names of units do."""
    for word, number in AXES[axis].items():
        if value == number:
            return word
    return str(float(value)) if axis == "alpha" else f"{value:.0f}"


def _slice_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of every command over a slice."""

    @functools.wraps(command)
    def with_old_names(*, at: At, alpha: At, n_train: At, **options: Any) -> None:
        old = alpha + n_train
        for axis, value in old:
            note(f"--{axis.replace('_', '-')} will go; --at {axis}={_say(axis, value)} says the same")
        command(at=at + old, **options)

    for option in (
        click.option("--alpha", multiple=True, hidden=True, callback=_parse_old),
        click.option("--n-train", multiple=True, hidden=True, callback=_parse_old),
        click.option(
            "--tau",
            type=RealRange(0, 1, min_open=True, max_open=True),
            default=USUAL["tau"],
            show_default=True,
            help="Share of chance below which a subtask is learned.",
        ),
        click.option(
            "--at",
            type=AssignmentType(),
            multiple=True,
            metavar="AXIS=VALUE",
            callback=_parse_at,
            help="Which slice, if there are several, e.g. alpha=0.4, alpha=uniform or n_train=online.",
        ),
    ):
        with_old_names = option(with_old_names)
    return with_old_names


@dataclass(frozen=True)
class _Source:
    """Whose results are: every one of them says so, and so do the folders that they are put into."""

    path: Path
    slice: dict[str, float]
    told: list[str]
    """The values that tell the slice from others that there are."""

    def to_dict(self) -> dict[str, Any]:
        """Turn into what `json.dumps` takes."""
        values = {axis: _as_in_study(axis, value) for axis, value in self.slice.items()}
        return {"path": str(self.path.absolute()), "slice": values}

    def describe(self, tau: float) -> str:
        """Say it in a line that depends on no machine."""
        values = [f"{axis}={_say(axis, value)}" for axis, value in self.slice.items()]
        return ", ".join([self.path.name, *values, f"tau={tau!r}"])

    def folder(self, kind: str, **settings: float) -> Path:
        """Where results go: into their run directory, or beside their file, and not over others.

        The folder names what is not set as usual, as it does a slice that is not alone.
        """
        from quanta.store.run_directory import inside

        name = "_".join(self.told + [f"{k}={value!r}" for k, value in settings.items() if value != USUAL[k]])
        below = [kind] if self.path.is_dir() else [kind, self.path.name.removesuffix(".nc")]
        parent = self.path if self.path.is_dir() else self.path.parent
        return inside(parent, *below, *([name] if name else []))


def _as_in_study(axis: str, value: float) -> float | str | None:
    words = {number: word for word, number in AXES[axis].items()}
    if math.isnan(value):
        return None
    if value in words:
        return words[value]
    return value if axis == "alpha" else int(value)


def _check_owner(file: Path, source: dict[str, Any]) -> None:
    """Check that results of something else, which a file beside them says, will not be replaced.

    Raises
    ------
    ClickException
        If they would be.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        there = {name: (found | found.get("settings", {}))[name] for name in source}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # nothing says whose it is
        return
    for name, value in source.items():
        if there[name] != value:
            raise click.ClickException(
                f"--out must be empty or hold results of the same: {file.parent} has those of "
                f"{name} {there[name]}, not {value}"
            )


def _load_slice(path: Path, at: At) -> "tuple[xr.Dataset, _Source]":
    """Load the slice that is asked for, and say whose its results are."""
    from quanta import RunDirectory, load
    from quanta.analysis import select

    asked = dict(at)
    if len(asked) < len(at):
        raise click.UsageError("--at must choose a value of each axis once")

    curves = None if path.is_dir() else load(path)
    there = _axes_of_run(RunDirectory(path)) if curves is None else _axes_of(curves)
    chosen = {axis: _choose(axis, there[axis], asked.get(axis)) for axis in ("alpha", "n_subtasks")}
    if "n_train" in asked:  # a resource, all of which is in a slice
        chosen["n_train"] = _choose("n_train", there["n_train"], asked["n_train"])

    if curves is None:  # of which other slices need not be trained, nor fit in memory
        curves = RunDirectory(path).load(alpha=chosen["alpha"], n_subtasks=chosen["n_subtasks"])
    _tell_missing(curves.attrs)
    told = [f"{axis}={_say(axis, value)}" for axis, value in chosen.items() if len(there[axis]) > 1]
    return select(curves, chosen["alpha"], chosen.get("n_train")), _Source(path, chosen, told)


def _axes_of(curves: "xr.Dataset") -> dict[str, list[float]]:
    """List what there is on each axis in curves."""
    return {
        "alpha": curves["alpha"].values.tolist(),
        "n_train": curves["n_train"].values.tolist(),
        "n_subtasks": [curves.sizes["subtask"]],
    }


def _axes_of_run(run: "RunDirectory") -> dict[str, list[float]]:
    """List what there is on each axis of the study of a run directory, be it trained or not."""
    places = [unit.coordinates | {"n_subtasks": unit.task.n_subtasks} for unit in run.study.units()]
    return {axis: sorted({place[axis] for place in places}) for axis in AXES}


def _choose(axis: str, values: list[float], asked: float | None) -> float:
    if asked is None and len(values) == 1:
        return values[0]
    found = ", ".join(_say(axis, value) for value in values)
    if asked is None:
        raise click.UsageError(f"--at {axis}=VALUE must choose one: there are {found}")
    for value in values:
        if math.isclose(value, asked, rel_tol=1e-9) or (math.isnan(value) and math.isnan(asked)):
            return value
    raise click.UsageError(f"--at {axis} must be one of {found}, not {_say(axis, asked)}")


def _tell_missing(attributes: dict[Any, Any]) -> None:
    if attributes.get("left_out"):
        note(f"left out: {attributes['left_out']}")
    n_missing = attributes.get("units_missing", 0)
    if n_missing:
        names = attributes.get("missing_units", "").split()
        some = f": {', '.join(names[:3])}{', ...' * (len(names) > 3)}" if names else ""
        note(f"units that are not done: {n_missing}; the seeds they belong to are left out{some}")


@click.command(short_help="Check whether the loss follows from the count.")
@click.argument("path", type=PathType(exists=True))
@_slice_options
@click.option(
    "--confidence",
    type=RealRange(0, 1, min_open=True, max_open=True),
    default=USUAL["confidence"],
    show_default=True,
    help="Nominal coverage of the intervals.",
)
@click.option(
    "--seed", type=WholeRange(min=0), default=USUAL["seed"], show_default=True, help="Of the resampling."
)
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
    """
    from quanta.analysis import judge, tabulate

    if as_json and details:
        raise click.UsageError("--json and --details exclude each other")
    curves, source = _load_slice(path, at)
    settings = {"tau": tau, "confidence": confidence, "seed": seed}
    folder = out
    if out is not None:
        _check_owner(out / "verdict.json", source.to_dict() | settings)
    elif path.is_dir():
        folder = source.folder("analysis", **settings)
    verdict = judge(curves, tau=tau, confidence=confidence, seed=seed)
    tables = tabulate(verdict.statistics, confidence)
    record = verdict.to_dict()
    record = {"schema": record["schema"], "study": record["study"], **source.to_dict(), **record}

    # Before anything is printed: whoever reads may have seen enough after one line.
    lost = ""
    if folder is not None:
        try:
            _store(record, tables, folder)
        except OSError as error:
            lost = f"the tables are not kept, for {folder} cannot be written"
            if out is None:
                note(f"{lost} ({error.strerror}); --out names another folder")
            else:
                lost = f"Error: {lost}: {error}"
    if as_json:
        echo_json(record)
    else:
        _print(verdict, tables, details)

    if out is not None and lost:
        echo(lost, err=True)
    asked = [verdict.outcome] * strict + [verdict.questions["count"].outcome] * strict_count
    if any(outcome != "supported" for outcome in asked):
        sys.exit(EXIT_NOT_HELD)
    if out is not None and lost:
        sys.exit(1)


def _store(record: dict[str, Any], tables: "dict[str, pd.DataFrame]", folder: Path) -> None:
    """Write the verdict and all tables to a folder, and what their columns mean."""
    from quanta.analysis.verdict.columns import tabulate_columns
    from quanta.tasks.atomic import atomic_write

    _write_json(folder / "verdict.json", record)
    for name, table in (tables | {"columns": tabulate_columns()}).items():
        with atomic_write(folder / f"{name}.csv") as file:
            table.to_csv(file, index=False)


def _write_json(path: Path, record: dict[str, Any]) -> None:
    from quanta.tasks.atomic import atomic_write

    with atomic_write(path) as file:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _print(verdict: "Verdict", tables: "dict[str, pd.DataFrame]", details: bool) -> None:
    """Print the verdict to be read, and all that stands beside it if asked for."""
    from quanta.analysis import render, render_details

    echo_rich(lambda console: render(verdict, console))
    if details:
        echo_rich(lambda console: render_details(verdict, tables, console))


@click.command(short_help="Draw the figures.")
@click.argument("path", type=PathType(exists=True))
@_slice_options
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
    that is not the default. Its figures.json says what the figures are of, as each does in its metadata.
    """
    from quanta.analysis import measure, save_figures

    curves, source = _load_slice(path, at)
    said = source.to_dict() | {"tau": tau}
    if out is not None:
        _check_owner(out / "figures.json", said)
    folder = out or source.folder("figures", tau=tau)
    statistics = measure(curves, tau)
    drawn = save_figures(statistics, folder, format=file_format, description=source.describe(tau))
    _write_json(folder / "figures.json", {"schema": 1, **said})
    for file in drawn:
        echo(file)
