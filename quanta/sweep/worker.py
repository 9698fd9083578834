"""What runs in the workers of a Dask cluster; see `quanta.sweep.cluster` for who tells them what to do."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dask.config
import torch
from distributed import Worker, WorkerPlugin, get_worker

from quanta.store.lock import LockedError
from quanta.store.run_directory import RunDirectory
from quanta.study.spec import UnitSpec
from quanta.sweep.units import Outcome, note_on_speed, train_and_store
from quanta.tasks.config import ConfigError
from quanta.tasks.memory import shared_memory
from quanta.training.device import check_device, resolve_device

REPORT_SECONDS = 1.0
"""Between two reports of a worker on its unit; a bar need not move more often."""

LOCK_SECONDS = 1.0
"""Between two attempts of a worker to lock its unit."""

LOCK_PATIENCE_SECONDS = 600.0
"""After which a worker leaves its unit to who has it; a host that died is forgotten in a tenth of that."""

TOPIC = "quanta"
"""Where workers report; one for all sweeps, since the scheduler keeps a list for each."""

MARK = ".sweep-"
"""How the names of files begin by which workers know a run directory."""

_stopped: set[str] = set()
"""In a worker: the tokens of the sweeps that it was told to stop."""


class ClusterError(OSError):
    """Workers or a scheduler that cannot be used; says which, and why."""


@dataclass(frozen=True)
class Job:
    """What a worker is told of a sweep, besides its units."""

    folder: Path
    """The run directory, an absolute path."""
    token: str
    """Tells this sweep from every other."""
    device: str
    """Name of the device to train on."""
    largest: tuple[UnitSpec, ...]
    """The units that need the most memory, the largest first, for which every worker's device must do."""
    n_threads: int
    """Threads of a worker."""
    sharing: Mapping[str, int] = field(default_factory=dict)
    """How many workers share a memory, by its name; one where nothing is said."""

    @property
    def mark(self) -> Path:
        """The file by which a worker knows that it sees the run directory of the driver, who holds it."""
        return self.folder / f"{MARK}{self.token}"


def visible_gpus(setting: str | None, n_gpus: int) -> list[str]:
    """Names of the GPUs that torch sees, as ``CUDA_VISIBLE_DEVICES`` takes them.

    Parameters
    ----------
    setting : str or None
        ``CUDA_VISIBLE_DEVICES`` here, if it is set.
    n_gpus : int
        How many torch sees.

    Returns
    -------
    list of str
    """
    names = [str(index) for index in range(n_gpus)] if setting is None else setting.split(",")
    return [name.strip() for name in names[:n_gpus]]


class OneGpu(WorkerPlugin):
    """Lets each worker of `start_workers` see one GPU alone; those beyond the number of GPUs share.

    Parameters
    ----------
    gpus : sequence of str
        As ``CUDA_VISIBLE_DEVICES`` takes them.
    """

    def __init__(self, gpus: Sequence[str]) -> None:
        self.gpus = gpus

    def setup(self, worker: Worker) -> None:
        """Choose by the worker's name, which is its number, before it uses CUDA."""
        os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[int(worker.name) % len(self.gpus)]


def find_fault(job: Job, dask_worker: Worker) -> str | None:
    """Say why a worker cannot take part in a sweep; None if it can."""
    if not os.access(job.mark, os.W_OK):
        return f"does not see {job.folder}, or may not write there"
    if dask_worker.state.nthreads != 1:
        return f"must have 1 Dask thread (dask worker --nthreads 1), not {dask_worker.state.nthreads}"
    _, memory = shared_memory()
    largest, *others = job.largest
    beside = others[: job.sharing.get(memory, 1) - 1]
    try:
        check_device(largest, resolve_device(job.device), job.n_threads, beside)
    except ConfigError as error:
        return str(error)
    return None


def stop_sweep(token: str) -> None:
    """Stop what this worker does of a sweep, and do no more of it."""
    _stopped.add(token)


def train_in_worker(job: Job, unit: UnitSpec) -> Outcome:
    """Train a unit in this worker, and store what came of it."""
    worker = get_worker()
    fault = find_fault(job, worker)  # it may have come after the others were asked
    if fault is not None:
        raise ClusterError(f"{worker.address}: {fault}")
    run = RunDirectory(job.folder)
    n_taken, reported = 0, 0.0

    def report(n_steps: int) -> None:
        nonlocal n_taken, reported
        n_taken += n_steps
        if time.monotonic() >= reported + REPORT_SECONDS:
            reported = time.monotonic()
            worker.log_event(TOPIC, {"token": job.token, "unit": unit.id, "n_steps": n_taken})

    def should_stop() -> bool:
        return job.token in _stopped

    torch.set_num_threads(job.n_threads)
    device = resolve_device(job.device)
    patience = f"{LOCK_PATIENCE_SECONDS / 60:.0f} min"
    deadline: float | None = None
    while not should_stop():
        try:
            # Otherwise xarray asks the scheduler for a lock on every file that it writes.
            with run.lock([unit]), dask.config.set(scheduler="synchronous"):
                if run.is_done(unit):  # by a worker that was lost before it could say so
                    return Outcome("done")
                outcome = train_and_store(run, unit, device, report, should_stop)
                return replace(outcome, notes=(*note_on_speed(unit, device), *outcome.notes))
        except LockedError as error:  # a worker that was believed dead is still at it
            if deadline is None:
                deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
                note = f"a worker waits for its unit, at most {patience}: {error}"
                worker.log_event(TOPIC, {"token": job.token, "note": note})
            elif time.monotonic() > deadline:
                return Outcome(
                    "stopped", notes=(f"a worker waited for its unit {patience}, in vain: {error}",)
                )
            time.sleep(LOCK_SECONDS)
    return Outcome("stopped")
