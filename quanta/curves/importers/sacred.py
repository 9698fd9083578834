"""Curves from the run folders of the paper's own code: many runs become one dataset over its axes."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from quanta.curves.dataset import make_curves
from quanta.curves.importers.grids import find_holes
from quanta.curves.importers.sacred_run import SETTINGS, Run, UnfitError, law_of, read_run
from quanta.curves.schema import CurvesError
from quanta.study.size import MAX_CURVES_BYTES, MAX_UNITS
from quanta.tasks.config import one_line
from quanta.tasks.memory import format_bytes, memory_size
from quanta.tasks.spec import CHANCE_BITS

MOST_NAMED = 10
"""Runs that the curves themselves name as left out; `curves_from_sacred` returns all of them."""


def curves_from_sacred(folders: Iterable[str | os.PathLike[str]]) -> tuple[xr.Dataset, dict[str, str]]:
    """Build Curves from run folders of the paper's code.

    Parameters
    ----------
    folders : iterable of path-like
        Run folders, or folders of such; those beginning with an underscore are sacred's own.

    Returns
    -------
    curves : Dataset
        Over all α, D, seeds and widths at which there is a run. A run that stopped early, which its
        `run.json` calls completed, has NaN after its end.
    left_out : dict of str to str
        Run folder to why it is not in the curves: unfinished, damaged, of other settings or steps than most,
        there twice, or at a place of the grid that others do not complete.

    Raises
    ------
    CurvesError
        If no run is left, or all together are more than fit in memory.
    FileNotFoundError
        If one of the folders is not there.
    """
    left_out: dict[str, str] = {}
    runs: list[Run] = []
    held, most = 0, min(MAX_CURVES_BYTES, memory_size() // 4)
    found = _find_runs(folders)
    for folder in found:
        try:
            runs.append(read_run(folder))
        except UnfitError as error:
            left_out[str(folder)] = str(error)
            continue
        held += runs[-1].loss.nbytes * (1 if runs[-1].accuracy is None else 2)
        if held > most:
            raise CurvesError(
                f"runs: expected at most {format_bytes(most)} of numbers, found more at {folder}: "
                "import fewer at a time"
            )
    for choose in (_of_most_settings, _of_most_steps, _once, _of_one_size, _in_a_grid):
        chosen, others = choose(runs)
        left_out |= others
        runs = chosen
    if not runs:
        first = next(f" ({name}: {reason})" for name, reason in left_out.items())
        raise CurvesError(f"runs: expected at least one that is finished and whole, found none{first}")
    return _join(runs, left_out), {str(name): left_out[str(name)] for name in found if str(name) in left_out}


def _find_runs(folders: Iterable[str | os.PathLike[str]]) -> list[Path]:
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"no runs at {folder}: there is no such folder")
        below = [] if (folder / "config.json").exists() else [one for one in folder.iterdir() if one.is_dir()]
        below = [one for one in below if not one.name.startswith(("_", "."))]
        found += sorted(below, key=_by_number) or [folder]
        if len(found) > MAX_UNITS:
            raise CurvesError(f"runs: expected at most {MAX_UNITS} folders, found more at {folder}")
    if not found:
        raise CurvesError("runs: expected at least one folder, found none")
    return list(dict.fromkeys(found))


def _by_number(folder: Path) -> tuple[int, str]:
    """Sort as sacred counts: 10 after 9."""
    is_number = folder.name.isascii() and folder.name.isdecimal() and len(folder.name) < 20
    return (int(folder.name) if is_number else -1), folder.name


_Chosen = tuple[list[Run], dict[str, str]]


def _of_most_settings(runs: list[Run]) -> _Chosen:
    """Take the runs whose settings most have; of as many, those that come first."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(json.dumps(run.settings, sort_keys=True), []).append(run)
    most = max(alike.values(), key=len, default=[])
    others = {}
    for run in runs:
        if most and run.settings != most[0].settings:
            usual, own = most[0].settings, run.settings
            names = [name for name in SETTINGS if own.get(name) != usual.get(name)]
            differences = (f"{name} {own.get(name, '-')} and not {usual.get(name, '-')}" for name in names)
            others[run.name] = f"differs from most: {', '.join(differences)}"
    return most, others


def _of_most_steps(runs: list[Run]) -> _Chosen:
    """Take the runs logged at one list of steps, or at the beginning of it if they stopped early."""
    whole = [run.step for run in runs if run.is_whole] or [max(run.step for run in runs)] if runs else []
    usual = max(whole, key=whole.count, default=())
    fits = [
        run for run in runs if run.step == usual or (not run.is_whole and run.step == usual[: len(run.step)])
    ]
    others = {
        run.name: f"differs from most: logged {_say_steps(run.step)} and not {_say_steps(usual)}"
        for run in runs
        if not any(run is one for one in fits)
    }
    return fits, others


def _say_steps(step: tuple[int, ...]) -> str:
    return f"at {len(step)} steps, {', '.join(map(str, step[:2]))} to {step[-1]}"


def _once(runs: list[Run]) -> _Chosen:
    """Take the first run at each place."""
    first: dict[tuple[float, ...], Run] = {}
    others = {}
    for run in runs:
        kept = first.setdefault(run.place, run)
        if kept is not run:
            others[run.name] = f"the same network as {kept.name}"
    return list(first.values()), others


def _of_one_size(runs: list[Run]) -> _Chosen:
    """Take, of each width, the runs whose number of parameters most have."""
    sizes: dict[float, list[int]] = {}
    for run in runs:
        sizes.setdefault(run.place[3], []).append(run.n_parameters)
    usual = {width: max(there, key=there.count) for width, there in sizes.items()}
    others = {
        run.name: f"differs from most of its width: P {run.n_parameters} and not {usual[run.place[3]]}"
        for run in runs
        if run.n_parameters != usual[run.place[3]]
    }
    return [run for run in runs if run.name not in others], others


def _in_a_grid(runs: list[Run]) -> _Chosen:
    """Take the runs that fill a grid of α, D, seed and width."""
    reasons = find_holes([run.place for run in runs], ("alpha", "n_train", "seed", "width"))
    others = {run.name: reasons[run.place] for run in runs if run.place in reasons}
    return [run for run in runs if run.place not in reasons], others


def _join(runs: list[Run], left_out: dict[str, str]) -> xr.Dataset:
    alpha, n_train, seed, width = (sorted({run.place[axis] for run in runs}) for axis in range(4))
    axes = (alpha, n_train, seed, width)
    settings, step = runs[0].settings, max((run.step for run in runs), key=len)
    n_subtasks = settings["n_tasks"]
    shape = (*map(len, axes), len(step), n_subtasks)
    loss = np.full(shape, np.nan, dtype=np.float32)
    has_accuracy = all(run.accuracy is not None for run in runs)
    accuracy = np.full(shape, np.nan, dtype=np.float32) if has_accuracy else None
    size = dict.fromkeys(width, 0)
    for run in runs:
        place = tuple(values.index(own) for values, own in zip(axes, run.place, strict=True))
        loss[place][: len(run.step)] = run.loss
        if accuracy is not None and run.accuracy is not None:
            accuracy[place][: len(run.step)] = run.accuracy
        size[run.place[3]] = run.n_parameters
    curves = make_curves(
        loss,
        accuracy=accuracy,
        frequency=np.stack([law_of(n_subtasks, one, settings["offset"]) for one in alpha]),
        step=step,
        width=np.array(width, dtype=np.int64),
        n_parameters=np.array(list(size.values()), dtype=np.int64),
        seed=np.array(seed, dtype=np.int64),
        alpha=alpha,
        n_train=n_train,
        chance=CHANCE_BITS,
        study=json.dumps({"name": "sacred", **_study(settings)}),
    )
    if not left_out:
        return curves
    named = [f"{Path(name).name} ({reason})" for name, reason in list(left_out.items())[:MOST_NAMED]]
    more = [f"and {len(left_out) - MOST_NAMED} more"] if len(left_out) > MOST_NAMED else []
    return curves.assign_attrs(left_out=one_line("runs " + ", ".join(named + more), 10_000))


def _study(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Say the settings by the names of a study of this package."""
    sections: dict[str, dict[str, Any]] = {"task": {}, "population": {}, "training": {}}
    for name, own in SETTINGS.items():
        value = settings.get(name)
        if name == "activation":
            sections["population"] |= {} if value is None else {own: value}
        elif isinstance(value, int | float):
            sections["task" if name in ("n_tasks", "n", "k", "offset") else "training"][own] = value
    layers = sections["training"].pop("depth", None)
    if layers is not None:  # of weights; between them they are hidden
        sections["population"]["n_hidden_layers"] = layers - 1
    return sections
