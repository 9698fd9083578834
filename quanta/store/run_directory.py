"""Run directories: what a study leaves on disk, written so that a crash never leaves half a unit.

A run directory holds ``study.json`` and, for each unit, ``units/<id>/`` with ``curves.nc``,
``weights.safetensors`` and last of all ``manifest.json``. A unit counts only through its manifest.
"""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quanta.store.lock import hold
from quanta.store.manifest import Manifest
from quanta.study.size import MAX_CURVES_BYTES
from quanta.study.spec import StudySpec, UnitSpec
from quanta.tasks.atomic import atomic_write, is_temporary
from quanta.tasks.config import Config, ConfigError, read_text
from quanta.tasks.errors import QuantaError
from quanta.tasks.memory import format_bytes, memory_size

# What loads torch or xarray is imported where it is needed: to see how far a study is must not take seconds.
if TYPE_CHECKING:
    import torch
    import xarray as xr

    from quanta.training.population import Population
    from quanta.training.trainer import TrainedUnit

_AXES = ("alpha", "n_train", "seed")
_DERIVED = ("units", "analysis", "figures")


class StoreError(QuantaError):
    """A folder that is not the run directory it was taken for, or one that is damaged."""


class RunDirectory:
    """One study on disk.

    Parameters
    ----------
    path : path-like
        A folder that holds ``study.json``; `RunDirectory.create` makes one.

    Raises
    ------
    StoreError
        If it is not a run directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        file = self.path / "study.json"
        if not file.is_file():
            raise StoreError(f"{self.path}: not a run directory (it has no study.json)")
        try:
            self.study = StudySpec.parse(read_text(file))
        except ConfigError as error:
            raise StoreError(f"{file}: not a study of this version ({error})") from error

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], study: StudySpec, *, overwrite: bool = False
    ) -> "RunDirectory":
        """Make a run directory for a study, or open the one that is there.

        Parameters
        ----------
        path : path-like
            May be new, empty, or a run directory of the same study; the axes may have changed.
        study : StudySpec
        overwrite : bool, default False
            Delete the units, analysis and figures of a run directory that is there, if nobody trains a unit.

        Returns
        -------
        RunDirectory

        Raises
        ------
        StoreError
            If the folder holds something else; if it holds another study and `overwrite` is false, or units
            that cannot be deleted and it is true.
        LockedError
            If somebody trains a unit of what is to be deleted.
        """
        path = Path(path)
        file = path / "study.json"
        if path.exists() and not _can_be_run_directory(path):
            raise StoreError(f"{path}: neither empty nor a run directory; choose another --out")
        if file.exists():
            there = cls(path).study  # a folder is ours if its study can be read
            if overwrite:
                _delete_derived(path)
            else:
                _check_same(there, study, path)
        _write_json(file, study.model_dump_json(indent=2))
        run = cls(path)
        _check_same(run.study, study, path)  # somebody else may have made it at the same time
        return run

    def folder(self, unit: UnitSpec) -> Path:
        """Where the files of a unit are.

        Raises
        ------
        StoreError
            If it is a link, since what is written must stay in the run directory.
        """
        return inside(self.path, "units", unit.id)

    def manifest(self, unit: UnitSpec) -> Manifest | None:
        """Read the manifest of a unit; None if there is none, or one that is damaged.

        Raises
        ------
        PermissionError
            If this user may not read it, which is no damage.
        """
        try:
            return Manifest.parse(read_text(self.folder(unit) / "manifest.json"))
        except PermissionError:
            raise
        except (OSError, ConfigError):
            return None

    def is_done(self, unit: UnitSpec) -> bool:
        """Whether a unit was trained to its end and its files are as they were written.

        Raises
        ------
        PermissionError
            If this user may not read one of them.
        """
        manifest = self.manifest(unit)
        return manifest is not None and manifest.unit == unit and manifest.is_true_of(self.folder(unit))

    def pending(self, units: Iterable[UnitSpec] | None = None) -> list[UnitSpec]:
        """List those units of the study, or of the given ones, that are not done."""
        return [unit for unit in (self.study.units() if units is None else units) if not self.is_done(unit)]

    def failures(self, units: Iterable[UnitSpec]) -> dict[str, str]:
        """Say why those of these units failed that did, by unit id."""
        failed = {}
        for unit in units:
            manifest = self.manifest(unit)
            if manifest is not None and manifest.unit == unit and manifest.failure is not None:
                failed[unit.id] = manifest.failure
        return failed

    def lock(self, units: Iterable[UnitSpec]) -> AbstractContextManager[None]:
        """Let nobody else train these units while a block runs; `LockedError` if somebody does."""
        return hold(self.folder(unit) for unit in units)

    def write_done(
        self, unit: UnitSpec, trained: "TrainedUnit", *, device: "torch.device", started: datetime
    ) -> None:
        """Store a trained unit: its curves, its weights, and last its manifest.

        Parameters
        ----------
        unit : UnitSpec
        trained : TrainedUnit
        device : torch.device
        started : datetime
            With a time zone.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        from quanta.curves.dataset import save_curves
        from quanta.store.weights import save_weights

        folder = self.folder(unit)
        save_curves(trained.curves, folder / "curves.nc")
        save_weights(trained.population, folder / "weights.safetensors", unit)
        manifest = Manifest.describe(unit, folder, device=device, started=started, seconds=trained.seconds)
        self._write_manifest(manifest)

    def write_failed(
        self, unit: UnitSpec, reason: str, *, device: "torch.device | None", started: datetime
    ) -> None:
        """Record that a unit failed on its own, why, and where, if that is known."""
        seconds = (datetime.now(UTC) - started).total_seconds()
        self._write_manifest(
            Manifest.describe(
                unit, self.folder(unit), device=device, started=started, seconds=seconds, reason=reason
            )
        )

    def _write_manifest(self, manifest: Manifest) -> None:
        text = manifest.model_dump_json(indent=2, by_alias=True)
        _write_json(self.folder(manifest.unit) / "manifest.json", text)

    def load(self) -> "xr.Dataset":
        """Read the curves of the units that are done.

        Seeds that are not done at every (alpha, n_train) are left out; the attribute `units_missing` counts
        the units that are not there.

        Returns
        -------
        Dataset
            Validated curves.

        Raises
        ------
        StoreError
            If no seed is done at every (alpha, n_train), or the curves are more than fit in memory.
        """
        from quanta.curves.dataset import combine, load_curves

        units = self.study.units()
        done = {unit for unit in units if self.is_done(unit)}
        missing = [unit for unit in units if unit not in done]
        lacking = {unit.seed for unit in missing}
        usable = [unit for unit in units if unit.seed not in lacking]
        if not usable:
            raise StoreError(
                f"{self.path}: {len(done)} of {len(units)} units are done and no seed is complete; "
                f"train the rest first, such as {missing[0].id}"
            )
        most = min(MAX_CURVES_BYTES, memory_size() // 3)  # the parts and the whole are held at once
        parts: list[xr.Dataset] = []
        size = 0
        for unit in usable:
            parts.append(load_curves(self.folder(unit) / "curves.nc"))
            size += parts[-1].nbytes
            if size > most:
                raise StoreError(
                    f"{self.path}: the curves of {len(usable)} units must take at most {format_bytes(most)}, "
                    f"not {format_bytes(size)} for {len(parts)} of them"
                )
        curves = combine(parts)
        return curves.assign_attrs(study=self.study.model_dump_json(), units_missing=len(missing))


def load(path: str | os.PathLike[str]) -> "xr.Dataset":
    """Read Curves from a run directory or a netCDF file.

    Parameters
    ----------
    path : path-like
        A run directory, or a ``.nc`` file from anywhere.

    Returns
    -------
    Dataset
        Validated curves, in memory.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    StoreError
        If it is a folder but not a run directory, or one with no complete seed.
    CurvesError
        If the data do not fit the schema.
    """
    from quanta.curves.dataset import load_curves

    return RunDirectory(path).load() if Path(path).is_dir() else load_curves(path)


def load_population(folder: str | os.PathLike[str]) -> "Population":
    """Read the trained population of one unit, on the CPU.

    Parameters
    ----------
    folder : path-like
        ``units/<id>`` of a run directory.

    Returns
    -------
    Population

    Raises
    ------
    StoreError
        If the folder does not hold a unit that is done, or its files do not fit its manifest.
    """
    from quanta.store.weights import WeightsError, load_weights

    folder = Path(folder)
    try:
        manifest = Manifest.parse(read_text(folder / "manifest.json"))
        if not manifest.is_true_of(folder):
            raise StoreError(f"{folder}: not a unit that is done (it failed, or its files have changed)")
        return load_weights(folder / "weights.safetensors", manifest.unit)
    except (OSError, ConfigError, WeightsError) as error:
        raise StoreError(f"{folder}: not a unit that is done ({error})") from error


def inside(path: Path, *names: str) -> Path:
    """Where a folder inside a run directory is.

    Parameters
    ----------
    path : Path
        The run directory, which may itself be a link.
    names : str
        The folder, step by step.

    Returns
    -------
    Path

    Raises
    ------
    StoreError
        If a step is a link, since what is written must stay in the run directory.
    """
    for name in names:
        path = path / name
        if path.is_symlink():
            raise StoreError(f"{path}: expected a folder, found a link; a run directory holds its own files")
    return path


def _can_be_run_directory(path: Path) -> bool:
    """Whether a path is a run directory, an empty folder, or one that somebody makes or died while making."""
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    return "study.json" in names or all(map(is_temporary, names))


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
    """Refuse another study; a longer or shorter axis is the same study with other units."""
    changed = changed_keys(there, study)
    if changed:
        raise StoreError(
            f"{path}: holds another study (different {', '.join(changed)}); "
            "choose another --out, or --overwrite to delete it"
        )


def changed_keys(before: Config, now: Config) -> list[str]:
    """List the keys whose values differ between two studies, or two units; their axes are left out."""
    flat = [_flatten(json.loads(x.model_dump_json(exclude={*_AXES, "description"}))) for x in (before, now)]
    return sorted(key for key, value in flat[1].items() if flat[0][key] != value)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _write_json(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
