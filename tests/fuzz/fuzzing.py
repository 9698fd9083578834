"""Make files that nobody would write, and read them: the worker of test_fuzz.py.

``python tests/fuzz/fuzzing.py FIRST COUNT [READER...]`` reads the inputs of these numbers, which decide them,
and prints a line of JSON about each. The readers, or those that are named, take turns.
"""

import io
import json
import os
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import torch
from mutations import choose, mutate_any_text, mutate_netcdf, mutate_tensors, sort_header
from rich.console import Console
from safetensors.torch import load_file, save_file

from quanta.curves.dataset import load_curves, make_curves, save_curves
from quanta.curves.schema import CurvesError, validate
from quanta.store import checkpoint as checkpoint_module
from quanta.store.checkpoint import Checkpoint, CheckpointError
from quanta.store.errors import StoreError
from quanta.store.manifest import Manifest, checksum
from quanta.store.run_directory import RunDirectory, load_population
from quanta.store.status import read_status, render_status
from quanta.study.spec import StudySpec, load_study
from quanta.tasks.config import ConfigError
from quanta.tasks.sparse_parity import MultitaskSparseParity, TaskError
from quanta.tasks.spec import TaskSpec
from quanta.training.trainer import DivergedError, Trainer, train_unit

MEBIBYTES = 512
"""The most by which one input may raise the memory of the process."""

FORBIDDEN = re.compile(
    r"ctypes\.dlopen|os\.(chmod|exec|fork|forkpty|link|mkdir|posix_spawn|remove|rename|rmdir|symlink|system"
    r"|truncate)|pickle\.find_class|shutil\..*|socket\..*|subprocess\.Popen"
)
"""What no reader does, as the audit hooks of Python call it (PEP 578)."""

STUDY = """
name = "small"
description = 'a "quoted" text'
alpha = [0.4, "uniform"]
n_train = [100, "online"]
seed = 3
task = {n_subtasks = 4, n_bits = 6, k = [1, 2, 2, 3], offset = 1.5}
[population]
widths = [2, 4]
n_hidden_layers = 1
[training]  # of every unit
steps = 1_000
batch_size = 16
learning_rate = 1e-2
precision = "float64"
[evaluation]
samples_per_subtask = 8
"""

SHORT_STUDY = """name = "x"
population.widths = {from = 4, to = 64, count = 4}
training.steps = 10
"""


def mutate_state(rng, sound, folder):
    """Change a tensor of a checkpoint, whose maker sees to it that the checksum is right."""
    if rng.integers(2):
        return mutate_tensors(rng, sound)
    path = folder / "sound.safetensors"
    path.write_bytes(choose(rng, sound))
    state = load_file(path)
    name = choose(rng, sorted(state))
    tensor = state.pop(name)
    match rng.integers(6):
        case 0:
            state[choose(rng, ("x", "population.x", "optimizer.x", "evaluations.x", "a.b.c"))] = tensor
        case 1:
            state[name] = tensor.to(choose(rng, (torch.int64, torch.uint8, torch.float64, torch.bool)))
        case 2:
            state[name] = tensor.flatten()[: int(rng.integers(tensor.numel() + 1))].clone()
        case 3:
            state[name] = tensor[None].clone()
        case 4:
            values = tensor.reshape(-1).clone()
            choices = (0, 1, 200) if tensor.dtype == torch.uint8 else (0, -1, 10**6, 2**62)
            choices += (torch.nan, torch.inf) if tensor.is_floating_point() else ()
            values[int(rng.integers(len(values)))] = choose(rng, choices)
            state[name] = values.reshape(tensor.shape)
    n_steps = state.get("n_steps", torch.ones(0))
    metadata = {
        "format": checkpoint_module.FORMAT,
        "unit": UNIT.model_dump_json(),
        "n_steps": str(int(n_steps)) if n_steps.numel() == 1 else "",
        "sha256": checkpoint_module._digest(state),
    }
    save_file(state, path, metadata)
    return sort_header(path.read_bytes())


# Sound inputs. They are the same in every process, so that the number of an input decides it.

UNIT = StudySpec.parse(
    {
        "name": "small",
        "task": {"n_subtasks": 4, "n_bits": 6, "k": 1},
        "population": {"widths": [2, 4]},
        "training": {"steps": 20, "batch_size": 16},
        "evaluation": {"samples_per_subtask": 8, "n_evaluations": 5},
    }
).units()[0]


@cache
def trained():
    return replace(train_unit(UNIT), seconds=1.0)


def sound_tasks(folder):
    for spec, n_samples in (({"k": (1, 2, 2, 3)}, 9), ({"k": 2, "alpha": "uniform"}, 0)):
        task = MultitaskSparseParity(TaskSpec(n_subtasks=4, n_bits=9, **spec), 3)
        sample = task.sample(n_samples, torch.Generator().manual_seed(0)) if n_samples else None
        task.save(folder / "task.safetensors", sample)
        yield sort_header((folder / "task.safetensors").read_bytes())


def sound_curves(folder):
    path = folder / "curves.nc"
    rng = np.random.default_rng(0)
    loss = rng.uniform(0, 2, (1, 1, 2, 2, 3, 3))
    axes = {"step": [0, 10, 20], "width": [4, 8], "n_parameters": [50, 98], "seed": [0, 1], "alpha": [0.4]}
    small = make_curves(loss, frequency=[0.5, 0.3, 0.2], **axes)
    save_curves(trained().curves, path)
    yield path.read_bytes()
    save_curves(small, path)
    yield path.read_bytes()
    foreign = small.drop_vars("mean_loss").assign(temperature=("width", [1.0, 2.0]))
    foreign.to_netcdf(path, engine="h5netcdf", unlimited_dims=["step"])
    yield path.read_bytes()


def sound_run(folder):
    """A run directory with one unit in it."""
    study = json.loads(UNIT.model_dump_json()) | {"name": "small"}
    run = RunDirectory.create(folder / "run", StudySpec.parse(study))
    run.write_done(UNIT, trained(), device=torch.device("cpu"), started=datetime(2026, 1, 1, tzinfo=UTC))
    return run


def sound_checkpoints(folder):
    path = folder / "checkpoint.safetensors"
    for n_steps in (0, 7, 20):
        trainer = Trainer(UNIT)
        trainer.elapsed = lambda: 1.0
        for step in range(n_steps + 1):
            if step in UNIT.evaluation_steps[:-1]:
                trainer.record()
            if step < n_steps:
                trainer.advance(1)
        Checkpoint(path).save(trainer)
        yield sort_header(path.read_bytes())


# Readers: how to make an input, and how to read it. What is read must be as good as a sound one.


class Study:
    errors = ConfigError

    def __init__(self, folder):
        self.path = folder / "study.toml"
        self.sound = [STUDY, SHORT_STUDY]

    def make(self, rng):
        self.path.write_bytes(mutate_any_text(rng, self.sound))

    def read(self):
        study = load_study(self.path)
        assert StudySpec.parse(study.model_dump_json()) == study
        for unit in study.units()[:3]:
            assert re.fullmatch(r"alpha=[\w.+-]+_n_train=\w+_seed=\d+_[0-9a-f]{12}", unit.id)
            assert unit.evaluation_steps[-1] == study.training.steps


class Task:
    errors = TaskError

    def __init__(self, folder):
        self.path = folder / "task.safetensors"
        self.sound = list(sound_tasks(folder))

    def make(self, rng):
        self.path.write_bytes(mutate_tensors(rng, self.sound))

    def read(self):
        task, sample = MultitaskSparseParity.load(self.path)
        used = [tuple(row[row >= 0]) for row in task.subsets]
        assert [len(set(subset)) for subset in used] == list(task.spec.subset_sizes)
        assert len(set(used)) == task.spec.n_subtasks
        assert sample is None or torch.equal(task.label(sample.subtask, sample.bits), sample.label)
        task.sample(5)


class Curves:
    errors = CurvesError

    def __init__(self, folder):
        self.path = folder / "fuzzed.nc"
        self.folder = folder
        self.sound = list(sound_curves(folder))

    def make(self, rng):
        self.path.write_bytes(mutate_netcdf(rng, self.sound, self.folder))

    def read(self):
        curves = load_curves(self.path)
        assert validate(curves) is curves
        assert all(variable.dtype.kind in "iufb" for variable in curves.variables.values())


class Run:
    """A manifest or a study.json, as whoever opens the run directory reads it."""

    errors = StoreError

    def __init__(self, folder):
        self.run = sound_run(folder)
        self.folder = self.run.folder(UNIT)
        self.files = [self.folder / "manifest.json", self.run.path / "study.json"]
        self.sound = [file.read_text() for file in self.files]
        self.path = self.run.path

    def make(self, rng):
        for file, text in zip(self.files, self.sound, strict=True):
            file.write_text(text)
        which = int(rng.integers(2))
        self.files[which].write_bytes(mutate_any_text(rng, [self.sound[which]]))

    def read(self):
        run = RunDirectory(self.run.path)
        assert StudySpec.parse(run.study.model_dump_json()) == run.study
        manifest = run.manifest(UNIT)  # None if it is not readable
        if manifest is not None:
            assert Manifest.parse(manifest.model_dump_json(by_alias=True)) == manifest
        load_population(self.folder)


class Weights:
    errors = StoreError

    def __init__(self, folder):
        self.run = sound_run(folder)
        self.path = self.run.folder(UNIT)
        self.file = self.path / "weights.safetensors"
        self.manifest = json.loads((self.path / "manifest.json").read_text())
        self.sound = [sort_header(self.file.read_bytes())]

    def make(self, rng):
        self.file.write_bytes(mutate_tensors(rng, self.sound))
        self.manifest["checksums"]["weights.safetensors"] = checksum(self.file)
        (self.path / "manifest.json").write_text(json.dumps(self.manifest))

    def read(self):
        sound = trained().population.state_dict()
        for name, tensor in load_population(self.path).state_dict().items():
            assert (tensor.dtype, tensor.shape) == (sound[name].dtype, sound[name].shape)


class Checkpoints:
    errors = CheckpointError

    def __init__(self, folder):
        self.path = folder / "fuzzed.safetensors"
        self.folder = folder
        self.sound = list(sound_checkpoints(folder))

    def make(self, rng):
        self.path.write_bytes(mutate_state(rng, self.sound, self.folder))

    def read(self):
        trainer = Trainer(UNIT)
        assert Checkpoint(self.path).restore(trainer)
        with suppress(DivergedError):  # whoever makes the weights decides
            validate(train_unit(UNIT, keeper=Checkpoint(self.path)).curves)


class HowFar:
    """What tells how far a unit is: its manifest and its checkpoint."""

    errors = StoreError

    def __init__(self, folder):
        self.run = sound_run(folder)
        self.path = self.run.path
        self.folder = self.run.folder(UNIT)
        self.manifest = (self.folder / "manifest.json").read_text()
        self.checkpoints = list(sound_checkpoints(folder))

    def make(self, rng):
        files = {
            "manifest.json": mutate_any_text(rng, [self.manifest]),
            "checkpoint.safetensors": mutate_tensors(rng, self.checkpoints),
        }
        for name, content in files.items():
            (self.folder / name).unlink(missing_ok=True)
            if rng.integers(3):
                (self.folder / name).write_bytes(content)

    def read(self):
        status = read_status(self.run)
        [unit] = status.units
        assert 0 <= unit.n_steps <= 20
        assert status.seconds_left is None or 0 <= status.seconds_left < np.inf
        json.dumps(status.to_dict(), allow_nan=False)
        shown = io.StringIO()
        render_status(status, Console(file=shown, width=200))
        assert all(line.isprintable() for line in shown.getvalue().split("\n"))


READERS = (Study, Task, Curves, Run, Weights, Checkpoints, HowFar)


class Watch:
    """What is done that no reader does, while it is told to watch."""

    def __init__(self):
        self.watching = False
        self.seen = []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if not self.watching:
            return
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes or FORBIDDEN.fullmatch(event):
            self.seen.append(f"{event} {arguments}")


def outcome(reader, number, watch):
    """Read one input and say what came of it: "read", "refused", or what is wrong."""
    reader.make(np.random.default_rng(number))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch.seen.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        watch.watching = True
        try:
            reader.read()
            result = "read"
        except reader.errors as error:
            line = str(error)
            good = line.isprintable() and len(line) < 2000 and str(reader.path) in line
            result = "refused" if good else f"not one clear line: {line!r:.300}"
        except BaseException:
            result = f"traceback: {traceback.format_exc()[-1500:]}"
        finally:
            watch.watching = False
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    if warned:
        result = f"warned: {warned[0].message!r:.300}"
    if watch.seen:
        result = f"did: {watch.seen}"
    if grown > MEBIBYTES:
        result = f"took {grown} MiB"
    return result


def main(first, count, *names):
    torch.set_num_threads(1)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        readers = []
        for reader in READERS:
            if not names or reader.__name__ in names:
                (Path(folder) / reader.__name__).mkdir()
                readers.append(reader(Path(folder) / reader.__name__))
        for number in range(int(first), int(first) + int(count)):
            reader = readers[number % len(readers)]
            started = time.perf_counter()
            result = outcome(reader, number, watch)
            seconds = time.perf_counter() - started
            line = {"number": number, "reader": type(reader).__name__, "outcome": result, "seconds": seconds}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
