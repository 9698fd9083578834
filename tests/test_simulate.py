import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from click.testing import CliRunner

from quanta import load
from quanta.analysis import simulate
from quanta.analysis.theories.worlds import WORLDS
from quanta.cli import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """Nothing is set that changes the output."""
    for name in os.environ:
        if name.startswith("QUANTA_") or name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)


def run(*arguments, exit_code=0):
    """Run `quanta`; exceptions other than its own are mistakes in the program."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], terminal_width=200)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.stderr
    return result


class TestSimulate:
    @pytest.mark.parametrize("world", WORLDS)
    def test_writes_curves_that_can_be_analyzed(self, world, tmp_path):
        path = tmp_path / "new" / f"{world}.nc"
        result = run("simulate", world, "--out", path)
        assert result.stdout == f"{path}\n"
        assert result.stderr == ""
        xr.testing.assert_identical(load(path), simulate(world))
        analyzed = run("analyze", path, "--bootstrap", 1).stdout
        assert analyzed.startswith(f"simulated-{world}: ")
        assert "K = 64" in analyzed

    def test_options(self, tmp_path):
        path = tmp_path / "world.nc"
        options = {"alpha": 0.7, "n_subtasks": 9, "n_seeds": 2, "steps": 300, "scatter": 0.1, "seed": 5}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        run("simulate", "domino", "--out", path, *flags)
        xr.testing.assert_identical(load(path), simulate("domino", **options))

    def test_an_option_from_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("QUANTA_SIMULATE_N_SEEDS", "1")
        run("simulate", "ideal", "--out", tmp_path / "world.nc")
        assert load(tmp_path / "world.nc").sizes["seed"] == 1

    def test_the_same_command_writes_the_same_curves_over_what_was_there(self, tmp_path):
        path = tmp_path / "world.nc"
        path.write_text("old")
        run("simulate", "ideal", "--out", path, "--n-seeds", 1)
        before = load(path)
        run("simulate", "ideal", "--out", path, "--n-seeds", 1)
        xr.testing.assert_identical(load(path), before)
        assert list(tmp_path.iterdir()) == [path]

    def test_list(self):
        lines = run("simulate", "--list").stdout.splitlines()
        found = dict(line.split(maxsplit=1) for line in lines)
        assert found == {name: world.meaning for name, world in WORLDS.items()}

    def test_help_says_what_the_worlds_are(self):
        text = run("simulate", "--help").stdout
        assert text.startswith("Usage: main simulate [OPTIONS] WORLD")
        for name, world in WORLDS.items():
            assert f"  {name:<8}  {world.meaning}\n" in text
        for shown in ("[default: 0.4]  [0<x<=4]", "2<=x<=10000", "1<=x<=1000]", "0<=x<=3", "x>=0"):
            assert shown in text

    def test_loads_no_torch(self, tmp_path):
        program = (
            "import sys\nfrom quanta.cli import main\n"
            f"main(['simulate', 'ideal', '--out', {str(tmp_path / 'x.nc')!r}], standalone_mode=False)\n"
            "print('torch' in sys.modules, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stderr == "False\n"


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("flat",), "'flat' is not one of 'ideal', 'sigmoid',"),
            (
                ("uniform", "--alpha", 0.4),
                "--alpha is not for the world uniform, whose frequencies are equal",
            ),
            (("ideal", "--alpha", 0), "0.0 is not in the range 0<x<=4"),
            (("ideal", "--alpha", 5), "5.0 is not in the range 0<x<=4"),
            (("ideal", "--n-subtasks", 1), "1 is not in the range 2<=x<=10000"),
            (("ideal", "--n-seeds", 0), "0 is not in the range 1<=x<=1000"),
            (("ideal", "--steps", 0), "0 is not in the range 1<=x<=1000000000"),
            (("ideal", "--scatter", -1), "-1.0 is not in the range 0<=x<=3"),
            (("ideal", "--seed", -1), "-1 is not in the range x>=0"),
        ],
    )
    def test_of_arguments(self, arguments, message, tmp_path):
        result = run("simulate", *arguments, "--out", tmp_path / "world.nc", exit_code=2)
        assert result.stdout == ""
        assert message in result.stderr.splitlines()[-1]
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("option", ["--alpha", "--scatter"])
    def test_of_nan(self, option, tmp_path):
        result = run("simulate", "ideal", option, "nan", "--out", tmp_path / "world.nc", exit_code=1)
        assert result.stderr.startswith(f"Error: {option[2:]} must be ")
        assert result.stderr.endswith(", not nan\n")

    def test_of_no_file(self):
        assert "Missing option '--out'" in run("simulate", "ideal", exit_code=2).stderr

    def test_of_a_folder(self, tmp_path):
        assert "is a directory" in run("simulate", "ideal", "--out", tmp_path, exit_code=2).stderr

    def test_of_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        result = run("simulate", "ideal", "--out", tmp_path / "file" / "world.nc", exit_code=1)
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
