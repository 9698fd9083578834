"""Make files that nobody would write, and read them: the worker of test_fuzz.py.

``python tests/fuzzing.py FIRST COUNT [READER...]`` reads the inputs of these numbers, which decide them, and
prints a line of JSON about each. The readers, or those that are named, take turns.
"""

import json
import os
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from quanta import checkpoint as checkpoint_module
from quanta.checkpoint import Checkpoint, CheckpointError
from quanta.curves import CurvesError, load_curves, make_curves, save_curves, validate
from quanta.spec import StudySpec, load_study
from quanta.store import Manifest, RunDirectory, StoreError, checksum, load_population
from quanta.training import DivergedError, Trainer, train_unit
from tasks.config import ConfigError
from tasks.sparse_parity import MultitaskSparseParity, TaskError
from tasks.spec import TaskSpec

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


def split(words):
    return words.split()


WORDS = [
    *split("0 -1 1 2 0.5 1e308 -1e-320 1e999 nan inf NaN -Infinity true null online 1979-05-27T07:32:00Z"),
    *(str(2**power) for power in (16, 31, 32, 53, 63, 64)),
    *("9" * 5000, "0x" + "f" * 5000, "1" * 300, "10" * 9, "100000", "1000000000"),
    *('""', '"../../x"', '"/etc/passwd"', '"\\u0000"', '"\\ud800"', '"\\n\\u001b[31m"', '"uniform"'),
    *("'", '"', '"""', "[]", "{}", "[[]]", "[1,", *"{}]=,:.#\0\n\r\ufeffé\u2028\x1b"),
    *("[" * 5000, '{"a":' * 5000, "a." * 2000, "a={" * 2000),
]
"""Pieces of TOML and JSON that somebody may not have thought of."""


def choose(rng, values):
    return values[rng.integers(len(values))]


# Mutations. Each makes a new input of one or more sound ones.


def mutate_bytes(rng, sound):
    """Flip, cut, insert, repeat and splice."""
    data = bytearray(choose(rng, sound))
    for _ in range(min(rng.geometric(0.5), 8)):
        if not data:
            break
        start = int(rng.integers(len(data)))
        end = min(len(data), start + int(rng.geometric(1 / choose(rng, (2, 16, 200)))))
        size = choose(rng, (1, 2, 4, 8))
        number = int(choose(rng, (0, 1, 127, 128, 255, 2**15, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)))
        other = choose(rng, sound)
        match rng.integers(9):
            case 0:
                data[start] ^= 1 << rng.integers(8)
            case 1:
                data[start] = rng.integers(256)
            case 2:
                packed = (number % 256**size).to_bytes(size, choose(rng, ("little", "big")))
                data[start : start + size] = packed
            case 3:
                del data[start:]
            case 4:
                del data[start:end]
            case 5:
                data[start:start] = rng.bytes(end - start)
            case 6:
                data[start:start] = data[start:end] * int(rng.integers(1, 20))
            case 7:
                data[start:end] = bytes(end - start)
            case 8:
                data[start:] = other[int(rng.integers(len(other))) if rng.integers(2) else start :]
    return bytes(data)


def mutate_text(rng, sound):
    """Change, drop, repeat and swap words and lines."""
    words = re.findall(r"\w+|\s+|[^\w\s]", choose(rng, sound))
    for _ in range(min(rng.geometric(0.5), 6)):
        place, other = (int(rng.integers(len(words))) for _ in range(2))
        match rng.integers(6):
            case 0 | 1:
                words[place] = choose(rng, WORDS)
            case 2:
                words[place] = ""
            case 3:
                words[place] *= int(rng.integers(2, 50))
            case 4:
                words[place], words[other] = words[other], words[place]
            case 5:
                lines = choose(rng, sound).splitlines(keepends=True)
                words[place] += choose(rng, lines)
    return "".join(words)


def mutate_any_text(rng, sound):
    if rng.integers(3):
        return mutate_text(rng, sound).encode()
    return mutate_bytes(rng, [text.encode() for text in sound])


def mutate_tensors(rng, sound):
    """Change the header of a safetensors file as text, or its bytes."""
    if rng.integers(2):
        return mutate_bytes(rng, sound)
    data = choose(rng, sound)
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = data[8:end].decode()
    if rng.integers(2):
        values = json.loads(header)
        metadata = values.get("__metadata__", {})
        texts = [key for key in metadata if metadata[key].startswith("{")]
        key = choose(rng, texts if texts and rng.integers(4) else list(metadata))
        metadata[key] = mutate_text(rng, [metadata[key]]).encode(errors="replace").decode()
        header = json.dumps(values)
    else:
        header = mutate_text(rng, [header])
    header = header.encode()
    return struct.pack("<Q", len(header)) + header + data[end:]


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
    metadata = {
        "format": checkpoint_module.FORMAT,
        "unit": UNIT.model_dump_json(),
        "n_steps": str(int(state["n_steps"])) if "n_steps" in state else "",
        "sha256": checkpoint_module._digest(state),
    }
    save_file(state, path, metadata)
    return path.read_bytes()


def mutate_netcdf(rng, sound, folder):
    """Change the structure of a netCDF file, or its bytes."""
    path = folder / "sound.nc"
    path.write_bytes(choose(rng, sound))
    if rng.integers(2):
        with h5py.File(path, "r+") as file:
            for _ in range(rng.integers(1, 3)):
                with suppress(
                    AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError
                ):  # what HDF5 refuses
                    mutate_structure(rng, file)
    if rng.integers(3):
        return mutate_bytes(rng, [path.read_bytes(), *sound])
    return path.read_bytes()


def mutate_structure(rng, file):
    name = choose(rng, sorted(file))
    owner = choose(rng, (file, file[name]))
    values = [
        *(1, -1, 2**40, 1.5, np.nan, np.inf, True, 1j, np.float16(1), np.arange(3), np.zeros(0)),
        *("text", "", "\x1b[31m\n", "[" * 3000, b"\xff\xfe", np.array(["a", "b"], dtype=object)),
        *(np.void(b"abc"), h5py.Empty("f"), np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])),
    ]
    keys = split(
        "schema study units_missing _FillValue missing_value scale_factor add_offset valid_range units dtype "
        "coordinates grid_mapping compress calendar CLASS NAME DIMENSION_LIST _Netcdf4Coordinates "
        "_Netcdf4Dimid _Unsigned _Encoding x \x1b"
    )
    dtypes = [*split("f2 f4 f8 i1 u1 i8 u8 >f8 S3 c8 ? V3"), h5py.string_dtype(), h5py.vlen_dtype("f4")]
    dtype = choose(rng, dtypes)
    match rng.integers(12):
        case 0 | 1 | 2:
            owner.attrs[choose(rng, keys)] = choose(rng, values)
        case 3:
            for key in list(owner.attrs)[: rng.integers(1, 4)]:
                del owner.attrs[key]
        case 4:
            del file[name]
        case 5:
            file.move(name, choose(rng, ("x", "loss", "step", "\x1b", "_nc4_non_coord_step", name + "y")))
        case 6:
            shape = choose(rng, ((), (0,), (3,), (2, 3), file[name].shape, (10**9, 10**9)))
            chunks = None if 0 in shape or not shape else tuple(min(size, 10) for size in shape)
            attributes = dict(file[name].attrs) if rng.integers(2) else {}
            del file[name]
            new = file.create_dataset(name, shape, dtype, chunks=chunks)
            for key in attributes.keys() - {"REFERENCE_LIST", "DIMENSION_LIST"}:
                new.attrs[key] = attributes[key]
            if new.ndim == 1 and rng.integers(2):
                new.make_scale()
        case 7:
            new = file.create_dataset(f"extra{rng.integers(3)}", file[name].shape, dtype)
            for place in range(new.ndim):
                new.dims[place].attach_scale(file[choose(rng, sorted(file))])
        case 8:
            link = choose(rng, (h5py.SoftLink("/loss"), h5py.ExternalLink("other.nc", "/loss"), None))
            file["link"] = file[name] if link is None else link
        case 9:
            file.create_group("group")["inner"] = 1
        case 10:
            if file[name].ndim and file[name].size and file[name].dtype.kind in "fiu":
                place = tuple(int(rng.integers(size)) for size in file[name].shape)
                numbers = (0, 1, 100) + (np.nan, np.inf, 1e300, -1) * (file[name].dtype.kind == "f")
                with np.errstate(over="ignore"):
                    file[name][place] = choose(rng, numbers)
        case 11:
            if file[name].chunks:
                offset = (0,) * file[name].ndim
                file[name].id.write_direct_chunk(offset, rng.bytes(rng.integers(1, 99)), int(rng.integers(2)))


# Sound inputs.

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
    return train_unit(UNIT)


def sound_tasks(folder):
    for spec, n_samples in (({"k": (1, 2, 2, 3)}, 9), ({"k": 2, "alpha": "uniform"}, 0)):
        task = MultitaskSparseParity(TaskSpec(n_subtasks=4, n_bits=9, **spec), 3)
        sample = task.sample(n_samples, torch.Generator().manual_seed(0)) if n_samples else None
        task.save(folder / "task.safetensors", sample)
        yield (folder / "task.safetensors").read_bytes()


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
    run.write_done(UNIT, trained(), device=torch.device("cpu"), started=datetime.now(UTC))
    return run


def sound_checkpoints(folder):
    path = folder / "checkpoint.safetensors"
    for n_steps in (0, 7, 20):
        trainer = Trainer(UNIT)
        for step in range(n_steps + 1):
            if step in UNIT.evaluation_steps[:-1]:
                trainer.record()
            if step < n_steps:
                trainer.advance(1)
        Checkpoint(path).save(trainer)
        yield path.read_bytes()


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
        self.sound = [self.file.read_bytes()]

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


READERS = (Study, Task, Curves, Run, Weights, Checkpoints)


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
