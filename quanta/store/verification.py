"""Whether everything that a run directory holds is as it was written."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from quanta.curves.dataset import load_curves
from quanta.curves.schema import CurvesError
from quanta.store.checkpoint import Checkpoint, CheckpointError
from quanta.store.creation import changed_keys
from quanta.store.manifest import CHECKPOINT, UNIT_FILES, Manifest, checksum
from quanta.store.run_directory import RunDirectory, inside
from quanta.store.weights import WeightsError, load_weights
from quanta.study.spec import StudySpec, UnitSpec
from quanta.tasks.config import ConfigError, one_line, read_text


@dataclass(frozen=True)
class Damage:
    """One damaged thing.

    Attributes
    ----------
    file : str
        Where, below the run directory.
    reason : str
        What is wrong with it.
    """

    file: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was found in a run directory.

    Attributes
    ----------
    path : Path
        The run directory.
    n_units : int
        Units of the study.
    n_done : int
        Units that are done, whole or not; those that are not of the study any more are among them.
    damaged : tuple of Damage
        By the name of the unit.
    """

    path: Path
    n_units: int
    n_done: int
    damaged: tuple[Damage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Turn into what `json.dumps` takes."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}


def verify(run: RunDirectory, on_progress: Callable[[int], None] | None = None) -> Verification:
    """Read everything that a run directory holds, and hold it against checksums, schema and study.

    A unit that is not done is no damage, but its checkpoint can be. Nothing is changed.

    Parameters
    ----------
    run : RunDirectory
    on_progress : callable, optional
        Called with a number of folders of units that have been read.

    Returns
    -------
    Verification

    Raises
    ------
    StoreError
        If the folders of units are links.
    PermissionError
        If this user may not read something, which is no damage.
    """
    damaged: list[Damage] = []
    units = {unit.id: unit for unit in run.study.units()}
    n_done = 0
    for folder in unit_folders(run):
        manifest, reason = _read_manifest(folder, run.study)
        reasons = {"manifest.json": reason}
        if manifest is not None and manifest.status == "done":
            n_done += 1
            reasons |= {name: _why_damaged(folder / name, manifest) for name in UNIT_FILES}
        elif folder.name in units:
            reasons[CHECKPOINT] = _why_useless(folder / CHECKPOINT, units[folder.name])
        damaged += [
            Damage((folder / name).relative_to(run.path).as_posix(), reason)
            for name, reason in reasons.items()
            if reason is not None
        ]
        if on_progress is not None:
            on_progress(1)
    return Verification(run.path, len(units), n_done, tuple(damaged))


def unit_folders(run: RunDirectory) -> list[Path]:
    """List the folders of units that are there, whether of the study or not.

    Parameters
    ----------
    run : RunDirectory

    Returns
    -------
    list of Path

    Raises
    ------
    StoreError
        If one of the study is a link, or all of them are behind one.
    """
    for unit in run.study.units():
        run.folder(unit)  # as whoever trains or reads it finds it
    units = inside(run.path, "units")
    return sorted(folder for folder in units.glob("*") if folder.is_dir() and not folder.is_symlink())


def _read_manifest(folder: Path, study: StudySpec) -> tuple[Manifest | None, str | None]:
    """Read a manifest, if there is one, and what is wrong with it."""
    try:
        manifest = Manifest.parse(read_text(folder / "manifest.json"))
    except FileNotFoundError:  # begun, and not done
        return None, None
    except PermissionError:
        raise
    except (OSError, ConfigError) as error:
        return None, f"cannot be read ({one_line(error)})"
    if manifest.unit.id != folder.name:
        return None, f"is that of another unit, {manifest.unit.id}"
    # Its place on the axes may have left the study; all else is what the units of a study share.
    changed = changed_keys(manifest.unit, study)
    if changed:
        return manifest, f"is not of this study (different {', '.join(changed)})"
    if manifest.status == "done" and manifest.checksums.keys() != set(UNIT_FILES):
        return None, f"must hold checksums of {' and '.join(UNIT_FILES)}, and of nothing else"
    return manifest, None


def _why_damaged(file: Path, manifest: Manifest) -> str | None:
    """Read a file of a unit that is done, and say what is wrong with it, if anything is."""
    found = checksum(file)
    if found is None:
        return "cannot be read" if file.exists() else "is missing"
    if found != manifest.checksums.get(file.name):
        return "has changed since it was written: another SHA-256"
    try:
        if file.name == "curves.nc":
            _check_axes(file, manifest.unit)
        else:
            load_weights(file, manifest.unit)
    except (CurvesError, WeightsError, OSError) as error:
        return _without_path(error, file)
    return None


def _why_useless(checkpoint: Path, unit: UnitSpec) -> str | None:
    """Read the checkpoint of a unit that is not done, if there is one, and say what is wrong with it."""
    if not checkpoint.exists():
        return None
    try:
        Checkpoint(checkpoint).read(unit)
    except CheckpointError as error:
        return _without_path(error, checkpoint)
    return None


def _without_path(error: Exception, file: Path) -> str:
    return one_line(str(error).removeprefix(f"{file}: "))


def _check_axes(file: Path, unit: UnitSpec) -> None:
    """Raise CurvesError unless a file holds valid curves of a unit."""
    expected: dict[str, ArrayLike] = {
        **{axis: [place] for axis, place in unit.coordinates.items()},
        "width": unit.population.widths,
        "step": unit.evaluation_steps,
        "subtask": np.arange(1, unit.task.n_subtasks + 1),
    }
    curves = load_curves(file)
    for axis, values in expected.items():
        if not np.array_equal(curves[axis].values, values):
            raise CurvesError(f"{axis}: not that of the unit")
