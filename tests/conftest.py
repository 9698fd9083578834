import json
import os
import shutil

import pytest
import torch
from click.testing import CliRunner
from hypothesis import settings

from quanta.cli import main
from quanta.store.run_directory import RunDirectory
from quanta.study.spec import load_study
from quanta.sweep.units import run_sweep
from quanta.training import gather
from quanta.training import population as population_module
from quanta.training.compilation import find_compiler

TINY = """
name = "tiny"
seed = [0, 1, 2]

[task]
n_subtasks = 4
n_bits = 6
k = 1

[population]
widths = [2, 4]

[training]
steps = 20
batch_size = 16

[evaluation]
samples_per_subtask = 8
n_evaluations = 5
"""

# The same examples every time, and no clock: the machine may be busy.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small tensors gain nothing from threads, and wait for them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def compiler():
    """A C compiler, without which there is no compiled path to test."""
    try:
        return " ".join(find_compiler())
    except FileNotFoundError:
        pytest.skip("no C compiler")


@pytest.fixture
def no_kernel(monkeypatch):
    """Let populations be made as where there is no C compiler."""

    def refuse(*arguments, **options):
        raise OSError("no C compiler")

    monkeypatch.setattr(population_module, "LadderKernel", refuse)


@pytest.fixture(
    params=["torch", "by_product", 1, 2, 3],
    ids=["torch", "by_product", "1_thread", "2_threads", "3_threads"],
)
def on_path(request, monkeypatch):
    """Take a population along one of the paths that compute the same.

    Torch, torch with gradients of the embedding as they are summed on CUDA, or compiled on some threads. The
    population must be made after this fixture. Deeper ones always take a path of torch.
    """
    in_torch = isinstance(request.param, str)
    request.getfixturevalue("no_kernel" if in_torch else "compiler")
    if request.param == "by_product":
        monkeypatch.setattr(gather, "add_rows_", gather.add_rows_by_product_)

    def take(population):
        compiled = not in_torch and population.n_hidden_layers == 1
        assert population.is_compiled == compiled
        if compiled:
            population.n_threads = request.param
        return population

    return take


@pytest.fixture(scope="session")
def tiny_toml(tmp_path_factory):
    """A file with a study of three units that take milliseconds."""
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_study(tiny_toml):
    return load_study(tiny_toml)


@pytest.fixture(scope="session")
def finished(tiny_study, tmp_path_factory):
    """A run directory with all of the tiny study in it, to be read only."""
    path = tmp_path_factory.mktemp("finished") / "run"
    run_sweep(RunDirectory.create(path, tiny_study))
    return path


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(finished, tmp_path / "copied")


@pytest.fixture
def run(monkeypatch):
    """Run a command with nothing set that changes what it prints; exceptions are mistakes in the program."""
    for name in os.environ:
        if name.startswith("QUANTA_") or name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name)

    def run(*arguments, env=None, exit_code=0):
        result = CliRunner().invoke(
            main, [str(argument) for argument in arguments], env=env, prog_name="quanta"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.stderr
        return result

    return run


@pytest.fixture
def fail(run):
    """Run a command line that must fail with nothing on stdout; its one line."""

    def fail(*arguments, exit_code, env=None):
        result = run(*arguments, exit_code=exit_code, env=env)
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        # click adds how the command is used, where it is an option or an argument that it refuses.
        assert all(line.startswith(("Usage: ", "Try ")) or not line for line in lines[:-1]), result.stderr
        assert lines[-1].startswith("Error: ")
        return lines[-1]

    return fail


@pytest.fixture
def parse_json():
    """Read one object on one line, and nothing else; without NaN, which most readers refuse."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    def parse_json(text):
        assert text.count("\n") == 1
        return json.loads(text, parse_constant=refuse)

    return parse_json


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder in which the test is, so that what goes to default folders is seen."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path
