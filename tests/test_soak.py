"""Training that is killed again and again ends where it would have ended."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quanta.store.run_directory import RunDirectory, load
from quanta.study.spec import load_study
from quanta.sweep.units import run_sweep

# The command line with checkpoints more often than every five seconds, so that kills find some.
TRAIN = """
import sys
from quanta.store import checkpoint
checkpoint.MIN_SECONDS = float(sys.argv.pop(1))
from quanta.cli import main
main()
"""


def results(path):
    """What the units of a run directory hold, to the byte; not their manifests, which tell the time."""
    names = ("curves.nc", "weights.safetensors")
    return {str(file.relative_to(path)): file.read_bytes() for name in names for file in path.rglob(name)}


def train_with_kills(study, out, n_kills, longest, seconds, expected):
    """Train with SIGKILL after random times of at most `longest` seconds, and then to the end."""
    command = [sys.executable, "-c", TRAIN, str(seconds), "train", str(study), "--out", str(out)]
    rng = random.Random(0)
    n_hit = 0
    while n_hit < n_kills:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            process.communicate(timeout=rng.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            n_hit += 1
        else:  # a fast machine came to the end before all kills; they go on from the beginning
            assert process.returncode == 0
            assert results(out) == expected
            shutil.rmtree(out)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "note:" not in done.stderr  # no kill damages a checkpoint


@pytest.fixture
def from_the_root(monkeypatch):
    """Run commands where the code is, with one thread as the tests have: the last bits depend on how many."""
    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def check(study, tmp_path, n_kills, longest, seconds):
    whole = RunDirectory.create(tmp_path / "whole", load_study(study))
    run_sweep(whole)
    train_with_kills(study, tmp_path / "killed", n_kills, longest, seconds, results(whole.path))
    assert RunDirectory(tmp_path / "killed").pending() == []
    assert results(tmp_path / "killed") == results(whole.path)
    left = {file.name for file in (tmp_path / "killed").rglob("*") if file.is_file()}
    # Locks of processes that were killed mean nothing, and stay where no later one took them; so does a
    # study.json that was half written.
    left -= {"lock", *(file.name for file in (tmp_path / "killed").glob(".study.*"))}
    assert left == {"study.json", "manifest.json", "curves.nc", "weights.safetensors"}


@pytest.mark.usefixtures("from_the_root")
class TestKilled:
    def test_a_few_times(self, tmp_path, tiny_toml):
        study = tmp_path / "longer.toml"
        study.write_text(
            tiny_toml.read_text()
            .replace("seed = [0, 1, 2]", "seed = [0, 1]")
            .replace("steps = 20", "steps = 5000")
        )
        check(study, tmp_path, n_kills=4, longest=5, seconds=0.1)

    @pytest.mark.slow
    @pytest.mark.parametrize("sampling", ["epochs", "replacement"])
    def test_on_finite_training_sets(self, tmp_path, tiny_toml, sampling):
        """D below and above a batch of 16, with a smaller batch at the end of an epoch; some stop early."""
        study = tmp_path / "finite.toml"
        study.write_text(
            tiny_toml.read_text()
            .replace("seed = [0, 1, 2]", 'seed = [0]\nn_train = [10, 1000, "online"]')
            .replace(
                "steps = 20", f'steps = 2000\nsampling = "{sampling}"\npatience = 12\nlearning_rate = 0.02'
            )
            .replace("n_evaluations = 5", "n_evaluations = 40")
        )
        check(study, tmp_path, n_kills=3, longest=4, seconds=0.1)
        measured = load(tmp_path / "whole")["loss"].notnull().all(("width", "subtask")).sum("step").squeeze()
        assert measured.sel(n_train=10) < measured.sel(n_train=1000)

    @pytest.mark.slow
    def test_the_demo_thirty_times(self, tmp_path):
        check("demo", tmp_path, n_kills=30, longest=8, seconds=0.5)


@pytest.mark.usefixtures("from_the_root")
class TestFaults:
    def test_a_disk_that_fills_up(self, tmp_path, tiny_toml):
        """On a file system of its own that holds nothing more."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("mounting needs the rights to")
        try:
            command = [sys.executable, "-m", "quanta", "train", str(tiny_toml), "--out", str(disk / "run")]
            filler = disk / "filler"
            filler.write_bytes(b"x" * 1_000_000)
            full = subprocess.run(command, capture_output=True, text=True)
            assert full.returncode == 1
            assert "Traceback" not in full.stderr
            assert "No space left on device" in full.stderr.splitlines()[-1]
            filler.unlink()
            subprocess.run(command, check=True, capture_output=True)
            run_sweep(RunDirectory.create(tmp_path / "whole", load_study(tiny_toml)))
            assert results(disk / "run") == results(tmp_path / "whole")
        finally:
            time.sleep(0.1)
            subprocess.run(["umount", str(disk)], check=True)

    def test_a_folder_that_cannot_be_written(self, tmp_path, tiny_toml):
        command = [sys.executable, "-m", "quanta", "train", str(tiny_toml), "--out", "/proc/run"]
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith("Error: ")
        assert "Traceback" not in refused.stderr

    def test_a_study_that_was_edited_after_units_were_done(self, copied, tiny_toml, tmp_path):
        before = results(copied)
        edited = tmp_path / "edited.toml"
        edited.write_text(tiny_toml.read_text().replace("batch_size = 16", "batch_size = 32"))
        command = [sys.executable, "-m", "quanta", "train", str(edited), "--out", str(copied)]
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.returncode == 1
        assert "holds another study (different training.batch_size)" in refused.stderr
        assert results(copied) == before

    @pytest.mark.parametrize("name", ["curves.nc", "weights.safetensors", "manifest.json"])
    def test_a_damaged_file_repeats_its_unit_alone(self, copied, tiny_toml, name):
        before = results(copied)
        file = sorted(copied.rglob(name))[1]
        damaged = bytearray(file.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        file.write_bytes(damaged)
        command = [sys.executable, "-m", "quanta", "train", str(tiny_toml), "--out", str(copied)]
        again = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "1 of 3 units to train" in again.stderr
        assert results(copied) == before

    def test_a_run_directory_of_an_older_schema(self, copied):
        for file in copied.rglob("manifest.json"):
            file.write_text(file.read_text().replace('"schema": 2', '"schema": 0'))
        shutil.rmtree(copied / "analysis", ignore_errors=True)
        command = [sys.executable, "-m", "quanta", "analyze", str(copied)]
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.returncode == 1
        assert "0 of 3 units are done" in refused.stderr
