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
from safetensors.torch import load_file

import quanta
from quanta.store import checkpoint
from quanta.store.run_directory import RunDirectory, load
from quanta.study.spec import load_study
from quanta.sweep.units import run_sweep
from quanta.training.trainer import Trainer

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("here")


class TestTrain:
    def test_a_study(self, run, tiny_toml, tiny_study, tmp_path, finished):
        out = tmp_path / "run"
        result = run("train", tiny_toml, "--out", out, "--device", "cpu")
        assert result.stdout == f"{out}\n"
        assert result.stderr == "tiny: 3 of 3 units to train on cpu, 2 widths together, 20 steps each\n"
        assert RunDirectory(out).study == tiny_study
        assert RunDirectory(out).pending() == []
        np.testing.assert_array_equal(load(out)["loss"], load(finished)["loss"])

    def test_where_it_goes_without_out(self, run, tiny_toml):
        assert run("train", tiny_toml, "--set", "seed=1").stdout == "runs/tiny\n"
        assert RunDirectory("runs/tiny").pending() == []

    def test_the_same_command_continues(self, run, tiny_toml, copied):
        shutil.rmtree(next((copied / "units").glob("*seed=1*")))
        result = run("train", tiny_toml, "--out", copied)
        assert "1 of 3 units to train" in result.stderr
        assert "0 of 3 units to train" in run("train", tiny_toml, "--out", copied).stderr

    def test_set(self, run, tiny_toml, tmp_path):
        changes = ("--set", "seed=[5]", "--set", "training.steps=3", "--set", "alpha=uniform")
        run("train", tiny_toml, "--out", tmp_path / "run", *changes)
        study = RunDirectory(tmp_path / "run").study
        assert (study.seed, study.training.steps, study.alpha) == ((5,), 3, ("uniform",))

    def test_another_study_in_the_folder(self, run, fail, tiny_toml, copied):
        arguments = ("train", tiny_toml, "--out", copied, "--set", "training.steps=21")
        line = fail(*arguments, exit_code=1)
        assert "holds another study (different training.steps); choose another --out, or --overwrite" in line
        result = run(*arguments, "--overwrite")
        assert "3 of 3 units to train on cpu, 2 widths together, 21 steps each" in result.stderr

    def test_something_else_in_the_folder(self, fail, tiny_toml, tmp_path):
        (tmp_path / "thesis.txt").write_text("years of work")
        for options in ((), ("--overwrite",)):
            line = fail("train", tiny_toml, "--out", tmp_path, *options, exit_code=1)
            assert "neither empty nor a run directory; choose another --out" in line
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_list(self, run):
        lines = run("train", "--list").stdout.splitlines()
        assert [line.split()[0] for line in lines] == list(quanta.shipped_studies())
        assert all(len(line.split()) > 3 for line in lines)

    def test_no_study(self, fail):
        assert "Missing argument 'STUDY'" in fail("train", exit_code=2)

    def test_unknown_study(self, fail):
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
    def test_bad_overrides(self, fail, tiny_toml, override, says):
        assert says in fail("train", tiny_toml, "--set", override, exit_code=2)
        assert not Path("runs").exists()

    def test_a_file_that_is_not_toml(self, fail, tmp_path):
        (tmp_path / "study.toml").write_text("name = tiny")
        assert "study.toml: not TOML" in fail("train", tmp_path / "study.toml", exit_code=2)

    def test_cuda_where_there_is_none(self, fail, tiny_toml, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        line = fail("train", tiny_toml, "--device", "cuda", exit_code=2)
        assert "torch finds no CUDA device" in line
        assert not Path("runs").exists()

    def test_the_environment_is_a_default_that_options_beat(self, run, fail, tiny_toml):
        env = {"QUANTA_TRAIN_DEVICE": "abacus", "QUANTA_TRAIN_OUT": "elsewhere"}
        assert "'abacus' is not one of" in fail("train", tiny_toml, exit_code=2, env=env)
        assert run("train", tiny_toml, "--device", "cpu", env=env).stdout == "elsewhere\n"
        assert run("train", tiny_toml, "--device", "cpu", "--out", "there", env=env).stdout == "there\n"

    @pytest.mark.parametrize(
        ("text", "seed", "description"),
        [
            ("training.steps=3", (0, 1, 2), ""),
            ("training.steps=3 seed=[4, 5]", (4, 5), ""),
            (
                '  seed=[4,\t5]\ntraining={steps = 3, batch_size = 16} description="two words"',
                (4, 5),
                "two words",
            ),
            ("description='two words' seed=7 training.steps=3", (7,), "two words"),
        ],
    )
    def test_changes_in_the_environment_are_parted_by_spaces_outside_of_values(
        self, run, tiny_toml, text, seed, description
    ):
        run("train", tiny_toml, env={"QUANTA_TRAIN_SET": text})
        study = RunDirectory("runs/tiny").study
        assert (study.seed, study.training.steps, study.description) == (seed, 3, description)

    def test_failing_units(self, run, tiny_toml, tmp_path):
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

    def test_interruption(self, run, tiny_toml, tmp_path, monkeypatch):
        def interrupted(sweep, device, advance, should_stop, *others, **options):
            calls = iter(range(1, 1000))
            return run_sweep(sweep, device, advance, lambda: next(calls) == 45, *others, **options)

        monkeypatch.setattr(quanta, "run_sweep", interrupted)
        result = run("train", tiny_toml, "--out", tmp_path / "run", exit_code=1)
        assert result.stdout == ""
        assert result.stderr.splitlines()[1:] == [
            f"Error: interrupted: 2 of 3 units are done in {tmp_path / 'run'}; the same command continues "
            "where it stopped"
        ]

    def test_a_damaged_checkpoint_is_told(self, run, tiny_toml, tmp_path):
        unit = RunDirectory.create(tmp_path / "run", load_study(tiny_toml)).study.units()[0]
        file = RunDirectory(tmp_path / "run").folder(unit) / "checkpoint.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"damaged")
        lines = run("train", tiny_toml, "--out", tmp_path / "run").stderr.splitlines()
        assert lines[1].startswith(f"note: {file}: not a checkpoint of this unit (")
        assert lines[1].endswith("); the unit starts again")

    def test_shards_are_parts_of_the_study(self, run, tiny_toml, tmp_path, finished):
        out = tmp_path / "run"
        found = []
        for shard in ("2/2", "1/2", "4/7"):
            result = run("train", tiny_toml, "--out", out, "--shard", shard)
            assert result.stdout == f"{out}\n"
            found.append(result.stderr.split(" units ")[0])
        assert found == ["tiny: 1 of 1", "tiny: 2 of 2", "tiny: 0 of 0"]
        assert load(out).identical(load(finished))

    def test_threads(self, run, tiny_toml, monkeypatch):
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
    def test_who_trains_is_refused(self, fail, tiny_toml, arguments, says):
        assert says in fail("train", tiny_toml, *arguments, exit_code=2)
        assert not Path("runs").exists()

    @pytest.mark.parametrize("arguments", [("--workers", "2"), ("--scheduler", "tcp://127.0.0.1:1")])
    def test_a_cluster_without_dask(self, fail, tiny_toml, monkeypatch, arguments):
        monkeypatch.setitem(sys.modules, "distributed", None)
        assert fail("train", tiny_toml, *arguments, exit_code=1) == (
            "Error: --workers and --scheduler need distributed: pip install distributed"
        )
        assert not Path("runs").exists()

    def test_no_compiler_is_told(self, run, tiny_toml, tmp_path, monkeypatch):
        monkeypatch.setattr("quanta.sweep.units.why_not_compiled", lambda precision: "no C compiler")
        result = run("train", tiny_toml, "--out", tmp_path / "run")
        note = "note: training without compiled code, which is slower: no C compiler"
        assert note in result.stderr.splitlines()

    def test_no_progress_where_nobody_looks(self, run, tiny_toml, tmp_path):
        # FORCE_COLOR, which services for continuous integration set, makes no terminal.
        result = run("train", tiny_toml, "--out", tmp_path / "run", env={"FORCE_COLOR": "1"})
        assert len(result.stderr.splitlines()) == 1


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stop_a_sweep_that_the_same_command_continues(self, run, number, tiny_toml, tmp_path):
        out = tmp_path / "run"
        changes = ["--set", "training.steps=1500", "--set", "seed=[0,1,2,3]"]
        arguments = ["train", str(tiny_toml), "--out", str(out), *changes]
        watcher, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "quanta", *arguments],
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
    def test_a_second_one_stops_at_once(
        self, run, number, tiny_toml, tiny_study, tmp_path, finished, monkeypatch, request
    ):
        # As it is where a person types: what a shell runs in its background begins with Ctrl-C ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
        out = tmp_path / "run"
        steps = []

        def step(trainer):
            steps.append(trainer.n_steps)
            if len(steps) == 8:
                signal.raise_signal(number)
                signal.raise_signal(number)
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
