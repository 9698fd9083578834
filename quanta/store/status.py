"""How far a study is: which units are done, which are being trained, and how long the rest takes.

It reads manifests, locks and the heads of checkpoints, and no curves: a look at a large study is quick.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from quanta.store.lock import Owner, owner
from quanta.store.manifest import CHECKPOINT, UNIT_FILES, Manifest
from quanta.store.run_directory import RunDirectory
from quanta.study.cost import count_flops
from quanta.tasks.config import one_line
from quanta.tasks.tensors import TensorFileError, read_metadata
from quanta.tasks.terminal import format_duration

if TYPE_CHECKING:
    from rich.console import Console

State = Literal["done", "running", "failed", "interrupted", "remaining"]
"""A unit is done; or in the hands of a process, which trains it now or later; or it failed on its own; or was
left with a checkpoint; or is not begun."""


@dataclass(frozen=True)
class UnitStatus:
    """How far one unit is.

    Attributes
    ----------
    id : str
    state : {"done", "running", "failed", "interrupted", "remaining"}
    n_steps : int
        Steps that are on disk and need not be repeated.
    seconds : float or None
        How long it took so far, interruptions left out, if that is known.
    owner : Owner or None
        Who trains it, if it is running.
    reason : str or None
        Why it failed.
    compiled_for : str or None
        If it is done, the instructions that compiled code used, such as "AVX2"; "none" if torch computed the
        gradients, "unknown" if its manifest does not say.
    work : float
        How much arithmetic it takes in all, as a share of what the largest unit of the study takes.
    share_done : float
        How much of its arithmetic need not be repeated; evaluations are closer together in the beginning.
    """

    id: str
    state: State
    n_steps: int = 0
    seconds: float | None = None
    owner: Owner | None = None
    reason: str | None = None
    compiled_for: str | None = None
    work: float = 1.0
    share_done: float = 0.0


@dataclass(frozen=True)
class Status:
    """How far a study is.

    Attributes
    ----------
    path : Path
        Its run directory.
    study : str
        Its name.
    steps : int
        Optimisation steps of each unit.
    units : tuple of UnitStatus
        In the order of the study.
    """

    path: Path
    study: str
    steps: int
    units: tuple[UnitStatus, ...]

    def of(self, state: State) -> list[UnitStatus]:
        """List the units in a state."""
        return [unit for unit in self.units if unit.state == state]

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left; None while nothing tells.

        It is the mean time of a unit times the units left, those begun in part, shared out evenly among the
        processes at work; for one process if there is none. Units of different sizes take times as their
        `work`. While no unit is done, those that are begun tell. Units that failed are left out.
        """
        told = [unit for unit in self.units if unit.seconds is not None and unit.n_steps > 0]
        told = [unit for unit in told if unit.state == "done"] or told
        if not told:
            return None
        seconds = sum((unit.seconds or 0.0) / unit.share_done for unit in told)
        seconds /= sum(unit.work for unit in told)
        left = [unit for unit in self.units if unit.state in ("running", "interrupted", "remaining")]
        n_units_left = sum((1 - unit.share_done) * unit.work for unit in left)
        seconds_left = seconds * n_units_left / max(1, len(self._by_owner()))
        return seconds_left if math.isfinite(seconds_left) else None

    def _by_owner(self) -> dict[str, list[UnitStatus]]:
        """Group the units that are running by who has them."""
        groups: dict[str, list[UnitStatus]] = {}
        for unit in self.of("running"):
            groups.setdefault(str(unit.owner), []).append(unit)
        return groups

    def to_dict(self) -> dict[str, Any]:
        """Turn into what `json.dumps` takes."""
        return {
            "schema": 1,
            "path": str(self.path),
            "study": self.study,
            "steps": self.steps,
            "n_units": len(self.units),
            **{f"n_{state}": len(self.of(state)) for state in get_args(State)},
            "seconds_left": self.seconds_left,
            "units": [
                asdict(unit) | {"owner": unit.owner and unit.owner.model_dump(mode="json")}
                for unit in self.units
            ],
        }


def read_status(run: RunDirectory) -> Status:
    """See how far a study is.

    A manifest is believed without the checksums being computed; `quanta.verify` computes them.

    Parameters
    ----------
    run : RunDirectory

    Returns
    -------
    Status

    Raises
    ------
    OSError
        If the run directory cannot be read.
    """
    steps = run.study.training.steps
    flops = [count_flops(unit) for unit in run.study.units()]
    units = []
    for unit, work in zip(run.study.units(), flops, strict=True):
        folder, manifest = run.folder(unit), run.manifest(unit)
        if manifest is not None and manifest.unit != unit:
            manifest = None
        found = _unit_status(unit.id, folder, manifest, steps)
        share_done = count_flops(unit, found.n_steps) / work if found.n_steps else 0.0
        units.append(replace(found, work=work / max(flops), share_done=share_done))
    return Status(run.path, run.study.name, steps, tuple(units))


def _unit_status(name: str, folder: Path, manifest: Manifest | None, steps: int) -> UnitStatus:
    if manifest is not None and manifest.status == "done" and all((folder / f).is_file() for f in UNIT_FILES):
        return UnitStatus(name, "done", steps, max(0.0, manifest.seconds), compiled_for=manifest.compiled_for)
    n_steps, seconds = _read_kept(folder / CHECKPOINT, steps)
    held_by = owner(folder)
    if held_by is not None and not (manifest is not None and _failed_since(manifest, held_by)):
        return UnitStatus(name, "running", n_steps or 0, seconds, owner=held_by)
    if manifest is not None and manifest.failure is not None:
        return UnitStatus(name, "failed", reason=manifest.failure)
    if n_steps is not None:
        return UnitStatus(name, "interrupted", n_steps, seconds)
    return UnitStatus(name, "remaining")


def _failed_since(manifest: Manifest, held_by: Owner) -> bool:
    """Whether a unit failed in the hands of who has it; else it is tried again."""
    try:
        began = datetime.fromisoformat(manifest.started)
        return manifest.status == "failed" and held_by.started is not None and began >= held_by.started
    except (ValueError, TypeError):  # no time, or one without a time zone
        return False


def _read_kept(checkpoint: Path, steps: int) -> tuple[int | None, float | None]:
    """Read the number of steps in a checkpoint and their time in seconds; None for what cannot be read."""
    try:
        metadata = read_metadata(checkpoint)
        n_steps = int(metadata["n_steps"])
    except (OSError, TensorFileError, KeyError, ValueError):  # there is none; training begins again
        return None, None
    if not 0 <= n_steps <= steps:
        return None, None
    try:
        seconds = float(metadata["seconds"])
    except (KeyError, ValueError):  # before they were written there
        return n_steps, None
    return n_steps, seconds if 0 <= seconds < math.inf else None


def render_status(status: Status, console: "Console") -> None:
    """Print how far a study is: one line that sums up, and a table.

    Parameters
    ----------
    status : Status
    console : Console
        Where to.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(Text(_sum_up(status)))
    console.print()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("state", no_wrap=True)
    table.add_column("units", justify="right", no_wrap=True)
    table.add_column("details", overflow="fold")  # names of units are long, and are not to be cut
    for state, n_units, details in _rows(status):
        table.add_row(state, str(n_units), Text(details))
    console.print(table)


def _sum_up(status: Status) -> str:
    n_done, n_units, n_left = len(status.of("done")), len(status.units), status.seconds_left
    line = f"{status.path}: {status.study}, {n_done} of {n_units} units done"
    if n_left is None:
        return f"{line}; how long the rest takes is not known yet"
    if n_left == 0:
        return line
    n_processes = len(status._by_owner())
    if n_processes == 0:
        return f"{line}; about {format_duration(n_left)} left, and nobody trains them now"
    return f"{line}; about {format_duration(n_left)} left" + (
        f" for {n_processes} processes" * (n_processes > 1)
    )


def _rows(status: Status) -> Iterator[tuple[State, int, str]]:
    done = status.of("done")
    seconds = [unit.seconds for unit in done if unit.seconds is not None]
    each = [f"{format_duration(sum(seconds) / len(seconds))} each"] if seconds else []
    yield "done", len(done), ", ".join(each + _say_compiled_for(done))
    for name, units in status._by_owner().items():
        kept = ", ".join(f"{unit.id} at step {unit.n_steps:,}" for unit in units if unit.n_steps)
        yield "running", len(units), f"{name}{kept and '; '}{kept}"
    for unit in status.of("failed"):
        yield "failed", 1, f"{unit.id}: {unit.reason}"
    for unit in status.of("interrupted"):
        yield "interrupted", 1, f"{unit.id} at step {unit.n_steps:,} of {status.steps:,}"
    yield "remaining", len(status.of("remaining")), ""


def _say_compiled_for(units: Sequence[UnitStatus]) -> list[str]:
    """Say what units were compiled for where that is known, once for each answer."""
    answers = sorted({unit.compiled_for for unit in units if unit.compiled_for not in (None, "unknown")})
    return ["not compiled" if answer == "none" else f"compiled for {one_line(answer)}" for answer in answers]
