"""Run the units of a study, one after another."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import torch

from quanta.store import RunDirectory
from quanta.training import train_unit
from tasks.config import ConfigError


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
        Unit id to the reason why it failed.
    """

    n_done: int
    n_kept: int
    failed: dict[str, str] = field(default_factory=dict)


def resolve_device(name: str) -> torch.device:
    """Choose the device: "auto" is CUDA where there is one, else the CPU.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}

    Returns
    -------
    torch.device

    Raises
    ------
    ConfigError
        If CUDA is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: must be auto or cpu here, since torch finds no CUDA device, not cuda")
    return torch.device(name)


def run_sweep(
    run: RunDirectory,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> SweepResult:
    """Train the units of a run directory that are not done.

    A unit that fails on its own, such as by diverging, is recorded with its reason and the others go on. An
    interruption leaves the units that are done; calling this again continues.

    Parameters
    ----------
    run : RunDirectory
    device : torch.device or str, default "cpu"
    on_progress : callable, optional
        Called with a number of optimisation steps that need no longer be taken.

    Returns
    -------
    SweepResult

    Raises
    ------
    OSError
        If results cannot be written.
    """
    device = torch.device(device)
    advance = on_progress or (lambda n_steps: None)
    pending = run.pending()
    failed = {}
    for unit in pending:
        started = datetime.now(UTC)
        n_left = unit.training.steps

        def on_steps(n_steps: int) -> None:
            nonlocal n_left
            n_left -= n_steps
            advance(n_steps)

        try:
            trained = train_unit(unit, device, on_steps)
        except (RuntimeError, MemoryError) as error:  # diverged, out of memory; torch raises RuntimeError
            failed[unit.id] = str(error) or type(error).__name__
            run.write_failed(unit, failed[unit.id], device=device, started=started)
            advance(n_left)
        else:
            run.write_done(unit, trained, device=device, started=started)
    return SweepResult(len(pending) - len(failed), len(run.study.units()) - len(pending), failed)
