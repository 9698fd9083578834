"""Run directories: what a study leaves on disk, written so that a crash never leaves half a unit.

A run directory holds ``study.json`` and, for each unit, ``units/<id>/`` with ``curves.nc``,
``weights.safetensors`` and last of all ``manifest.json``. A unit counts only through its manifest.
"""

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from quanta.store.creation import make, read_study, write_json
from quanta.store.errors import StoreError
from quanta.store.lock import hold
from quanta.store.manifest import SCHEMA, Manifest
from quanta.store.slices import Slice, choose, group, keep_readable, units_to_read
from quanta.study.axes import Value
from quanta.study.size import MAX_CURVES_BYTES
from quanta.study.spec import StudySpec, UnitSpec
from quanta.tasks.config import ConfigError, read_text
from quanta.tasks.memory import format_bytes, memory_size
from quanta.tasks.spec import CHANCE_BITS

# What loads torch or xarray is imported where it is needed: to see how far a study is must not take seconds.
if TYPE_CHECKING:
    import torch
    import xarray as xr

    from quanta.training.population import Population
    from quanta.training.results import TrainedUnit


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
        self.study = read_study(self.path)

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], study: StudySpec, *, overwrite: bool = False
    ) -> "RunDirectory":
        """Make a run directory for a study, or open the one that is there.

        Parameters
        ----------
        path : path-like
            May be new, empty, or a run directory of the same study with other values on its axes, which then
            has the values of both. What may be an axis in a section, such as ``task.n_subtasks``, is one if
            either study has several values of it.
        study : StudySpec
        overwrite : bool, default False
            Delete the units of a run directory that is there and all that was made of them, if nobody trains
            a unit.

        Returns
        -------
        RunDirectory

        Raises
        ------
        StoreError
            If the folder holds something else; if it holds another study and `overwrite` is false, or units
            that cannot be deleted and it is true.
        LockedError
            If somebody trains a unit of what is to be deleted, or is making it and does not come to an end.
        """
        make(Path(path), study, overwrite=overwrite)
        return cls(path)

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

    def check_training_sets(self, units: Iterable[UnitSpec]) -> None:
        """Let no unit on a finite training set be trained beside those on sets that were drawn otherwise.

        Parameters
        ----------
        units : iterable of UnitSpec
            Those that are to be trained.

        Raises
        ------
        StoreError
            If the study has some of an older schema; names one.
        """
        if all(unit.n_train == "online" for unit in units):
            return
        self._check_one_schema(self.study.units(), SCHEMA)

    def _check_one_schema(self, units: Iterable[UnitSpec], expected: int | None = None) -> None:
        """Raise StoreError if training sets were drawn otherwise than expected, or not all in one way."""
        for unit in units:
            manifest = None if unit.n_train == "online" else self.manifest(unit)
            if manifest is None:
                continue
            expected = expected or manifest.format
            if manifest.format != expected:
                old = min(expected, manifest.format)
                raise StoreError(
                    f"{self.path}: training sets of schema {old}, where a smaller one is no part of a larger "
                    f"one, cannot stand beside those of schema {SCHEMA} (see {unit.id}); train in another "
                    "folder, or all anew with --overwrite"
                )

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
        manifest = Manifest.describe(
            unit,
            folder,
            device=device,
            started=started,
            seconds=trained.seconds,
            compiled_for=trained.population.compiled_for,
        )
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
        write_json(self.folder(manifest.unit) / "manifest.json", text)

    def slices(self) -> list[Slice]:
        """List the slices of the study and what is missing in each; reads every file of every unit."""
        units = self.study.units()
        return group(units, {unit for unit in units if self.is_done(unit)})

    def split(self) -> "Iterator[tuple[dict[str, Value], xr.Dataset]]":
        """Read the curves slice by slice.

        Slices without a complete seed are left out; `slices` tells of them.

        Returns
        -------
        iterator of (dict, Dataset)
            The condition, such as ``{"alpha": 0.4, "n_subtasks": 64}``, and curves as `load` returns them.

        Raises
        ------
        StoreError
            If no slice has a complete seed, or curves are more than fit in memory.
        """
        with self._named():
            readable = keep_readable(self.slices())
        return ((each.condition, self.read(each)) for each in readable)

    def read(self, one: Slice) -> "xr.Dataset":
        """Read the curves of a slice that has a complete seed, as `split` does."""
        return self._read(one.complete, [one])

    def load(self, **condition: Value) -> "xr.Dataset":
        """Read the curves of the units that are done.

        Parameters
        ----------
        **condition
            Which slice, such as ``alpha=0.4, n_subtasks=64``, by the names in `quanta.study.axes.CONDITIONS`.
            If there are several, they come together along the axis alpha, with the seeds that are complete in
            all of them.

        Returns
        -------
        Dataset
            Validated curves of the seeds that are done at every n_train; slices without such a seed are left
            out. The attribute `units_missing` counts the units of the slices that are not done, and
            `missing_units` has their ids. Units that were trained before curves held `chance` get it here.

        Raises
        ------
        StoreError
            If there is no such slice or no complete seed; if there are several that do not fit one dataset,
            whose conditions it names; or if the curves are more than fit in memory.
        """
        with self._named():
            slices = choose(self.slices(), condition)
            units = units_to_read(slices)
        return self._read(units, slices)

    def _read(self, units: Sequence[UnitSpec], slices: Sequence[Slice]) -> "xr.Dataset":
        """Read units that fill a grid."""
        from quanta.curves.combine import combine

        self._check_one_schema(units)
        units = sorted(units, key=lambda unit: unit.n_train == "online")  # these are given what those have
        places = [unit.coordinates for unit in units]
        curves = combine(self._parts(units), {axis: [place[axis] for place in places] for axis in places[0]})
        missing = [unit.id for each in slices for unit in each.missing]
        names = {"missing_units": " ".join(missing)} if missing else {}
        return curves.assign_attrs(study=self.study.model_dump_json(), units_missing=len(missing), **names)

    def _parts(self, units: Sequence[UnitSpec]) -> "Iterator[xr.Dataset]":
        """Read units one by one, once it is known that there is room for all."""
        from quanta.curves.dataset import load_curves, with_chance, with_examples

        most = min(MAX_CURVES_BYTES, memory_size() // 2)
        first: set[Hashable] | None = None
        for unit in units:
            part = with_chance(load_curves(self.folder(unit) / "curves.nc"), CHANCE_BITS)
            if first is not None and unit.n_train == "online":
                part = with_examples(part, first)
            first = first or set(part.variables)
            if part.nbytes * len(units) > most:
                raise StoreError(
                    f"{self.path}: the curves of {len(units)} units must take at most {format_bytes(most)}, "
                    f"not {format_bytes(part.nbytes * len(units))}"
                )
            yield part
            del part  # before the next one is read

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say in errors which run directory they are about."""
        try:
            yield
        except StoreError as error:
            raise StoreError(f"{self.path}: {error}") from error


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
            raise StoreError(
                f"{path}: expected a folder, found a link; a run directory holds its own files, "
                "and may itself be a link"
            )
    return path
