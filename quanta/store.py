"""Run directories: what a study leaves on disk, written so that a crash never leaves half a unit.

A run directory holds ``study.json`` and, for each unit, ``units/<id>/`` with ``curves.nc``,
``weights.safetensors`` and last of all ``manifest.json``. A unit counts only through its manifest.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import xarray as xr
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from quanta._version import __version__
from quanta.curves import combine, load_curves, save_curves
from quanta.population import Population
from quanta.spec import StudySpec, UnitSpec
from quanta.training import TrainedUnit, make_population
from tasks.atomic import atomic_write
from tasks.config import Config, ConfigError
from tasks.seeds import Stream, derive_seed

_AXES = ("alpha", "n_train", "seed")
_DERIVED = ("units", "analysis", "figures")
_UNIT_FILES = ("curves.nc", "weights.safetensors")


class StoreError(ValueError):
    """A folder that is not the run directory it was taken for, or one that is damaged."""


class Manifest(Config):
    """What is known of one unit that was trained, or tried."""

    format: Literal[1] = Field(1, alias="schema")
    """Version of the manifest."""
    status: Literal["done", "failed"]
    """Whether the unit's files are there and whole, or it failed on its own."""
    reason: str | None = None
    """Why it failed."""
    unit: UnitSpec
    """The unit."""
    seeds: dict[str, int]
    """The seed of each stream of randomness."""
    device: str
    """Where it was trained."""
    versions: dict[str, str]
    """Versions of what computed it."""
    started: str
    """ISO 8601 time."""
    seconds: float
    """Duration of the training."""
    checksums: dict[str, str]
    """SHA-256 of each file of the unit."""


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
            self.study = StudySpec.parse(file.read_text())
        except (ConfigError, UnicodeDecodeError) as error:
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
            Delete the units, analysis and figures of a run directory that is there.

        Returns
        -------
        RunDirectory

        Raises
        ------
        StoreError
            If the folder holds something else, or another study and `overwrite` is false.
        """
        path = Path(path)
        file = path / "study.json"
        if file.exists():
            if overwrite:
                for name in _DERIVED:
                    shutil.rmtree(path / name, ignore_errors=True)
            else:
                _check_same(cls(path).study, study, path)
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StoreError(f"{path}: neither empty nor a run directory; choose another --out")
        _write_json(file, study.model_dump_json(indent=2))
        return cls(path)

    def folder(self, unit: UnitSpec) -> Path:
        """Where the files of a unit are."""
        return self.path / "units" / unit.id

    def manifest(self, unit: UnitSpec) -> Manifest | None:
        """Read the manifest of a unit; None if there is none, or none that is readable."""
        try:
            return Manifest.parse((self.folder(unit) / "manifest.json").read_text())
        except (OSError, ConfigError, UnicodeDecodeError):
            return None

    def is_done(self, unit: UnitSpec) -> bool:
        """Whether a unit was trained to its end and its files are as they were written."""
        manifest = self.manifest(unit)
        return manifest is not None and manifest.unit == unit and _is_whole(self.folder(unit), manifest)

    def pending(self) -> list[UnitSpec]:
        """List the units of the study that are not done."""
        return [unit for unit in self.study.units() if not self.is_done(unit)]

    def write_done(
        self, unit: UnitSpec, trained: TrainedUnit, *, device: torch.device, started: datetime
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
        folder = self.folder(unit)
        save_curves(trained.curves, folder / "curves.nc")
        weights = {name: x.detach().cpu() for name, x in trained.population.state_dict().items()}
        with atomic_write(folder / "weights.safetensors") as temporary:
            save_file(weights, temporary, {"unit": unit.model_dump_json()})
        self._write_manifest(unit, "done", None, device, started, _UNIT_FILES)

    def write_failed(self, unit: UnitSpec, reason: str, *, device: torch.device, started: datetime) -> None:
        """Record that a unit failed on its own, and why."""
        self._write_manifest(unit, "failed", reason, device, started, ())

    def _write_manifest(
        self,
        unit: UnitSpec,
        status: Literal["done", "failed"],
        reason: str | None,
        device: torch.device,
        started: datetime,
        files: Iterable[str],
    ) -> None:
        folder = self.folder(unit)
        manifest = Manifest(
            schema=1,
            status=status,
            reason=reason,
            unit=unit,
            seeds={stream: derive_seed(unit.seed, stream) for stream in get_args(Stream)},
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
            versions={
                "quanta": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            started=started.isoformat(timespec="seconds"),
            seconds=(datetime.now(UTC) - started).total_seconds(),
            checksums={name: _checksum(folder / name) or "" for name in files},
        )
        _write_json(folder / "manifest.json", manifest.model_dump_json(indent=2, by_alias=True))

    def load(self) -> xr.Dataset:
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
            If no seed is done at every (alpha, n_train).
        """
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
        curves = combine([load_curves(self.folder(unit) / "curves.nc") for unit in usable])
        return curves.assign_attrs(study=self.study.model_dump_json(), units_missing=len(missing))


def load(path: str | os.PathLike[str]) -> xr.Dataset:
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
    return RunDirectory(path).load() if Path(path).is_dir() else load_curves(path)


def load_population(folder: str | os.PathLike[str]) -> Population:
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
    folder = Path(folder)
    try:
        manifest = Manifest.parse((folder / "manifest.json").read_text())
        if not _is_whole(folder, manifest):
            raise StoreError(f"{folder}: not a unit that is done (it failed, or its files have changed)")
        unit = manifest.unit
        population = make_population(unit)
        population.load_state_dict(load_file(folder / "weights.safetensors"))
    except (OSError, ConfigError, UnicodeDecodeError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torch says what does not fit on several lines
        raise StoreError(f"{folder}: not a unit that is done ({reason})") from error
    return population


def _check_same(there: StudySpec, study: StudySpec, path: Path) -> None:
    """Refuse another study; a longer or shorter axis is the same study with other units."""
    before, now = (json.loads(s.model_dump_json(exclude={*_AXES, "description"})) for s in (there, study))
    changed = sorted(key for key, value in _flatten(now).items() if _flatten(before)[key] != value)
    if changed:
        raise StoreError(
            f"{path}: holds another study (different {', '.join(changed)}); "
            "choose another --out, or --overwrite to delete it"
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _write_json(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n")


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether a unit was trained to its end and its files are those of its manifest."""
    digests = {name: _checksum(folder / name) for name in _UNIT_FILES}
    return manifest.status == "done" and manifest.checksums == digests


def _checksum(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
