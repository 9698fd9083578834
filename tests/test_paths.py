"""Every option and argument that is a path: homes, names that are no text, what libraries make of them."""

import os
from pathlib import Path

import click
import pytest

from quanta.cli import main
from quanta.tasks.sparse_parity import MultitaskSparseParity
from quanta.tasks.terminal import PathType

pytestmark = pytest.mark.usefixtures("here")

NAMES = [
    " two  words ",
    "a\nb",
    "-dash",
    "--",
    os.fsdecode(b"latin-\xe4.\xff"),
    "ä, α",
    "*?[a]{b}$c",
    "n" * 255,
    "n." + "s" * 253,
    "ä" * 127,
    ".",
    "~",
    "~nobody",
    "http:",
]


@pytest.fixture
def home(here):
    path = here / "home of me"
    path.mkdir()
    return path


@pytest.fixture
def curves(run, tmp_path):
    """A file of curves."""
    run("simulate", "ideal", "--out", tmp_path / "ideal.nc", "-K", 8)
    return tmp_path / "ideal.nc"


def path_of(name):
    """Where a name is below a folder; those that begin with a dash need none before them."""
    return f"./{name}/file" if name in (".", "~", "~nobody") else name


def test_paths_of_every_command_are_of_one_type():
    types = [
        parameter.type
        for top in main.commands.values()
        for command in (top.commands.values() if isinstance(top, click.Group) else [top])
        for parameter in command.params
        if isinstance(parameter.type, click.Path)
        or {"out", "path", "study", "tls_ca_file"} & {parameter.name}
    ]
    assert len(types) == 7 + 8 + 1 + 3 + 2  # PATH, --out, STUDY, --tls-..., what is imported
    assert all(isinstance(one, PathType) for one in types)


class TestHome:
    def test_of_a_run_directory(self, run, tiny_toml, home):
        env = {"HOME": str(home)}
        (home / "tiny.toml").write_text(tiny_toml.read_text())
        out = run("train", "~/tiny.toml", "--out=~/x", env=env).stdout
        assert out == f"{home / 'x'}\n"
        assert not Path("~").exists()
        for command in ("status", "verify", "analyze", "figures"):
            run(command, "~/x", env=env)
        run("analyze", "~/x", "--out=~/tables", env=env)
        run("figures", "~/x", "--out", "~/pictures", env=env)
        assert (home / "x" / "analysis" / "verdict.json").is_file()
        assert (home / "tables" / "networks.csv").is_file()
        assert any((home / "pictures").iterdir())

    def test_of_files(self, run, home):
        env = {"HOME": str(home)}
        run("simulate", "ideal", "-K", 8, "--out=~/a.nc", env=env)
        run("generate", "~/a.st", env=env)
        assert {path.name for path in home.iterdir()} == {"a.nc", "a.st"}

    def test_in_the_environment(self, run, home):
        env = {"HOME": str(home), "QUANTA_SIMULATE_OUT": "~/a.nc"}
        run("simulate", "ideal", "-K", 8, env=env)
        assert (home / "a.nc").is_file()

    def test_a_folder_of_that_name_is_itself(self, run, home, curves):
        Path("~").mkdir()
        Path("~/a.nc").write_bytes(curves.read_bytes())
        env = {"HOME": str(home)}
        run("analyze", "./~/a.nc", "--out", "./~/tables", env=env)
        assert Path("~/tables/networks.csv").is_file()
        assert list(home.iterdir()) == []
        printed = run("figures", "./~/a.nc", env=env).stdout.splitlines()
        # What is printed can be given to the next command.
        assert all(path.startswith("/") and Path(path).is_file() for path in printed)

    def test_of_a_user_that_there_is_not(self, run):
        assert "no samples" in run("generate", "~nobody-here/task").stdout
        assert Path("~nobody-here/task").is_file()


class TestAnyName:
    @pytest.mark.parametrize("name", NAMES)
    def test_of_files(self, run, curves, name):
        name = path_of(name)
        run("generate", "--", name)
        assert MultitaskSparseParity.load(Path(name).absolute())[0].spec.n_subtasks == 500
        assert run("simulate", "ideal", "-K", 8, f"--out={name}").stdout_bytes == (
            os.fsencode(Path(name).absolute() if name[2:].startswith("~") else Path(name)) + b"\n"
        )
        assert Path(name).absolute().read_bytes()[1:4] == b"HDF"
        assert run("analyze", "--", name).stdout.startswith("simulated-ideal: count ")
        assert not list(Path.cwd().rglob(".*"))

    @pytest.mark.parametrize("name", ["a\nb", "-dash", os.fsdecode(b"\xe4"), "~", "http:"])
    def test_of_run_directories(self, run, tiny_toml, name):
        name = path_of(name)
        run("train", f"--out={name}", "--", tiny_toml)
        assert run("status", "--", name).stdout
        assert "whole; 3 of 3" in run("verify", "--", name).stdout
        run("analyze", "--", name)
        assert (Path(name).absolute() / "analysis" / "verdict.json").is_file()

    @pytest.mark.parametrize("name", ["a\nb", os.fsdecode(b"\xff"), "\x1b[31m"])
    @pytest.mark.parametrize("command", ["status", "verify", "analyze", "figures"])
    def test_errors_are_of_one_line_all_the_same(self, fail, command, name):
        fail(command, name, exit_code=2)
        Path(name).mkdir()
        assert "not a run directory" in fail(command, name, exit_code=1)
