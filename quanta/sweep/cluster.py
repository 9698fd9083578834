"""Run the units of a study on the workers of a Dask cluster.

Each unit is a future. A worker trains it as `run_sweep` would, in the run directory itself, which it must
therefore see, and sends back only what became of it. A unit whose worker dies is given to another, which
continues from its checkpoint.
"""

import logging
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import resource_tracker
from typing import Any

import dask.config
import torch
from distributed import (
    Client,
    Future,
    KilledWorker,
    LocalCluster,
    Security,
)

from quanta.store.lock import check_free, hold_files, remove_dead
from quanta.store.run_directory import RunDirectory
from quanta.study.spec import UnitSpec
from quanta.sweep.units import Notes, Outcome, SweepResult, find_pending
from quanta.sweep.worker import (
    MARK,
    TOPIC,
    ClusterError,
    Job,
    OneGpu,
    find_fault,
    stop_sweep,
    train_in_worker,
    visible_gpus,
)
from quanta.tasks.memory import shared_memory

N_RETRIES = 2
"""Times that a unit is tried again after an error that is not its own, such as a file server's bad moment."""

POLL_SECONDS = 0.1
"""Between two looks at what came back: little work, and quick enough for Ctrl-C."""

_WORKER_SETTINGS = {
    # Otherwise Dask has its workers hand freed memory back at once, and training takes a fifth longer.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # A look at what they do, a hundred times a second, for a dashboard that is not there.
    "distributed.worker.profile.enabled": False,
}


@contextmanager
def start_workers(n_workers: int) -> Iterator[Client]:
    """Run workers on this machine while the block runs, one process each, reachable from this machine alone.

    If torch sees several GPUs here, each worker sees one of them.

    Parameters
    ----------
    n_workers : int

    Yields
    ------
    Client
    """
    # Ctrl-C goes to every process of a terminal, but it is for the driver to tell the workers to stop. They
    # inherit what is blocked here, as do the threads that start new ones for those that died. Python starts
    # its resource tracker with the first of them, and unblocks all then, unless it has it already.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with dask.config.set(_WORKER_SETTINGS):
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                # It answers a few requests all the same.
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                # Dask does not know how much memory a unit needs, and would kill workers over it.
                memory_limit=None,
                silence_logs=logging.ERROR,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with cluster, Client(cluster, set_as_default=False) as client:
        gpus = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
        if len(gpus) > 1:
            client.register_plugin(OneGpu(gpus))
        yield client


@contextmanager
def connect(address: str, **tls: str) -> Iterator[Client]:
    """Be connected to a Dask scheduler while the block runs.

    Parameters
    ----------
    address : str
        Such as ``"tcp://host:8786"`` or ``"tls://host:8786"``.
    **tls
        ``tls_ca_file``, ``tls_client_cert`` and ``tls_client_key``: paths of PEM files, if they are not
        those of Dask's configuration.

    Yields
    ------
    Client

    Raises
    ------
    ClusterError
        If it cannot be reached.
    """
    security = Security(**tls)
    files = security.get_tls_config_for_role("client")
    if address.startswith("tls://") and None in (files["ca_file"], files["cert"]):
        raise ClusterError(f"{address}: needs a certificate authority and a certificate (TLS)")
    try:
        client = Client(address, security=security, set_as_default=False)
    except OSError as error:
        raise ClusterError(f"{address}: no scheduler can be reached there ({error})") from error
    with client:
        yield client


def run_on_cluster(
    run: RunDirectory,
    client: Client,
    device: str = "auto",
    n_threads: int = 1,
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    retry_failed: bool = False,
    units: Sequence[UnitSpec] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> SweepResult:
    """Train the units of a run directory that are not done, on the workers of a Dask cluster.

    A unit that fails on its own is recorded with its reason and the others go on; so is a unit during which
    more workers died than the scheduler allows. Calling this again after an interruption continues, and
    leaves alone what failed.

    Parameters
    ----------
    run : RunDirectory
        On a file system that all workers see.
    client : Client
        Its workers must have one Dask thread each, since a unit takes a whole worker.
    device : {"auto", "cpu", "cuda"}
        Where each worker trains; "auto" is CUDA where a worker has it, else the CPU.
    n_threads : int, default 1
        Threads of each worker. Their number may change the last bits of the curves.
    on_progress : callable, optional
        Called with a number of optimisation steps that need no longer be taken.
    should_stop : callable, optional
        Asked several times a second; when it says so, the units at work are kept and the sweep ends.
    retry_failed : bool, default False
        Train units again that failed before.
    units : sequence of UnitSpec, optional
        Which of its units are meant; all by default.
    on_note : callable, optional
        Told what the user should know besides, as it comes; without it the result has the notes.

    Returns
    -------
    SweepResult
        A unit that somebody else does not let go of is left to them, and the sweep counts as stopped.

    Raises
    ------
    ClusterError
        If there is no worker, if some cannot do what is asked of them, or if the scheduler is lost.
    LockedError
        If somebody else trains one of the units.
    OSError
        If results cannot be written.
    """
    units = run.study.units() if units is None else units
    pending, failed = find_pending(run, units, retry_failed=retry_failed)
    n_kept = len(units) - len(pending) - len(failed)
    if not pending:
        return SweepResult(0, n_kept, failed)
    for unit in pending:
        check_free(run.folder(unit))
    # As many at once as share a memory, whichever they will be.
    sharing = Counter(name for _, name in client.run(shared_memory).values())
    largest = sorted(pending, key=lambda unit: sum(unit.memory_needed.values()), reverse=True)
    most = max(sharing.values(), default=1)
    job = Job(run.path.absolute(), secrets.token_hex(8), device, tuple(largest[:most]), n_threads, sharing)
    notes = Notes(on_note)
    remove_dead(run.path, f"{MARK}*")
    with hold_files([job.mark]):
        _check_workers(client, job)
        alone = replace(job, largest=job.largest[:1])  # what goes along with every unit should be small
        outcomes = _collect(run, client, alone, pending, notes, on_progress, should_stop)
    return SweepResult.of(outcomes, n_kept, failed, notes.kept, n_pending=len(pending))


def _check_workers(client: Client, job: Job) -> None:
    """Raise ClusterError unless there are workers and all can take part."""
    answers = client.run(find_fault, job, on_error="return")
    if not answers:
        raise ClusterError("no worker is connected to the scheduler")
    faults: dict[str, list[str]] = {}
    for address, fault in answers.items():
        if fault is not None:
            faults.setdefault(str(fault), []).append(address)
    if faults:
        raise ClusterError("; ".join(f"{', '.join(where)}: {fault}" for fault, where in faults.items()))


def _collect(
    run: RunDirectory,
    client: Client,
    job: Job,
    pending: list[UnitSpec],
    notes: Notes,
    on_progress: Callable[[int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> dict[str, Outcome]:
    """Give the units to the workers, wait, and say by unit id what became of those that were begun."""
    started = datetime.now(UTC)
    reports = _Reports(job.token, pending, on_progress or (lambda n_steps: None), notes)
    client.subscribe_topic(TOPIC, reports.receive)
    outcomes: dict[str, Outcome] = {}
    futures: dict[Future[Outcome], UnitSpec] = {}
    waiting = list(pending)
    told: set[str] = set()
    stopping = False
    try:
        while futures or (waiting and not stopping):
            for future in [future for future in futures if future.done()]:
                unit = futures.pop(future)
                outcomes[unit.id] = outcome = _outcome(future, run, unit, started)
                notes.add(*outcome.notes)
                if outcome.status != "stopped":
                    reports.finish(unit)
            reports.show()
            stopping = stopping or (should_stop is not None and should_stop())
            workers = _workers(client)
            if stopping:
                _tell_to_stop(client, job, workers - told)
                told |= workers
            # No more than there are workers: a unit that waits behind another could start elsewhere, and
            # would be blamed as well if that one kills the worker.
            while waiting and not stopping and len(futures) < len(workers):
                unit = waiting.pop(0)
                # Not its id alone, which may be that of a future for another run directory.
                key = f"{unit.id}-{job.token}"
                future = client.submit(train_in_worker, job, unit, key=key, pure=False, retries=N_RETRIES)
                futures[future] = unit
            time.sleep(POLL_SECONDS)
    except BaseException:
        with suppress(Exception):  # what went wrong first is what matters
            _tell_to_stop(client, job, _workers(client) - told)
        raise
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.unsubscribe_topic(TOPIC)
    return outcomes


def _workers(client: Client) -> set[str]:
    """Addresses of the workers that are there now."""
    try:
        return set(client.nthreads())
    except OSError as error:
        raise ClusterError(f"the scheduler was lost ({' '.join(str(error).split())})") from error


def _outcome(future: "Future[Outcome]", run: RunDirectory, unit: UnitSpec, started: datetime) -> Outcome:
    """Take what became of a unit from its future, which is done."""
    try:
        outcome: Outcome = future.result()
    except KilledWorker as error:
        reason = "its worker died, in {0} of {0} attempts".format(error.allowed_failures + 1)
        if not run.is_done(unit):
            run.write_failed(unit, reason, device=None, started=started)
        return Outcome("failed", reason)
    except CancelledError as error:
        raise ClusterError(f"the scheduler was lost ({' '.join(str(error).split())})") from error
    return outcome


def _tell_to_stop(client: Client, job: Job, workers: set[str]) -> None:
    if workers:
        client.run(stop_sweep, job.token, workers=list(workers), on_error="ignore")


class _Reports:
    """What the workers report while they train: how far the units are, and notes."""

    def __init__(
        self, token: str, units: Sequence[UnitSpec], advance: Callable[[int], None], notes: Notes
    ) -> None:
        self._token = token
        self._advance = advance
        self._notes = notes
        self._shown = {unit.id: 0 for unit in units}
        self._reported: dict[str, int] = {}
        self._noted: list[str] = []

    def receive(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take a report, in a thread of the client."""
        _, report = event
        if report["token"] != self._token:
            return
        if "note" in report:
            self._noted.append(report["note"])
        else:
            self._reported[report["unit"]] = report["n_steps"]

    def show(self) -> None:
        """Show what was reported."""
        self._notes.add(*tuple(self._noted))
        for unit, n_steps in tuple(self._reported.items()):
            self._raise(unit, n_steps)

    def finish(self, unit: UnitSpec) -> None:
        """Show that nothing of a unit is left to do."""
        self._raise(unit.id, unit.training.steps)

    def _raise(self, unit: str, n_steps: int) -> None:
        # Another worker may have continued from further back.
        new = n_steps - self._shown[unit]
        if new > 0:
            self._shown[unit] = n_steps
            self._advance(new)
