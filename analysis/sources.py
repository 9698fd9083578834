"""What a command works on: which slice is chosen, what it is, and whose its results are."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quanta.study.axes import CONDITIONS, N_SUBTASKS, N_TRAIN
from quanta.tasks.terminal import note

# Only click is imported here: `quanta --help` must not wait for xarray.
if TYPE_CHECKING:
    import xarray as xr

    from quanta import RunDirectory, UnitSpec

AXES = {axis.name: axis for axis in (*CONDITIONS, N_TRAIN)}
"""What `--at` chooses by."""

ALSO = {N_SUBTASKS.symbol: N_SUBTASKS.name, N_TRAIN.symbol: N_TRAIN.name}
"""Other names that it hears: letters."""

USUAL: dict[str, float] = {"tau": 0.1, "confidence": 0.9, "seed": 0}
"""The settings where nothing else is said."""

At = tuple[tuple[str, float], ...]


def say_value(axis: str, value: float) -> str:
    """Write a value of an axis as a study does, and as the names of units do."""
    found = _as_in_study(axis, value)
    return "nan" if found is None else str(found)


@dataclass(frozen=True)
class Source:
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
        values = [f"{axis}={say_value(axis, value)}" for axis, value in self.slice.items()]
        return ", ".join([self.path.name, *values, f"tau={tau!r}"])

    def folder(self, kind: str, usual: Mapping[str, Any] = USUAL, **settings: Any) -> Path:
        """Where results go: into their run directory, or beside their file, and not over others.

        The folder names what is not set as usual, as it does a slice that is not alone.
        """
        from quanta.store.run_directory import inside

        name = "_".join(self.told + [f"{k}={value}" for k, value in settings.items() if value != usual[k]])
        below = [kind] if self.path.is_dir() else [kind, self.path.name.removesuffix(".nc")]
        parent = self.path if self.path.is_dir() else self.path.parent
        return inside(parent, *below, *([name] if name else []))


def _as_in_study(axis: str, value: float) -> float | str | None:
    """Return the word or the number that stands for a value in a study; None for one that is not known."""
    for word, number in AXES[axis].words.items():
        if value == number:
            return word
    if math.isnan(value):
        return None
    return round(value) if AXES[axis].is_whole else float(value)


def check_owner(file: Path, source: dict[str, Any]) -> None:
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


def load_slice(path: Path, at: At) -> "tuple[xr.Dataset, Source]":
    """Load the slice that is asked for, and say whose its results are."""
    from quanta import RunDirectory, load
    from quanta.analysis import select

    asked = dict(at)
    if len(asked) < len(at):
        raise click.UsageError("--at must choose a value of each axis once")

    curves = None if path.is_dir() else load(path)
    there = _axes_of_run(RunDirectory(path)) if curves is None else _axes_of(curves)
    # D is a resource, all of which is in a slice.
    chosen = _choose_all(there, asked, [axis for axis in AXES if axis != N_TRAIN.name or axis in asked])

    if curves is None:  # of which other slices need not be trained, nor fit in memory
        condition = {axis: value for axis, value in chosen.items() if axis != N_TRAIN.name}
        curves = RunDirectory(path).load(**condition)
    _tell_missing(curves.attrs)
    return select(curves, chosen["alpha"], chosen.get("n_train")), _source(path, chosen, there)


def choose_units(path: Path, at: At) -> "tuple[RunDirectory, list[UnitSpec], Source]":
    """Choose the units of a run directory that are done at one place of all axes but the seed."""
    from quanta import RunDirectory

    asked = dict(at)
    if len(asked) < len(at):
        raise click.UsageError("--at must choose a value of each axis once")
    run = RunDirectory(path)
    there = _axes_of_run(run)
    chosen = _choose_all(there, asked, list(AXES))
    units = [unit for unit in run.study.units() if _place(unit) == chosen]
    pending = run.pending(units)
    if len(pending) == len(units):
        raise click.ClickException(f"{path}: none of the {len(units)} units that are asked for is done")
    _tell_missing({"units_missing": len(pending), "missing_units": " ".join(unit.id for unit in pending)})
    return run, [unit for unit in units if unit not in pending], _source(path, chosen, there)


def _source(path: Path, chosen: dict[str, float], there: dict[str, list[float]]) -> Source:
    """Say whose results are, by axes that always name a slice, or of which there are several values."""
    from quanta.store.slices import ALWAYS_NAMED

    several = [axis for axis in chosen if len(there[axis]) > 1]
    named = {axis: x for axis, x in chosen.items() if axis in (*ALWAYS_NAMED, N_TRAIN.name, *several)}
    return Source(path, named, [f"{axis}={say_value(axis, chosen[axis])}" for axis in several])


def _choose_all(there: dict[str, list[float]], asked: dict[str, float], axes: list[str]) -> dict[str, float]:
    """Choose a value of each of these axes that is known."""
    for axis in asked:
        if axis not in there:
            raise click.UsageError(f"--at {axis} is for run directories: curves in a file do not say it")
    return {axis: _choose(axis, there[axis], asked.get(axis)) for axis in axes if axis in there}


def _axes_of(curves: "xr.Dataset") -> dict[str, list[float]]:
    """List what there is on each axis in curves, as far as they say it."""
    return {
        "alpha": curves["alpha"].values.tolist(),
        "n_train": curves["n_train"].values.tolist(),
        "n_subtasks": [curves.sizes["subtask"]],
    }


def _axes_of_run(run: "RunDirectory") -> dict[str, list[float]]:
    """List what there is on each axis of the study of a run directory, be it trained or not."""
    places = [_place(unit) for unit in run.study.units()]
    return {axis: sorted({place[axis] for place in places}) for axis in AXES}


def _place(unit: "UnitSpec") -> dict[str, Any]:
    return {name: axis.coordinate(axis.of(unit)) for name, axis in AXES.items()}


def _choose(axis: str, values: list[float], asked: float | None) -> float:
    if asked is None and len(values) == 1:
        return values[0]
    found = ", ".join(say_value(axis, value) for value in values)
    if asked is None:
        raise click.UsageError(f"--at {axis}=VALUE must choose one: there are {found}")
    for value in values:
        if math.isclose(value, asked, rel_tol=1e-9) or (math.isnan(value) and math.isnan(asked)):
            return value
    raise click.UsageError(f"--at {axis} must be one of {found}, not {say_value(axis, asked)}")


def _tell_missing(attributes: dict[Any, Any]) -> None:
    if attributes.get("left_out"):
        note(f"left out: {attributes['left_out']}")
    n_missing = attributes.get("units_missing", 0)
    if n_missing:
        names = attributes.get("missing_units", "").split()
        some = f": {', '.join(names[:3])}{', ...' * (len(names) > 3)}" if names else ""
        note(f"units that are not done: {n_missing}; the seeds they belong to are left out{some}")
