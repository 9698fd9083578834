"""Make a run directory, or add to the one that is there, whoever else does so at the same time."""

import json
import shutil
from pathlib import Path
from typing import Any

from quanta.store.errors import StoreError
from quanta.store.lock import STALE_SECONDS, Owner, hold, hold_files
from quanta.study.axes import STUDY_AXES
from quanta.study.sections import as_tuple
from quanta.study.spec import StudySpec
from quanta.tasks.atomic import atomic_write, is_temporary
from quanta.tasks.config import Config, ConfigError, read_text

_DERIVED = ("units", "analysis", "figures", "discovery")
_LOCK = ".study.lock"
"""Held by whoever makes a run directory, or adds to its study."""

_PATIENCE_SECONDS = STALE_SECONDS + 30
"""How long to wait for that: longer than the lock of a host that has died counts."""


def read_study(path: Path) -> StudySpec:
    """Read the study of a run directory.

    Parameters
    ----------
    path : Path

    Returns
    -------
    StudySpec

    Raises
    ------
    StoreError
        If it is not a run directory.
    """
    file = path / "study.json"
    if not file.is_file():
        raise StoreError(f"{path}: not a run directory (it has no study.json)")
    try:
        return StudySpec.parse(read_text(file))
    except ConfigError as error:
        raise StoreError(f"{file}: not a study of this version ({error})") from error


def make(path: Path, study: StudySpec, *, overwrite: bool) -> None:
    """Let a folder be a run directory of a study; see `RunDirectory.create`."""
    if path.exists() and not _can_be_run_directory(path):
        raise StoreError(f"{path}: neither empty nor a run directory; choose another --out")
    file = path / "study.json"
    # One after another: of two that make it at once, each adds its values to those of the other.
    with hold_files([path / _LOCK], _say_being_made, _PATIENCE_SECONDS):
        if file.exists():
            there = read_study(path)  # a folder is ours if its study can be read
            if overwrite:
                _delete_derived(path)
            else:
                _check_same(there, study, path)
                study = _join_axes(there, study, path)
        write_json(file, study.model_dump_json(indent=2))
    # Where locks do not reach all, somebody else may have made it at the same time.
    _check_same(read_study(path), study, path)


def write_json(path: Path, text: str) -> None:
    """Write a text with a line end, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _can_be_run_directory(path: Path) -> bool:
    """Whether a path is a run directory, an empty folder, or one that somebody makes or died while making."""
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    return "study.json" in names or all(name == _LOCK or is_temporary(name) for name in names)


def _say_being_made(lock: Path, there: Owner) -> str:
    return f"{lock.parent}: the run directory is being made by {there}; try again"


def _delete_derived(path: Path) -> None:
    """Delete what a study made in its run directory, if nobody is at work on it; of a link, the link."""
    for name in _DERIVED:
        if (path / name).is_symlink():
            (path / name).unlink()
    units = path / "units"
    with hold(folder for folder in units.glob("*") if folder.is_dir() and not folder.is_symlink()):
        for name in _DERIVED:
            # The locks are there until the block ends; file servers keep folders that hold an open file.
            shutil.rmtree(path / name, ignore_errors=True)
    for left in units.glob("*/manifest.json"):
        raise StoreError(f"{left}: cannot be deleted")


def _check_same(there: StudySpec, study: StudySpec, path: Path) -> None:
    """Refuse another study; with other values on its axes it is the same, with other units."""
    changed = changed_keys(there, study)
    if changed:
        raise StoreError(
            f"{path}: holds another study (different {', '.join(changed)}); "
            "choose another --out, or --overwrite to delete it"
        )


def _join_axes(there: StudySpec, study: StudySpec, path: Path) -> StudySpec:
    """Add the values that a study has on its axes to those that are there."""
    values = json.loads(study.model_dump_json())
    for axis in STUDY_AXES:
        holder = values if axis.section is None else values[axis.section]
        holder[axis.name] = list(dict.fromkeys([*axis.of(there), *axis.of(study)]))
    try:
        return StudySpec.parse(values)
    except ConfigError as error:
        raise StoreError(f"{path}: cannot hold this study as well ({error}); choose another --out") from error


def changed_keys(before: Config, now: Config) -> list[str]:
    """List the keys whose values differ between two studies, or a unit and a study; axes are left out.

    Of what may be an axis in a section that is where one of the two has several values. An edited batch size
    makes another study; one in a list is one more.
    """
    free = {"description"}
    flat = [_flatten(json.loads(x.model_dump_json())) for x in (before, now)]
    for axis in STUDY_AXES:
        values = [as_tuple(of.get(axis.path)) for of in flat]
        if axis.section is None or max(map(len, values)) > 1:
            free.add(axis.path)
        for of, held in zip(flat, values, strict=True):
            of[axis.path] = held
    shared = flat[0].keys() & flat[1].keys()
    return sorted(key for key in shared - free if flat[0][key] != flat[1][key])


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
