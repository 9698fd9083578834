"""Run the units of a study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import torch

from quanta.store.checkpoint import Checkpoint, CheckpointError
from quanta.store.manifest import CHECKPOINT
from quanta.store.run_directory import RunDirectory
from quanta.study.spec import UnitSpec
from quanta.tasks.atomic import remove_leftovers
from quanta.tasks.config import ConfigError, one_line
from quanta.training.device import default_threads, use_threads
from quanta.training.kernel import why_not_compiled
from quanta.training.trainer import DivergedError, StoppedError, train_unit

_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""How torch says that memory is short, where it has no type of error for it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one unit.

    Attributes
    ----------
    status : {"done", "failed", "stopped"}
    reason : str or None
        Why it failed on its own.
    notes : tuple of str
        What the user should know besides, such as that a checkpoint was damaged.
    """

    status: Literal["done", "failed", "stopped"]
    reason: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepResult:
    """What became of a study's units.

    Attributes
    ----------
    n_done : int
        Units trained by this sweep.
    n_kept : int
        Units that were done before.
    failed : dict of str to str
        Unit id to the reason why it failed, in this sweep or in one before.
    notes : tuple of str
        What the user should know besides, each once, unless it was told as it came.
    stopped : bool
        Whether it was asked to stop, and units are left.
    """

    n_done: int
    n_kept: int
    failed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stopped: bool = False

    @classmethod
    def of(
        cls,
        outcomes: Mapping[str, Outcome],
        n_kept: int,
        failed: Mapping[str, str],
        notes: Sequence[str],
        *,
        n_pending: int,
    ) -> "SweepResult":
        """Sum up what became of the units that were begun.

        Parameters
        ----------
        outcomes : mapping of str to Outcome
            By unit id.
        n_kept : int
        failed : mapping of str to str
            Those that failed before.
        notes : sequence of str
        n_pending : int
            Units that were to be trained.

        Returns
        -------
        SweepResult
        """
        status = [outcome.status for outcome in outcomes.values()]
        reasons = {unit: outcome.reason for unit, outcome in outcomes.items() if outcome.reason is not None}
        return cls(
            n_done=status.count("done"),
            n_kept=n_kept,
            failed={**failed, **reasons},
            notes=tuple(notes),
            stopped="stopped" in status or len(outcomes) < n_pending,
        )


class Notes:
    """What the user should know besides, each note once: told as it comes, or else kept.

    Parameters
    ----------
    on_note : callable or None
        Told of each new note.

    Attributes
    ----------
    kept : list of str
        Those that nobody was told of.
    """

    def __init__(self, on_note: Callable[[str], None] | None) -> None:
        self.kept: list[str] = []
        self._tell = on_note or self.kept.append
        self._seen: set[str] = set()

    def add(self, *notes: str) -> None:
        """Tell or keep those that are new."""
        for note in notes:
            if note not in self._seen:
                self._seen.add(note)
                self._tell(note)


def note_on_speed(unit: UnitSpec, device: torch.device) -> tuple[str, ...]:
    """Say it where a unit is trained without the compiled code that it could have, and why."""
    if device.type != "cpu" or unit.population.n_hidden_layers > 1:
        return ()
    reason = why_not_compiled(unit.training.precision)
    return () if reason is None else (f"training without compiled code, which is slower: {reason}",)


def find_pending(
    run: RunDirectory, units: Sequence[UnitSpec] | None = None, *, retry_failed: bool = False
) -> tuple[list[UnitSpec], dict[str, str]]:
    """Find out what is left to train in a run directory.

    Parameters
    ----------
    run : RunDirectory
    units : sequence of UnitSpec, optional
        Which of its units are meant; all by default.
    retry_failed : bool, default False
        Whether units that failed on their own are to be trained again.

    Returns
    -------
    pending : list of UnitSpec
        Units to train.
    failed : dict of str to str
        Unit id to the reason why it failed, of those that are left alone.

    Raises
    ------
    StoreError
        If their training sets would stand beside others that were drawn otherwise.
    """
    not_done = run.pending(units)
    failed = {} if retry_failed else run.failures(not_done)
    pending = [unit for unit in not_done if unit.id not in failed]
    run.check_training_sets(pending)
    return pending, failed


def train_and_store(
    run: RunDirectory,
    unit: UnitSpec,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Train one unit of a run directory, from its checkpoint if it has one, and store what came of it.

    Parameters
    ----------
    run : RunDirectory
    unit : UnitSpec
        One of its units.
    device, on_progress, should_stop
        As in `train_unit`.

    Returns
    -------
    Outcome
        A unit that fails on its own (it diverged, ran out of memory or is not for this device) is recorded
        with its reason. Whatever else goes wrong is raised: it may not happen again.

    Raises
    ------
    OSError
        If results cannot be written.
    """
    device = torch.device(device)
    started = datetime.now(UTC)
    remove_leftovers(run.folder(unit))
    checkpoint = Checkpoint(run.folder(unit) / CHECKPOINT)
    notes: tuple[str, ...] = ()
    try:
        try:
            trained = train_unit(unit, device, on_progress, checkpoint, should_stop)
        except CheckpointError as error:
            notes = (f"{error}; the unit starts again",)
            checkpoint.remove()
            trained = train_unit(unit, device, on_progress, checkpoint, should_stop)
    except StoppedError:
        return Outcome("stopped", notes=notes)
    except (RuntimeError, MemoryError, ConfigError) as error:
        if isinstance(error, RuntimeError) and not _is_its_own(error):
            raise
        reason = one_line(str(error) or type(error).__name__)
        run.write_failed(unit, reason, device=device, started=started)
        checkpoint.remove()
        return Outcome("failed", reason, notes)
    run.write_done(unit, trained, device=device, started=started)
    checkpoint.remove()
    return Outcome("done", notes=notes)


def _is_its_own(error: RuntimeError) -> bool:
    """Whether a unit would fail so again: it diverged, or ran out of memory."""
    return isinstance(error, DivergedError | torch.OutOfMemoryError) or any(
        sign in str(error) for sign in _OUT_OF_MEMORY
    )


def run_sweep(
    run: RunDirectory,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    units: Sequence[UnitSpec] | None = None,
    retry_failed: bool = False,
    on_note: Callable[[str], None] | None = None,
    n_threads: int | None = None,
) -> SweepResult:
    """Train the units of a run directory that are not done, one after another.

    All of them are locked until it ends. A unit that fails on its own is recorded with its reason and the
    others go on. Calling this again after an interruption continues, and leaves alone what failed.

    Parameters
    ----------
    run : RunDirectory
    device : torch.device or str, default "cpu"
    on_progress : callable, optional
        Called with a number of optimisation steps that need no longer be taken.
    should_stop : callable, optional
        Asked after every step; when it says so, the unit at work is kept and the sweep ends.
    units : sequence of UnitSpec, optional
        Which of its units are meant; all by default.
    retry_failed : bool, default False
        Train units again that failed before.
    on_note : callable, optional
        Told what the user should know besides, as it comes; without it the result has the notes.
    n_threads : int, optional
        Threads to train with on a CPU; their number may change the last bits of the curves. By default as
        many as torch uses, or fewer where the quota of a container is less.

    Returns
    -------
    SweepResult

    Raises
    ------
    LockedError
        If somebody else trains one of the units.
    OSError
        If results cannot be written.
    """
    device = torch.device(device)
    notes = Notes(on_note)
    advance = on_progress or (lambda n_steps: None)
    units = run.study.units() if units is None else units
    outcomes: dict[str, Outcome] = {}
    pending, failed = find_pending(run, units, retry_failed=retry_failed)
    with run.lock(pending), use_threads(default_threads() if n_threads is None else n_threads):
        # Until now, somebody else may have been training them.
        pending, failed_since = find_pending(run, pending, retry_failed=retry_failed)
        failed |= failed_since
        n_kept = len(units) - len(pending) - len(failed)
        for unit in pending:
            n_left = unit.training.steps
            notes.add(*note_on_speed(unit, device))

            def on_steps(n_steps: int) -> None:
                nonlocal n_left
                n_left -= n_steps
                advance(n_steps)

            outcomes[unit.id] = outcome = train_and_store(run, unit, device, on_steps, should_stop)
            notes.add(*outcome.notes)
            if outcome.status == "stopped":
                break
            if outcome.status == "failed":
                advance(n_left)
    return SweepResult.of(outcomes, n_kept, failed, notes.kept, n_pending=len(pending))
