import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import psutil
import pytest
import torch
from distributed import Client, LocalCluster

from quanta.curves.dataset import load_curves
from quanta.store.lock import LockedError, hold_files, owner, remove_dead
from quanta.store.run_directory import RunDirectory
from quanta.sweep import cluster as module
from quanta.sweep.cluster import connect, run_on_cluster, start_workers
from quanta.sweep.units import Notes, SweepResult, run_sweep, train_and_store
from quanta.sweep.worker import ClusterError, Job, OneGpu, find_fault, visible_gpus
from quanta.training.device import memory_in_training

ROOT = Path(__file__).parents[3]

WRITE_DONE = "quanta.store.run_directory:RunDirectory.write_done"

# What tests send to workers is sent whole: there is no such module in them.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def workers():
    """Two workers of this machine, which is taken to have two GPUs; tests compute on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        with start_workers(2) as client:
            yield client


def replace(path, make):
    """Replace what is at "module:name" by what `make` makes of it."""
    place, _, name = path.rpartition(".")
    original = getattr(pkgutil.resolve_name(place), name)
    replacement = make(original)
    replacement.original = original
    setattr(pkgutil.resolve_name(place), name, replacement)


def restore(path):
    place, _, name = path.rpartition(".")
    setattr(pkgutil.resolve_name(place), name, getattr(pkgutil.resolve_name(place), name).original)


@pytest.fixture
def in_workers(workers):
    """Replace things in the workers during a test."""
    paths = []

    def replace_there(path, make):
        workers.run(replace, path, make)
        paths.append(path)

    yield replace_there
    for path in reversed(paths):
        workers.run(restore, path)


def slower(seconds):
    """Let a method take longer."""

    def make(original):
        def method(*arguments):
            time.sleep(seconds)
            return original(*arguments)

        return method

    return make


def logged(path):
    """Let a method append the id of its unit to a file, and the process it is in."""

    def make(original):
        def method(first, *others, **options):
            unit = first if hasattr(first, "id") else others[0]
            with open(path, "a") as file:
                file.write(f"{unit.id} {os.getpid()}\n")
            return original(first, *others, **options)

        return method

    return make


def failing(error, times=10**9, seed=None):
    """Let a function of a unit raise an error, the first times in each process, for one seed or for all."""

    def make(original):
        left = times

        def function(first, *others, **options):
            nonlocal left
            unit = first if hasattr(first, "id") else others[0]
            if left and seed in (None, unit.seed):
                left -= 1
                raise error
            return original(first, *others, **options)

        return function

    return make


class Seconds(float):
    """A number that can be told what it replaces."""


def logging_steps(path):
    """Let trainers that are taken up append their unit and step to a file."""

    def make(original):
        def restore(trainer, state):
            original(trainer, state)
            with open(path, "a") as file:
                file.write(f"{trainer.unit.id} {trainer.n_steps}\n")

        return restore

    return make


def dying(seed):
    """Let training end its process, for one seed."""

    def make(original):
        def train(unit, *others):
            if unit.seed == seed:
                os._exit(1)
            return original(unit, *others)

        return train

    return make


def units_in(log):
    """The units of a log, sorted, one entry a line."""
    return sorted(line.split()[0] for line in log.read_text().splitlines())


def contents(path):
    """What the units of a run directory hold, each number to the last bit.

    Not the files to the byte: manifests tell the time, who dies leaves a lock, and HDF5 orders its blocks by
    when objects are closed, which Dask's profiler may delay.
    """
    found = {}
    for file in (path / "units").rglob("*"):
        name = str(file.relative_to(path))
        if file.suffix == ".nc":
            curves = load_curves(file)
            found[name] = {key: x.values.tobytes() for key, x in curves.variables.items()}, curves.attrs
        elif file.is_file() and file.name not in ("manifest.json", "lock"):
            found[name] = file.read_bytes()
    return found


def ids(study):
    return sorted(unit.id for unit in study.units())


def changed(study, **training):
    return study.model_copy(update={"training": study.training.model_copy(update=training)})


class TestRunOnCluster:
    def test_the_same_as_one_after_another(
        self, workers, in_workers, tiny_study, tmp_path, finished, monkeypatch
    ):
        in_workers(WRITE_DONE, logged(tmp_path / "log"))
        monkeypatch.chdir(tmp_path)  # the workers are elsewhere
        run = RunDirectory.create("run", tiny_study)
        n_steps = []
        assert run_on_cluster(run, workers, "cpu", on_progress=n_steps.append) == SweepResult(3, 0)
        assert sum(n_steps) == 60
        assert min(n_steps) > 0
        assert units_in(tmp_path / "log") == ids(tiny_study)
        assert contents(run.path) == contents(finished)
        assert sorted(path.name for path in run.path.iterdir()) == ["study.json", "units"]

    def test_repeats_nothing(self, workers, copied, tiny_study):
        n_steps = []
        run = RunDirectory(copied)
        assert run_on_cluster(run, workers, "cpu", on_progress=n_steps.append) == SweepResult(0, 3)
        more = RunDirectory.create(copied, tiny_study.model_copy(update={"seed": (0, 1, 2, 3)}))
        assert run_on_cluster(more, workers, "cpu", on_progress=n_steps.append) == SweepResult(1, 3)
        assert sum(n_steps) == 20

    def test_a_stopped_one_continues_within_its_units(
        self, workers, in_workers, tiny_study, tmp_path, finished
    ):
        in_workers("quanta.training.trainer:Trainer.advance", slower(0.2))
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        n_steps = []
        stopped = run_on_cluster(
            run, workers, "cpu", on_progress=n_steps.append, should_stop=lambda: sum(n_steps) >= 2
        )
        assert stopped == SweepResult(0, 0, stopped=True)
        assert sum(n_steps) < 20
        assert 1 <= len(list(run.path.rglob("checkpoint.*"))) <= 2  # of the third unit not a step was taken
        assert sorted(path.name for path in run.path.iterdir()) == ["study.json", "units"]
        workers.run(restore, "quanta.training.trainer:Trainer.advance")
        workers.run(replace, "quanta.training.trainer:Trainer.advance", slower(0))
        n_steps.clear()
        assert run_on_cluster(run, workers, "cpu", on_progress=n_steps.append) == SweepResult(3, 0)
        assert sum(n_steps) == 60
        assert contents(run.path) == contents(finished)

    def test_many_threads_a_worker(self, workers, in_workers, tiny_study, tmp_path):
        def note_threads(original):
            def train(*arguments):
                (tmp_path / f"threads-{torch.get_num_threads()}").touch()
                return original(*arguments)

            return train

        in_workers("quanta.sweep.worker.train_and_store", note_threads)
        for n_threads in (1, 2):
            run = RunDirectory.create(tmp_path / f"run-{n_threads}", tiny_study)
            run_on_cluster(run, workers, "cpu", n_threads)
            assert (tmp_path / f"threads-{n_threads}").exists()


class TestFailedUnits:
    def test_a_diverging_one_is_recorded_and_not_tried_again(self, workers, in_workers, tiny_study, tmp_path):
        in_workers("quanta.sweep.units.train_unit", logged(tmp_path / "log"))
        run = RunDirectory.create(tmp_path / "run", changed(tiny_study, learning_rate=(1e30,)))
        n_steps = []
        result = run_on_cluster(run, workers, "cpu", on_progress=n_steps.append)
        assert (result.n_done, sorted(result.failed)) == (0, ids(run.study))
        assert sum(n_steps) == 60
        assert units_in(tmp_path / "log") == ids(run.study)
        for unit in run.study.units():
            reason = run.manifest(unit).reason
            assert reason == result.failed[unit.id]
            assert re.fullmatch("the loss is not finite at step 1 for widths (2|4|2, 4)", reason)

    def test_the_others_go_on(self, workers, in_workers, tiny_study, tmp_path, finished):
        in_workers(
            "quanta.sweep.units.train_unit", failing(torch.OutOfMemoryError("CUDA out of memory"), seed=1)
        )
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        assert run_on_cluster(run, workers, "cpu") == SweepResult(2, 0, {unit.id: "CUDA out of memory"})
        assert (run.manifest(unit).status, run.manifest(unit).reason) == ("failed", "CUDA out of memory")
        assert contents(run.path).items() < contents(finished).items()

    def test_are_tried_again_only_when_asked_for(self, workers, tiny_study, tmp_path, finished):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        run.write_failed(unit, "no luck", device=torch.device("cpu"), started=datetime.now(UTC))
        assert run_on_cluster(run, workers, "cpu") == SweepResult(2, 0, {unit.id: "no luck"})
        assert run_on_cluster(run, workers, "cpu") == SweepResult(0, 2, {unit.id: "no luck"})
        assert run_on_cluster(run, workers, "cpu", retry_failed=True) == SweepResult(1, 2)
        assert contents(run.path) == contents(finished)

    def test_an_error_that_is_not_its_own_is_tried_again(
        self, workers, in_workers, tiny_study, tmp_path, finished
    ):
        in_workers(WRITE_DONE, failing(OSError("the server is away"), times=1))
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        assert run_on_cluster(run, workers, "cpu") == SweepResult(3, 0)
        assert contents(run.path) == contents(finished)

    def test_an_error_that_stays_ends_it(self, workers, in_workers, tiny_study, tmp_path):
        in_workers(WRITE_DONE, failing(OSError("no space left on device")))
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with pytest.raises(OSError, match="no space left"):
            run_on_cluster(run, workers, "cpu")
        assert len(run.pending()) == 3
        assert not list(run.path.glob(".*"))

    def test_a_damaged_checkpoint_is_said(self, workers, tiny_study, tmp_path, finished):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        file = run.folder(tiny_study.units()[1]) / "checkpoint.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"damaged")
        [note] = run_on_cluster(run, workers, "cpu").notes
        assert note.startswith(f"{file}: not a checkpoint of this unit")
        assert contents(run.path) == contents(finished)


class TestWorkers:
    def test_can_be_reached_from_this_machine_alone(self, workers):
        assert workers.scheduler.address.startswith("tcp://127.0.0.1:")
        me = psutil.Process()
        listening = [
            connection.laddr.ip
            for process in [me, *me.children(recursive=True)]
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 3
        assert set(listening) == {"127.0.0.1"}

    def test_each_sees_one_gpu(self, workers):
        seen = workers.run(lambda dask_worker: (dask_worker.name, os.environ["CUDA_VISIBLE_DEVICES"]))
        assert sorted(seen.values()) == [(0, "0"), (1, "1")]

    def test_ignore_what_a_terminal_sends(self, workers):
        before = workers.run(os.getpid)
        for pid in before.values():
            os.kill(pid, signal.SIGINT)
        time.sleep(0.5)
        assert workers.run(os.getpid) == before

    def test_those_that_do_not_see_the_directory_are_named(self, workers, tiny_study, tmp_path, monkeypatch):
        # As where a folder of the same name is another one for the workers: the mark is not in theirs.
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        monkeypatch.setattr(Job, "mark", property(lambda job: tmp_path / "mark"))
        with pytest.raises(ClusterError) as caught:
            run_on_cluster(run, workers, "cpu")
        first, second = workers.nthreads()
        assert str(caught.value) in {
            f"{one}, {other}: does not see {run.path}, or may not write there"
            for one, other in ((first, second), (second, first))
        }
        assert not list(run.path.rglob("units/*"))
        assert not (tmp_path / "mark").exists()

    def test_those_without_cuda_are_named(self, workers, tiny_study, tmp_path):
        workers.run(replace, "torch.cuda.is_available", lambda original: lambda: False)
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with pytest.raises(ClusterError, match=r"^tcp://\S+, tcp://\S+: device: must be auto or cpu here"):
            run_on_cluster(run, workers, "cuda")
        workers.run(restore, "torch.cuda.is_available")

    def test_those_without_the_memory_are_named(self, workers, in_workers, tiny_study, tmp_path):
        in_workers("quanta.training.device.memory_size", lambda original: lambda: 1000)
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with pytest.raises(
            ClusterError, match=r"^tcp://\S+, tcp://\S+: a unit must need at most 1000 bytes "
        ):
            run_on_cluster(run, workers, "cpu")
        assert not list(run.path.rglob("units/*"))

    def test_the_memory_that_they_share_must_do_for_all_at_once(
        self, workers, in_workers, tiny_study, tmp_path
    ):
        units = tiny_study.units()
        needed = sum(memory_in_training(units[0], 1).values())
        in_workers(
            "quanta.training.device.shared_memory", lambda original: lambda: (2 * needed - 1, original()[1])
        )
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with pytest.raises(
            ClusterError,
            match=r"^tcp://\S+, tcp://\S+: 2 units that are trained at once must need at most .*, not ",
        ):
            run_on_cluster(run, workers, "cpu")
        assert not list(run.path.rglob("units/*"))
        assert run_on_cluster(run, workers, "cpu", units=units[:1]).n_done == 1  # alone it fits

    def test_must_have_one_thread(self, tiny_study, tmp_path):
        job = Job(tmp_path, "token", "cpu", tiny_study.units()[:1], 1)
        job.mark.touch()
        faults = [
            find_fault(job, SimpleNamespace(state=SimpleNamespace(nthreads=n_threads)))
            for n_threads in (1, 2)
        ]
        assert faults == [None, "must have 1 Dask thread (dask worker --nthreads 1), not 2"]

    def test_none(self, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with (
            LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster, set_as_default=False) as client,
            pytest.raises(ClusterError, match="no worker is connected"),
        ):
            run_on_cluster(run, client)


class TestLocks:
    def test_units_of_somebody_else(self, workers, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        with (
            run.lock([unit]),
            pytest.raises(LockedError, match=f"unit {unit.id} is being trained by process {os.getpid()} on"),
        ):
            run_on_cluster(run, workers, "cpu")
        assert len(run.pending()) == 3

    def test_a_worker_that_was_believed_dead_is_waited_for(
        self, workers, in_workers, tiny_study, tmp_path, finished, monkeypatch
    ):
        in_workers(WRITE_DONE, logged(tmp_path / "log"))
        monkeypatch.setattr(module, "check_free", lambda folder: None)
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        results = []
        driver = threading.Thread(target=lambda: results.append(run_on_cluster(run, workers, "cpu")))
        with run.lock([unit]):
            driver.start()
            while run.pending() != [unit]:
                time.sleep(0.1)
            train_and_store(run, unit)
        driver.join()
        [result] = results
        assert (result.n_done, result.failed, result.stopped) == (3, {}, False)
        [note] = result.notes
        assert note.startswith("a worker waits for its unit, at most 10 min: ")
        assert f"unit {unit.id} is being trained by process {os.getpid()} on host " in note
        assert units_in(tmp_path / "log") == sorted({*ids(tiny_study)} - {unit.id})
        assert contents(run.path) == contents(finished)

    def test_a_unit_that_somebody_else_keeps_is_left_to_them(
        self, workers, in_workers, tiny_study, tmp_path, monkeypatch
    ):
        in_workers("quanta.sweep.worker.LOCK_PATIENCE_SECONDS", lambda original: Seconds(0.5))
        monkeypatch.setattr(module, "check_free", lambda folder: None)
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        told = []
        with run.lock([unit]):
            result = run_on_cluster(run, workers, "cpu", on_note=told.append)
        assert result == SweepResult(2, 0, stopped=True)
        assert run.pending() == [unit]
        assert [note.split(": ")[0] for note in told] == [
            "a worker waits for its unit, at most 0 min",
            "a worker waited for its unit 0 min, in vain",
        ]
        assert all(f"process {os.getpid()} on host" in note for note in told)


class TestNotes:
    def test_missing_compiled_code_in_the_workers_is_said_once(
        self, workers, in_workers, tiny_study, tmp_path
    ):
        in_workers("quanta.sweep.units.why_not_compiled", lambda original: lambda precision: "no C compiler")
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        notes = run_on_cluster(run, workers, "cpu").notes
        assert notes == ("training without compiled code, which is slower: no C compiler",)


class TestMarks:
    def test_those_of_drivers_that_died_are_removed(self, workers, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        (run.path / ".sweep-0123").touch()
        with hold_files([run.path / ".sweep-4567"]):
            assert run_on_cluster(run, workers, "cpu").n_done == 3
            assert [path.name for path in run.path.glob(".*")] == [".sweep-4567"]

    def test_a_driver_holds_its_mark(self, workers, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        found = []

        def look():
            for mark in run.path.glob(".sweep-*"):
                remove_dead(run.path, mark.name)
                found.append(mark.exists())
            return False

        run_on_cluster(run, workers, "cpu", should_stop=look)
        assert found
        assert all(found)
        assert not list(run.path.glob(".*"))


class TestUnits:
    def test_only_those_that_are_meant(self, workers, tiny_study, tmp_path):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        units = tiny_study.units()[1:]
        assert run_on_cluster(run, workers, "cpu", units=units) == SweepResult(2, 0)
        assert run.pending() == tiny_study.units()[:1]


class TestProgress:
    def test_reports(self, tiny_study):
        n_steps = []
        units = tiny_study.units()[:2]
        progress = module._Reports("mine", units, n_steps.append, Notes(None))

        def report(unit, n_taken, token="mine"):
            progress.receive((0.0, {"token": token, "unit": unit.id, "n_steps": n_taken}))
            progress.show()

        report(units[0], 4)
        report(units[1], 7, token="another sweep's")
        report(units[1], 1)
        report(units[0], 10)
        report(units[0], 8)  # another worker continues from further back
        report(units[0], 11)
        progress.finish(units[0])
        report(units[0], 15)  # late
        assert n_steps == [4, 1, 6, 1, 9]


class TestGpus:
    @pytest.mark.parametrize(
        ("setting", "n_gpus", "expected"),
        [
            (None, 0, []),
            (None, 3, ["0", "1", "2"]),
            ("2,0", 2, ["2", "0"]),
            ("GPU-8f, GPU-a1", 2, ["GPU-8f", "GPU-a1"]),
            ("1,-1,0", 1, ["1"]),  # torch, as CUDA, takes those before the first that is not there
            ("", 0, []),
        ],
    )
    def test_visible_ones(self, setting, n_gpus, expected):
        assert visible_gpus(setting, n_gpus) == expected

    def test_are_shared_out_by_turns(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        seen = []
        for name in range(5):
            OneGpu(["3", "1"]).setup(SimpleNamespace(name=name))
            seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        assert seen == ["3", "1", "3", "1", "3"]


@contextmanager
def dask(name, *options, folder, **environment):
    """A process of `dask`, on this machine alone; what it says is in a file."""
    command = [
        sys.executable,
        "-m",
        "dask",
        name,
        "--host",
        "127.0.0.1",
        "--no-dashboard",
        *map(str, options),
    ]
    with (folder / f"{name}-{time.monotonic_ns()}.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=os.environ | environment, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def by_hand(folder, n_workers=2, tls=(), **environment):
    """A scheduler and workers as started by hand; its address, its process and theirs."""
    folder.mkdir()
    file = folder / "scheduler.json"
    with ExitStack() as stack:
        options = ("--port", 0, "--dashboard-address", "127.0.0.1:0", "--scheduler-file", file, *tls)
        scheduler = stack.enter_context(dask("scheduler", *options, folder=folder, **environment))
        wait_for(file.exists)
        address = json.loads(file.read_text())["address"]
        options = ("--nthreads", 1, "--no-nanny", "--local-directory", folder, *tls, address)
        yield (
            address,
            scheduler,
            [stack.enter_context(dask("worker", *options, folder=folder)) for _ in range(n_workers)],
        )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
class TestStartedByHand:
    def test_one_of_two_workers_is_killed(self, tiny_study, tmp_path):
        study = changed(tiny_study, steps=60)
        alone = RunDirectory.create(tmp_path / "alone", study)
        run_sweep(alone)
        run = RunDirectory.create(tmp_path / "run", study)
        log = tmp_path / "log"

        def kill(n_steps):
            """Kill a worker that has left a checkpoint half-way through a unit."""
            if killed:
                return
            for checkpoint in run.path.glob("units/*/checkpoint.safetensors"):
                who = owner(checkpoint.parent)
                if who is not None:
                    os.kill(who.pid, signal.SIGKILL)
                    killed.append(checkpoint.parent.name)
                    return

        killed = []
        with by_hand(tmp_path / "dask") as (address, _, workers), connect(address) as client:
            client.wait_for_workers(2)
            client.run(replace, "quanta.training.trainer:Trainer.advance", slower(0.1))
            client.run(replace, "quanta.store.checkpoint.MIN_SECONDS", lambda original: Seconds(1))
            client.run(replace, WRITE_DONE, logged(log))
            log_steps = logging_steps(tmp_path / "restored")
            client.run(replace, "quanta.training.trainer:Trainer.restore", log_steps)
            assert run_on_cluster(run, client, "cpu", on_progress=kill) == SweepResult(3, 0)
            assert sorted(worker.poll() for worker in workers if worker.poll() is not None) == [
                -signal.SIGKILL
            ]
        assert units_in(log) == ids(study)
        # It went on from its checkpoint, and no other unit was interrupted.
        [(unit, n_steps)] = [line.split() for line in (tmp_path / "restored").read_text().splitlines()]
        assert [unit] == killed
        assert 0 < int(n_steps) < 60
        assert contents(run.path) == contents(alone.path)

    def test_a_unit_that_kills_its_workers_fails_and_the_others_go_on(self, tiny_study, tmp_path, finished):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        unit = tiny_study.units()[1]
        once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
        with by_hand(tmp_path / "dask", **once) as (address, _, workers), connect(address) as client:
            client.wait_for_workers(2)
            client.run(replace, "quanta.sweep.units.train_unit", dying(seed=1))
            result = run_on_cluster(run, client, "cpu")
            assert sorted(worker.poll() is None for worker in workers) == [False, True]
        assert result == SweepResult(2, 0, {unit.id: "its worker died, in 1 of 1 attempts"})
        assert (run.manifest(unit).status, run.manifest(unit).reason) == ("failed", result.failed[unit.id])
        assert run_sweep(run, retry_failed=True) == SweepResult(1, 2)
        assert contents(run.path) == contents(finished)

    def test_the_scheduler_is_killed(self, tiny_study, tmp_path, finished):
        run = RunDirectory.create(tmp_path / "run", tiny_study)
        with by_hand(tmp_path / "dask") as (address, scheduler, _), connect(address) as client:
            client.wait_for_workers(2)
            client.run(replace, "quanta.training.trainer:Trainer.advance", slower(0.2))
            with pytest.raises(ClusterError, match="the scheduler was lost"):
                run_on_cluster(run, client, "cpu", on_progress=lambda n_steps: scheduler.kill())
            wait_for(lambda: not any(owner(folder) for folder in run.path.glob("units/*")))
        assert run_sweep(run).n_done >= 1
        assert contents(run.path) == contents(finished)


@pytest.fixture(scope="module")
def long_toml(tmp_path_factory, tiny_toml):
    """The tiny study with units of a few seconds."""
    path = tmp_path_factory.mktemp("study") / "long.toml"
    path.write_text(tiny_toml.read_text().replace("steps = 20", "steps = 8000"))
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory, long_toml):
    """What training it alone leaves."""
    path = tmp_path_factory.mktemp("long") / "run"
    quanta("train", long_toml, "--out", path, "--threads", 1)
    return contents(path)


def command_line(*arguments):
    """How to start `quanta` in a process of its own."""
    return [sys.executable, "-m", "quanta", *map(str, arguments)]


def quanta(*arguments, exit_code=0):
    """Run a command; the lines it writes to stderr."""
    done = subprocess.run(
        command_line(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == exit_code, done.stderr
    return done.stderr.splitlines()


@pytest.mark.slow
class TestCommandLine:
    def test_any_way_to_train_gives_the_same(self, long_toml, long, tmp_path):
        [line] = quanta("train", long_toml, "--out", tmp_path / "workers", "--workers", 2)
        assert line == "tiny: 3 of 3 units to train on 2 workers, 2 widths together, 8000 steps each"
        with by_hand(tmp_path / "dask") as (address, _, _):
            [line] = quanta("train", long_toml, "--out", tmp_path / "scheduler", "--scheduler", address)
            assert f"3 of 3 units to train on the workers of {address}, " in line
        shard = ("train", long_toml, "--out", tmp_path / "shards", "--threads", 1, "--shard")
        processes = [subprocess.Popen(command_line(*shard, f"{i}/2"), cwd=ROOT) for i in (1, 2)]
        assert [process.wait() for process in processes] == [0, 0]
        for name in ("workers", "scheduler", "shards"):
            assert contents(tmp_path / name) == long, name

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_a_signal(self, long_toml, long, tmp_path, number):
        run = tmp_path / "run"
        arguments = ("train", long_toml, "--out", run, "--workers", 2)
        process = subprocess.Popen(
            command_line(*arguments), cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        wait_for(lambda: sum(owner(folder) is not None for folder in run.glob("units/*")) == 2)
        children = psutil.Process(process.pid).children(recursive=True)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert psutil.wait_procs(children, timeout=60)[1] == []
        assert [owner(folder) for folder in run.glob("units/*")] == [None, None]
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 1
            assert stderr.splitlines()[1:] == [
                f"Error: interrupted: 0 of 3 units are done in {run}; "
                "the same command continues where it stopped"
            ]
            assert len(list(run.glob("units/*/checkpoint.safetensors"))) == 2
            assert not list(run.rglob(".*"))
        quanta(*arguments)
        assert contents(run) == long

    def test_tls(self, tiny_toml, tmp_path, finished):
        if shutil.which("openssl") is None:
            pytest.skip("no openssl")
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        request = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=quanta")
        subprocess.run(
            ["openssl", *request, "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
        tls = ("--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key)
        with by_hand(tmp_path / "dask", tls=tls) as (address, _, _):
            assert address.startswith("tls://127.0.0.1:")
            quanta("train", tiny_toml, "--out", tmp_path / "run", "--scheduler", address, *tls)
            assert contents(tmp_path / "run") == contents(finished)
        [*_, line] = quanta(
            "train", tiny_toml, "--out", tmp_path / "other", "--scheduler", address, exit_code=1
        )
        assert line == f"Error: {address}: needs a certificate authority and a certificate (TLS)"
