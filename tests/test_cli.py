import csv
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import quanta
from quanta.cli import main
from quanta.curves.dataset import make_curves, save_curves
from quanta.store import checkpoint
from quanta.store.run_directory import RunDirectory, load
from quanta.study.spec import load_study
from quanta.sweep.units import run_sweep
from quanta.tasks.frequencies import zipf_frequencies
from quanta.tasks.sparse_parity import MultitaskSparseParity
from quanta.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
COMMANDS = ["generate", "train", "status", "verify", "simulate", "analyze", "figures", "demo"]
FIGURES = [
    "learning_curves",
    "emergence_map",
    "loss_scaling",
    "count",
    "learning_times",
    "reconstruction",
    "q_sequence",
    "consensus",
    "agreement",
    "scaling_fits",
    "window_audit",
    "final_values",
    "drops",
    "reconstruction_null",
]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    """Nothing is set that changes the output, and default folders are empty ones."""
    for name in os.environ:
        if name.startswith("QUANTA_") or name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run(*arguments, env=None, exit_code=0):
    """Run a command; exceptions other than its own are mistakes in the program."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.stderr
    return result


def fail(*arguments, exit_code, env=None):
    """Run a command that must fail with nothing on stdout; its one line."""
    result = run(*arguments, exit_code=exit_code, env=env)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    # click adds how the command is used, where it is an option or an argument that it refuses.
    assert all(line.startswith(("Usage: ", "Try ")) or not line for line in lines[:-1]), result.stderr
    assert lines[-1].startswith("Error: ")
    return lines[-1]


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def parse_json(text):
    """One object on one line, and nothing else; without NaN, which most readers refuse."""
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse_constant)


class TestMain:
    @pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=["main", *COMMANDS])
    def test_help(self, command):
        result = run(*command, "--help")
        assert result.stdout.startswith(f"Usage: {' '.join(['main', *command])} ")
        assert result.stderr == ""
        assert run(*command, "-h").stdout == result.stdout

    def test_help_lists_every_command(self):
        text = run("--help").stdout
        assert sorted(main.commands) == sorted(COMMANDS)
        assert all(f"\n  {command} " in text for command in COMMANDS)

    def test_no_command(self):
        assert "Commands:" in run(exit_code=2).stderr

    def test_unknown_command(self):
        assert "No such command 'analyse'" in fail("analyse", exit_code=2)

    def test_version(self):
        assert run("--version").stdout.split()[-1] == quanta.__version__

    def test_help_waits_for_no_heavy_import(self):
        heavy = {"torch", "numpy", "xarray", "pandas", "matplotlib", "scipy", "pydantic", "rich"}
        program = (
            "import sys, time\nfrom quanta.cli import main\nmain(['--help'], standalone_mode=False)\n"
            f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)\n"
            "print(time.process_time(), file=sys.stderr)"
        )
        done = python("-c", program)
        imported, seconds = done.stderr.splitlines()
        assert "Commands:" in done.stdout
        assert imported == "[]"
        assert float(seconds) < 0.5


def python(*arguments):
    """Run a Python of its own in the root of the repository."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=True
    )


class TestGenerate:
    def test_the_file_is_what_was_asked_for(self, tmp_path):
        path = tmp_path / "new" / "task.safetensors"
        arguments = ("-K", 5, "-n", 9, "-k", 2, "--alpha", 0.7, "--offset", 1.5, "--seed", 3)
        result = run("generate", path, *arguments, "--samples", 11)
        task, sample = MultitaskSparseParity.load(path)
        assert task.seed == 3
        assert task.spec.model_dump() == {"n_subtasks": 5, "n_bits": 9, "k": 2, "alpha": 0.7, "offset": 1.5}
        assert sample.bits.shape == (11, 9)
        assert result.stderr == ""
        p = task.frequencies
        assert result.stdout == (
            f"{path}: 5 subtasks on 9 bits, frequencies Zipf with exponent 1.7, "
            f"from {p[0]:.3g} to {p[-1]:.3g}; 11 samples\n"
        )

    def test_json(self, tmp_path):
        path = tmp_path / "task.safetensors"
        result = run("generate", path, "--seed", 4, "--samples", 3, "--json")
        task, _ = MultitaskSparseParity.load(path)
        assert result.stderr == ""
        assert parse_json(result.stdout) == {
            "schema": 1,
            "path": str(path),
            "seed": 4,
            "samples": 3,
            "n_subtasks": 500,
            "n_bits": 100,
            "k": 3,
            "alpha": 0.4,
            "offset": 0.0,
            "frequencies": task.frequencies.tolist(),
        }

    def test_without_samples(self, tmp_path):
        path = tmp_path / "task.safetensors"
        assert run("generate", path).stdout.endswith("; no samples\n")
        assert MultitaskSparseParity.load(path)[1] is None
        assert parse_json(run("generate", path, "--json").stdout)["samples"] is None

    def test_uniform_and_mixed_k(self, tmp_path):
        path = tmp_path / "task.safetensors"
        result = run("generate", path, "-K", 3, "-n", 5, "-k", "1,2,4", "--alpha", "uniform")
        assert "3 subtasks on 5 bits, frequencies uniform, from 0.333 to 0.333" in result.stdout
        task, _ = MultitaskSparseParity.load(path)
        assert (task.subsets >= 0).sum(axis=1).tolist() == [1, 2, 4]
        found = parse_json(
            run("generate", path, "-K", 3, "-n", 5, "-k", "1,2,4", "--alpha", "uniform", "--json").stdout
        )
        assert (found["k"], found["alpha"], found["frequencies"]) == ([1, 2, 4], "uniform", [1 / 3] * 3)

    def test_more_samples_than_fit_in_memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tasks.spec.memory_size", lambda: 2**20)
        path = tmp_path / "task.safetensors"
        assert "samples of 100 bits must be at most " in fail(
            "generate", path, "--samples", 10**6, exit_code=2
        )
        assert not path.exists()

    def test_a_lack_of_memory_is_an_error_in_one_line(self, tmp_path, monkeypatch):
        def no_memory(*arguments):
            raise MemoryError("Unable to allocate 9 GiB")

        monkeypatch.setattr(MultitaskSparseParity, "save", no_memory)
        line = fail("generate", tmp_path / "task", exit_code=1)
        assert line == "Error: out of memory (Unable to allocate 9 GiB)"

    def test_the_same_seed_makes_the_same_file(self, tmp_path):
        found = []
        for seed in (1, 1, 2):
            run("generate", tmp_path / "task", "--samples", 50, "--seed", seed)
            found.append(load_file(tmp_path / "task"))
        one, same, other = found
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert [name for name in one if torch.equal(one[name], other[name])] == ["frequencies"]

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--k", "3,x"), "'3,x' is neither a whole number nor several with commas."),
            (("--k", ""), "'' is neither a whole number"),
            (("--k", "3,2"), "k must be one number or 500 (one per subtask), not 2"),
            (("--k", "0"), "k: must be"),
            (("-n", "2"), "k must satisfy 1 <= k <= n_bits (2), not 3"),
            (("-K", "0"), "0 is not in the range 1<=x<=100000"),
            (("-n", "5000"), "5000 is not in the range 1<=x<=4096"),
            (("-K", "11", "-n", "5"), "n_subtasks must be at most 10"),
            (("--alpha", "steep"), "'steep' is neither a number nor 'uniform'."),
            (("--alpha", "nan"), "alpha: must be a finite number or 'uniform', not nan"),
            (("--alpha", "-2"), "alpha: must be"),
            (("--offset", "-1"), "-1.0 is not in the range x>-1"),
            (("--offset", "inf"), "offset: must be a finite number"),
            (("--seed", "-1"), "-1 is not in the range x>=0"),
            (("--samples", "0"), "0 is not in the range 1<=x<=100000000"),
            (("--samples", "many"), "'many' is not a valid integer range"),
        ],
    )
    def test_bad_values(self, tmp_path, arguments, says):
        assert says in fail("generate", tmp_path / "task", *arguments, exit_code=2)
        assert not (tmp_path / "task").exists()

    def test_a_folder_as_path(self, tmp_path):
        assert "is a directory" in fail("generate", tmp_path, exit_code=2)

    def test_a_path_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        assert "file" in fail("generate", tmp_path / "file" / "task", exit_code=1)


class TestTrain:
    def test_a_study(self, tiny_toml, tiny_study, tmp_path, finished):
        out = tmp_path / "run"
        result = run("train", tiny_toml, "--out", out, "--device", "cpu")
        assert result.stdout == f"{out}\n"
        assert result.stderr == "tiny: 3 of 3 units to train on cpu, 2 widths together, 20 steps each\n"
        assert RunDirectory(out).study == tiny_study
        assert RunDirectory(out).pending() == []
        np.testing.assert_array_equal(load(out)["loss"], load(finished)["loss"])

    def test_where_it_goes_without_out(self, tiny_toml):
        assert run("train", tiny_toml, "--set", "seed=1").stdout == "runs/tiny\n"
        assert RunDirectory("runs/tiny").pending() == []

    def test_the_same_command_continues(self, tiny_toml, copied):
        shutil.rmtree(next((copied / "units").glob("*seed=1*")))
        result = run("train", tiny_toml, "--out", copied)
        assert "1 of 3 units to train" in result.stderr
        assert "0 of 3 units to train" in run("train", tiny_toml, "--out", copied).stderr

    def test_set(self, tiny_toml, tmp_path):
        changes = ("--set", "seed=[5]", "--set", "training.steps=3", "--set", "alpha=uniform")
        run("train", tiny_toml, "--out", tmp_path / "run", *changes)
        study = RunDirectory(tmp_path / "run").study
        assert (study.seed, study.training.steps, study.alpha) == ((5,), 3, ("uniform",))

    def test_another_study_in_the_folder(self, tiny_toml, copied):
        arguments = ("train", tiny_toml, "--out", copied, "--set", "training.steps=21")
        line = fail(*arguments, exit_code=1)
        assert "holds another study (different training.steps); choose another --out, or --overwrite" in line
        result = run(*arguments, "--overwrite")
        assert "3 of 3 units to train on cpu, 2 widths together, 21 steps each" in result.stderr

    def test_something_else_in_the_folder(self, tiny_toml, tmp_path):
        (tmp_path / "thesis.txt").write_text("years of work")
        for options in ((), ("--overwrite",)):
            line = fail("train", tiny_toml, "--out", tmp_path, *options, exit_code=1)
            assert "neither empty nor a run directory; choose another --out" in line
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_list(self):
        lines = run("train", "--list").stdout.splitlines()
        assert [line.split()[0] for line in lines] == list(quanta.shipped_studies())
        assert all(len(line.split()) > 3 for line in lines)

    def test_no_study(self):
        assert "Missing argument 'STUDY'" in fail("train", exit_code=2)

    def test_unknown_study(self):
        line = fail("train", "dema", exit_code=1)
        assert line.startswith("Error: no study 'dema': expected a .toml file or one of ")
        assert "demo" in line

    @pytest.mark.parametrize(
        ("override", "says"),
        [
            ("training.step=3", "training.step: unknown key, did you mean training.steps?"),
            ("trainings.steps=3", "trainings: unknown key, did you mean training?"),
            ("training.steps=0", "training.steps: must be greater than or equal to 1, not 0"),
            ("training.steps", "expected KEY=VALUE, such as training.steps=1000"),
        ],
    )
    def test_bad_overrides(self, tiny_toml, override, says):
        assert says in fail("train", tiny_toml, "--set", override, exit_code=2)
        assert not Path("runs").exists()

    def test_a_file_that_is_not_toml(self, tmp_path):
        (tmp_path / "study.toml").write_text("name = tiny")
        assert "study.toml: not TOML" in fail("train", tmp_path / "study.toml", exit_code=2)

    def test_cuda_where_there_is_none(self, tiny_toml, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        line = fail("train", tiny_toml, "--device", "cuda", exit_code=2)
        assert "torch finds no CUDA device" in line
        assert not Path("runs").exists()

    def test_the_environment_is_a_default_that_options_beat(self, tiny_toml):
        env = {"QUANTA_TRAIN_DEVICE": "abacus", "QUANTA_TRAIN_OUT": "elsewhere"}
        assert "'abacus' is not one of" in fail("train", tiny_toml, exit_code=2, env=env)
        assert run("train", tiny_toml, "--device", "cpu", env=env).stdout == "elsewhere\n"
        assert run("train", tiny_toml, "--device", "cpu", "--out", "there", env=env).stdout == "there\n"

    def test_failing_units(self, tiny_toml, tmp_path):
        out = tmp_path / "run"
        arguments = ("train", tiny_toml, "--out", out, "--set", "training.learning_rate=1e30")
        result = run(*arguments, exit_code=3)
        assert result.stdout == f"{out}\n"
        ids = [unit.id for unit in RunDirectory(out).study.units()]
        for line, unit in zip(result.stderr.splitlines()[1:], ids, strict=True):
            assert line.startswith(f"failed: {unit}: the loss is not finite at step 1 for widths ")
        again = run(*arguments, exit_code=3).stderr.splitlines()
        assert "0 of 3 units to train" in again[0]
        assert again[1].startswith(
            "note: units that failed before, 3 of them, are left alone; `quanta train "
        )
        assert again[2:] == result.stderr.splitlines()[1:]
        retried = run(*arguments, "--retry-failed", exit_code=3)
        assert retried.stderr == result.stderr

    def test_interruption(self, tiny_toml, tmp_path, monkeypatch):
        def interrupted(sweep, device, advance, should_stop, *others):
            calls = iter(range(1, 1000))
            return run_sweep(sweep, device, advance, lambda: next(calls) == 45, *others)

        monkeypatch.setattr(quanta, "run_sweep", interrupted)
        result = run("train", tiny_toml, "--out", tmp_path / "run", exit_code=1)
        assert result.stdout == ""
        assert result.stderr.splitlines()[1:] == [
            f"Error: interrupted: 2 of 3 units are done in {tmp_path / 'run'}; the same command continues "
            "where it stopped"
        ]

    def test_a_damaged_checkpoint_is_told(self, tiny_toml, tmp_path):
        unit = RunDirectory.create(tmp_path / "run", load_study(tiny_toml)).study.units()[0]
        file = RunDirectory(tmp_path / "run").folder(unit) / "checkpoint.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"damaged")
        lines = run("train", tiny_toml, "--out", tmp_path / "run").stderr.splitlines()
        assert lines[1].startswith(f"note: {file}: not a checkpoint of this unit (")
        assert lines[1].endswith("); the unit starts again")

    def test_shards_are_parts_of_the_study(self, tiny_toml, tmp_path, finished):
        out = tmp_path / "run"
        found = []
        for shard in ("2/2", "1/2", "4/7"):
            result = run("train", tiny_toml, "--out", out, "--shard", shard)
            assert result.stdout == f"{out}\n"
            found.append(result.stderr.split(" units ")[0])
        assert found == ["tiny: 1 of 1", "tiny: 2 of 2", "tiny: 0 of 0"]
        assert load(out).identical(load(finished))

    def test_threads(self, tiny_toml, monkeypatch):
        asked = []
        monkeypatch.setattr(torch, "set_num_threads", asked.append)
        run("train", tiny_toml, "--threads", 3)
        assert asked[0] == 3

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--shard", "1"), "'1' is not two whole numbers as in 1/4."),
            (("--shard", "1/2/3"), "'1/2/3' is not two whole numbers"),
            (("--shard", "a/2"), "'a/2' is not two whole numbers"),
            (("--shard", "0/2"), "'0/2' must satisfy 1 <= I <= N."),
            (("--shard", "3/2"), "'3/2' must satisfy 1 <= I <= N."),
            (
                ("--scheduler", "tcp://host"),
                "'tcp://host' is not of the form tcp://HOST:PORT or tls://HOST:PORT.",
            ),
            (("--scheduler", "host:8786"), "'host:8786' is not of the form"),
            (("--workers", "0"), "0 is not in the range 1<=x<=1024"),
            (("--threads", "0"), "0 is not in the range 1<=x<=4096"),
            (("--workers", "2", "--shard", "1/2"), "--workers, --scheduler and --shard exclude each other"),
            (("--scheduler", "tcp://host:1", "--workers", "2"), "exclude each other"),
            (("--overwrite", "--shard", "1/2"), "--overwrite is not for --shard"),
            (("--tls-key", ROOT / "setup.cfg"), "are for a --scheduler at tls://"),
            (
                ("--tls-cert", ROOT / "setup.cfg", "--scheduler", "tcp://host:1"),
                "are for a --scheduler at tls://",
            ),
            (("--tls-ca-file", "no.pem", "--scheduler", "tls://host:1"), "'no.pem' does not exist"),
        ],
    )
    def test_who_trains_is_refused(self, tiny_toml, arguments, says):
        assert says in fail("train", tiny_toml, *arguments, exit_code=2)
        assert not Path("runs").exists()

    @pytest.mark.parametrize("arguments", [("--workers", "2"), ("--scheduler", "tcp://127.0.0.1:1")])
    def test_a_cluster_without_dask(self, tiny_toml, monkeypatch, arguments):
        monkeypatch.delitem(sys.modules, "quanta.sweep.cluster", raising=False)
        monkeypatch.setitem(sys.modules, "distributed", None)
        assert fail("train", tiny_toml, *arguments, exit_code=1) == (
            "Error: --workers and --scheduler need distributed: pip install distributed"
        )
        assert not Path("runs").exists()

    def test_no_compiler_is_told(self, tiny_toml, tmp_path, monkeypatch):
        monkeypatch.setattr("quanta.training.kernel.why_not_compiled", lambda: "no C compiler")
        result = run("train", tiny_toml, "--out", tmp_path / "run")
        note = "note: training without compiled code, which is slower: no C compiler"
        assert note in result.stderr.splitlines()

    def test_precision(self, tiny_toml, tmp_path):
        run("train", tiny_toml, "--out", tmp_path / "run", "--precision", "bf16")
        assert RunDirectory(tmp_path / "run").study.training.precision == "bf16"

    def test_no_progress_where_nobody_looks(self, tiny_toml, tmp_path):
        # FORCE_COLOR, which services for continuous integration set, makes no terminal.
        result = run("train", tiny_toml, "--out", tmp_path / "run", env={"FORCE_COLOR": "1"})
        assert len(result.stderr.splitlines()) == 1


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stop_a_sweep_that_the_same_command_continues(self, number, tiny_toml, tmp_path):
        out = tmp_path / "run"
        changes = ["--set", "training.steps=1500", "--set", "seed=[0,1,2,3]"]
        arguments = ["train", str(tiny_toml), "--out", str(out), *changes]
        watcher, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "cli.py", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "150"},
        )
        os.close(terminal)
        shown = ""
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([watcher], [], [], 0.05)[0]:
                shown += read(watcher)
            if number and list(out.glob("units/*/manifest.json")):
                process.send_signal(number)
                number = None
        shown += read(watcher)
        os.close(watcher)
        stdout, _ = process.communicate(timeout=1)
        assert process.returncode == 1
        assert stdout == ""
        assert "steps, " in shown  # the bar, as it is a terminal
        sweep = RunDirectory(out)
        left = len(sweep.pending())
        assert 1 <= left <= 3
        assert f"interrupted: {4 - left} of 4 units are done in {out}" in " ".join(shown.split())
        assert not list(out.rglob(".*"))
        done = [manifest.parent for manifest in out.glob("units/*/manifest.json")]
        kept = {file: file.stat().st_mtime_ns for folder in done for file in folder.iterdir()}
        assert len(list(out.rglob("checkpoint.safetensors"))) == 1
        result = run(*arguments)
        assert f"{left} of 4 units to train" in result.stderr
        assert RunDirectory(out).pending() == []
        assert all(file.stat().st_mtime_ns == before for file, before in kept.items())

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_second_one_stops_at_once(self, number, tiny_toml, tiny_study, tmp_path, finished, monkeypatch):
        out = tmp_path / "run"
        steps = []

        def step(trainer):
            steps.append(trainer.n_steps)
            if len(steps) == 8:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)
                steps.append("not reached")
            whole(trainer)

        whole = Trainer.step
        monkeypatch.setattr(Trainer, "step", step)
        monkeypatch.setattr(checkpoint, "MIN_SECONDS", 0.0)
        monkeypatch.setattr(checkpoint, "MAX_SHARE", 1e9)
        result = run("train", tiny_toml, "--out", out, exit_code=1)
        assert result.stderr.endswith("Aborted!\n")
        assert steps == list(range(8))
        assert not list(out.rglob("lock"))
        kept = RunDirectory(out).folder(tiny_study.units()[0]) / "checkpoint.safetensors"
        assert int(load_file(kept)["n_steps"]) == 7
        run("train", tiny_toml, "--out", out)
        assert steps[8] == 7
        for unit in tiny_study.units():
            for name in ("curves.nc", "weights.safetensors"):
                file = RunDirectory(out).folder(unit) / name
                assert file.read_bytes() == (RunDirectory(finished).folder(unit) / name).read_bytes()


def read(descriptor):
    """What is there to be read; the end of a terminal is an error to the system."""
    try:
        return os.read(descriptor, 65536).decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def ideal_nc(tmp_path_factory):
    """Curves from elsewhere in which the hypothesis holds: the first 0.3 w subtasks, each at step 100 / p."""
    width = np.array([4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128])
    step = np.unique(np.geomspace(1, 20_000, 120).astype(int))
    p = zipf_frequencies(64, 0.4)
    late = np.log(step)[:, None] - np.log(100 / p)
    loss = 1 / (1 + 9 * np.exp(np.clip(8 * late, -50, 50)))
    has_room = np.arange(64) < np.floor(0.3 * width)[:, None, None]
    loss = np.broadcast_to(np.where(has_room, loss, 1), (3, 11, step.size, 64))
    path = tmp_path_factory.mktemp("ideal") / "ideal.nc"
    save_curves(
        make_curves(
            loss, frequency=p, step=step, width=width, n_parameters=99 * width, seed=range(3), alpha=0.4
        ),
        path,
    )
    return path


@pytest.fixture
def several(tiny_study, tmp_path):
    """A run directory with two alphas and two n_train."""
    study = tiny_study.model_copy(update={"alpha": (0.2, "uniform"), "n_train": (10, "online"), "seed": (0,)})
    directory = RunDirectory.create(tmp_path / "several", study)
    run_sweep(directory)
    return directory.path


class TestAnalyze:
    def check_schema(self, verdict):
        keys = ["schema", "study", "outcome", "settings", "checks", "exponents", "learned"]
        assert list(verdict) == keys
        assert verdict["schema"] == 1
        assert verdict["outcome"] in ("supported", "rejected", "inconclusive")
        names = ["name", "statistic", "lower", "upper", "threshold", "passed", "why"]
        assert verdict["checks"]
        for check in verdict["checks"]:
            assert list(check) == names
            assert check["passed"] in (True, False, None)
        assert {"alpha_N", "alpha_S", "alpha_D", "beta"} <= set(verdict["exponents"])
        names = ["estimate", "lower", "upper", "expected_infinite", "expected_finite", "expected_count"]
        for exponent in verdict["exponents"].values():
            assert {*names, "bootstrap", "profile", "window", "n_points"} == set(exponent)
            assert all(exponent[name] is None or type(exponent[name]) is float for name in names)
            for interval in (exponent["bootstrap"], exponent["profile"]):
                assert interval is None or interval[0] <= interval[1]
        for learned in verdict["learned"]:
            assert list(learned) == ["seed", "width", "n_parameters", "count", "subtasks"]
            assert learned["count"] == len(learned["subtasks"])

    def test_json_of_a_run_directory(self, copied):
        result = run("analyze", copied, "--json")
        verdict = parse_json(result.stdout)
        assert result.stderr == ""
        self.check_schema(verdict)
        assert (verdict["study"], verdict["outcome"]) == ("tiny", "inconclusive")
        assert [(entry["seed"], entry["width"]) for entry in verdict["learned"]] == [
            (seed, width) for seed in range(3) for width in (2, 4)
        ]

    def test_json_of_a_file(self, ideal_nc):
        result = run("analyze", ideal_nc, "--json")
        verdict = parse_json(result.stdout)
        self.check_schema(verdict)
        assert verdict["outcome"] == "supported"
        assert verdict["study"] is None
        widest = [entry for entry in verdict["learned"] if entry["width"] == 128]
        # Of the 38 that it has room for, those that 20 000 steps are enough for.
        n_learned = int((100 / zipf_frequencies(64, 0.4)[:38] < 20_000).sum())
        assert [entry["subtasks"] for entry in widest] == [list(range(1, n_learned + 1))] * 3

    def test_files_for_a_run_directory(self, copied):
        result = run("analyze", copied, "--json")
        assert sorted(path.name for path in (copied / "analysis").iterdir()) == [
            "agreement.csv",
            "by_tau.csv",
            "consensus.csv",
            "discreteness.csv",
            "inversions.csv",
            "learning_times.csv",
            "models.csv",
            "q_sequence.csv",
            "scaling.csv",
            "verdict.json",
            "windows.csv",
        ]
        there = json.loads((copied / "analysis" / "verdict.json").read_text(), parse_constant=refuse_constant)
        assert there == parse_json(result.stdout)
        q_sequence, scaling = (
            list(csv.DictReader((copied / "analysis" / name).read_text().splitlines()))
            for name in ("q_sequence.csv", "scaling.csv")
        )
        assert len(q_sequence) == 3 * 2 * 4
        assert {"seed", "width", "subtask", "frequency", "learned", "step", "order"} <= set(q_sequence[0])
        assert [(row["seed"], row["width"]) for row in scaling] == [(s, w) for s in "012" for w in "24"]
        mean_loss = load(copied)["mean_loss"].isel(step=-1).values.ravel()
        np.testing.assert_allclose([float(row["mean_loss"]) for row in scaling], mean_loss, rtol=1e-6)

    def test_no_files_beside_a_file(self, ideal_nc):
        run("analyze", ideal_nc)
        assert list(ideal_nc.parent.iterdir()) == [ideal_nc]

    def test_text(self, ideal_nc):
        result = run("analyze", ideal_nc)
        assert result.stderr == ""
        assert "SUPPORTED" in result.stdout.splitlines()[0]
        assert "\x1b" not in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_settings_are_heard(self, ideal_nc):
        wide, narrow = (
            parse_json(run("analyze", ideal_nc, "--json", "--confidence", c, "--bootstrap", 50).stdout)
            for c in (0.99, 0.5)
        )
        assert wide["checks"][1]["statistic"] == narrow["checks"][1]["statistic"]
        strict = parse_json(run("analyze", ideal_nc, "--json", "--tau", 1e-6).stdout)
        assert strict["learned"][-1]["count"] < wide["learned"][-1]["count"]

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_strict(self, copied, ideal_nc, options):
        assert run("analyze", ideal_nc, "--strict", *options).stdout
        assert run("analyze", copied, "--strict", *options, exit_code=4).stdout
        assert run("analyze", copied, *options).stdout

    def test_several_alphas_and_n_train(self, several):
        assert fail("analyze", several, exit_code=1) == (
            "Error: alpha must be chosen: the curves hold -1, 0.2"
        )
        assert fail("analyze", several, "--alpha", -1, exit_code=1) == (
            "Error: n_train must be chosen: the curves hold 10, inf"
        )
        assert fail("analyze", several, "--alpha", 3, exit_code=1) == (
            "Error: alpha must be one of -1, 0.2, not 3"
        )
        verdict = parse_json(run("analyze", several, "--alpha", -1, "--n-train", "inf", "--json").stdout)
        self.check_schema(verdict)
        assert verdict["exponents"]["alpha_N"]["expected_infinite"] is None
        zipf = parse_json(run("analyze", several, "--alpha", 0.2, "--n-train", 10, "--json").stdout)
        assert zipf["exponents"]["alpha_N"]["expected_infinite"] == pytest.approx(0.2)

    def test_missing_units_are_told(self, copied):
        shutil.rmtree(next((copied / "units").glob("*seed=1*")))
        result = run("analyze", copied, "--json")
        assert result.stderr == "note: 1 units of the study are not done; seeds they belong to are left out\n"
        assert {entry["seed"] for entry in parse_json(result.stdout)["learned"]} == {0, 2}

    def test_nothing_done_yet(self, copied):
        shutil.rmtree(copied / "units")
        assert "0 of 3 units are done and no seed is complete" in fail("analyze", copied, exit_code=1)
        assert not (copied / "analysis").exists()

    def test_a_damaged_file(self, ideal_nc, tmp_path):
        data = ideal_nc.read_bytes()
        (tmp_path / "cut.nc").write_bytes(data[: len(data) // 2])
        line = fail("analyze", tmp_path / "cut.nc", exit_code=1)
        assert "cut.nc: not a readable netCDF-4 file" in line

    def test_a_missing_path(self):
        assert "'missing' does not exist" in fail("analyze", "missing", exit_code=2)

    def test_a_folder_of_something_else(self, tmp_path):
        assert "not a run directory" in fail("analyze", tmp_path, exit_code=1)

    @pytest.mark.parametrize(
        ("option", "value"),
        [("--tau", 0), ("--tau", 1), ("--confidence", 1), ("--bootstrap", 0), ("--seed", -1)],
    )
    def test_values_out_of_range(self, ideal_nc, option, value):
        assert f"{value}" in fail("analyze", ideal_nc, option, value, exit_code=2)


class TestFigures:
    # SVG is what the tests below write.
    @pytest.mark.parametrize(("file_format", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
    def test_formats(self, copied, file_format, magic):
        result = run("figures", copied, "--format", file_format)
        paths = result.stdout.splitlines()
        assert result.stderr == ""
        assert paths == [str(copied / "figures" / f"{name}.{file_format}") for name in FIGURES]
        assert all(Path(path).read_bytes().startswith(magic) for path in paths)

    def test_of_a_file_stand_beside_it(self, ideal_nc, tmp_path):
        path = shutil.copy(ideal_nc, tmp_path / "ideal.nc")
        paths = run("figures", path, "--format", "svg").stdout.splitlines()
        assert paths == [str(tmp_path / "figures" / f"{name}.svg") for name in FIGURES]
        assert all(Path(path).read_text().startswith("<?xml") for path in paths)

    def test_out_and_choice(self, several, tmp_path):
        assert "alpha must be chosen" in fail("figures", several, exit_code=1)
        choice = ("--alpha", 0.2, "--n-train", 10, "--out", tmp_path / "out", "--format", "svg")
        paths = run("figures", several, *choice).stdout.splitlines()
        assert sorted(paths) == sorted(str(path) for path in (tmp_path / "out").iterdir())
        assert not (several / "figures").exists()

    def test_no_such_format(self, copied):
        assert "'gif' is not one of 'png', 'svg', 'pdf'" in fail(
            "figures", copied, "--format", "gif", exit_code=2
        )

    def test_a_folder_that_cannot_be_made(self, copied, tmp_path):
        (tmp_path / "file").touch()
        assert "file" in fail("figures", copied, "--out", tmp_path / "file" / "figures", exit_code=1)


class TestDemo:
    @pytest.fixture
    def small(self, tiny_study, monkeypatch):
        """Let the tiny study be the demo."""

        def use(**values):
            study = tiny_study.model_copy(update=values)
            monkeypatch.setattr(quanta, "load_study", {"demo": study}.__getitem__)

        return use

    def test_trains_analyzes_and_draws(self, small):
        small()
        result = run("demo", "--device", "cpu")
        assert "3 of 3 units to train" in result.stderr
        assert result.stdout.startswith("tiny: INCONCLUSIVE")
        paths = result.stdout.splitlines()[-len(FIGURES) :]
        assert paths == [f"runs/demo/figures/{name}.png" for name in FIGURES]
        assert all(Path(path).is_file() for path in paths)
        assert Path("runs/demo/analysis/verdict.json").is_file()

    def test_failing_units(self, small, tiny_study):
        small(training=tiny_study.training.model_copy(update={"learning_rate": 1e30}))
        result = run("demo", "--out", "there", exit_code=1)
        assert result.stdout == ""
        assert result.stderr.count("failed: ") == 3
        assert "no seed is complete" in result.stderr.splitlines()[-1]

    def test_the_shipped_demo_is_there(self):
        assert quanta.load_study("demo").name == "demo"
