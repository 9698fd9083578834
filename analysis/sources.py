"""What a command works on: which slice is chosen, what it is, and whose its results are."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quanta.study.axes import ALPHA, CONDITIONS, N_SUBTASKS, N_TRAIN
from quanta.tasks.terminal import note

# Only click is imported here: `quanta --help` must not wait for xarray.
if TYPE_CHECKING:
    import xarray as xr

    from quanta import RunDirectory, Slice, UnitSpec

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
        return {"path": str(self.path.absolute()), "slice": self.condition}

    @property
    def condition(self) -> dict[str, float | str | None]:
        """The slice, its values as in a study."""
        return {axis: _as_in_study(axis, value) for axis, value in self.slice.items()}

    @property
    def name(self) -> str:
        """What tells the slice from the others that there are, as in the name of a folder."""
        return "_".join(self.told)

    @property
    def whole(self) -> "Source":
        """All slices together."""
        return Source(self.path, {}, [])

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


@dataclass(frozen=True)
class Found:
    """A slice that a command works on, not read yet.

    Attributes
    ----------
    source : Source
        Whose its results are.
    read : callable
        Returns its curves.
    """

    source: Source
    read: "Callable[[], xr.Dataset]"


def find_slices(path: Path, at: At) -> list[Found]:
    """Find the slices at the values that are asked for.

    Returns
    -------
    list of Found
        One if a value is asked for of each condition of which there are several, or else those that can be
        read; what cannot is told.

    Raises
    ------
    UsageError
        If a value is not there; names those that are.
    StoreError
        If there are several slices, and none can be read.
    """
    from quanta import RunDirectory, load

    asked = _check_asked(at)
    if path.is_dir():
        return _find_in_run(path, RunDirectory(path), asked)
    curves = load(path)
    there = _axes_of(curves)
    # D is a resource, all of which is in a slice.
    chosen = _choose_all(there, asked, [axis for axis in there if axis in asked or axis == N_SUBTASKS.name])
    alphas = [chosen[ALPHA.name]] if ALPHA.name in chosen else there[ALPHA.name]
    places = [chosen | {ALPHA.name: alpha} for alpha in alphas]
    return [Found(_source(path, place, there), partial(_take, curves, place)) for place in places]


def _find_in_run(path: Path, run: "RunDirectory", asked: dict[str, float]) -> list[Found]:
    from quanta.store.slices import choose, keep_readable

    there = _axes_of_run(run)
    alone = [axis.name for axis in CONDITIONS if len(there[axis.name]) == 1]
    chosen = _choose_all(there, asked, [axis for axis in there if axis in asked or axis in alone])
    condition = {axis: value for axis, value in chosen.items() if axis != N_TRAIN.name}
    if len(condition) == len(CONDITIONS):  # other slices need not be trained, nor fit in memory
        return [Found(_source(path, chosen, there), lambda: _take(run.load(**condition), chosen))]
    slices = choose(run.slices(), condition)
    readable = keep_readable(slices)
    left_out = [str(each) for each in slices if not each.complete]
    if left_out:
        note(f"slices without a complete seed are left out: {'; '.join(left_out)}")
    found = []
    for each in readable:
        place = chosen | {axis.name: axis.coordinate(axis.of(each.units[0])) for axis in CONDITIONS}
        found.append(Found(_source(path, place, there), partial(_read, run, each, place)))
    return found


def _read(run: "RunDirectory", one: "Slice", place: dict[str, float]) -> "xr.Dataset":
    return _take(run.read(one), place)


def _take(curves: "xr.Dataset", place: dict[str, float]) -> "xr.Dataset":
    """Take the slice at a place, and say what is missing in it."""
    from quanta.analysis import select

    _tell_missing(curves.attrs)
    return select(curves, place[ALPHA.name], place.get(N_TRAIN.name))


def _check_asked(at: At) -> dict[str, float]:
    asked = dict(at)
    if len(asked) < len(at):
        raise click.UsageError("--at must choose a value of each axis once")
    return asked


def choose_units(path: Path, at: At) -> "tuple[RunDirectory, list[UnitSpec], Source]":
    """Choose the units of a run directory that are done at one place of all axes but the seed."""
    from quanta import RunDirectory

    asked = _check_asked(at)
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

    several = [axis for axis in AXES if axis in chosen and len(there[axis]) > 1]
    always = (*ALWAYS_NAMED, N_TRAIN.name)
    named = {axis: chosen[axis] for axis in AXES if axis in chosen and (axis in always or axis in several)}
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
