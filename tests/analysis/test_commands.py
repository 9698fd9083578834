import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from quanta import analysis
from quanta.analysis import simulate
from quanta.analysis.theories.worlds import WORLDS
from quanta.curves.combine import combine
from quanta.curves.dataset import save_curves
from quanta.store.run_directory import RunDirectory, load
from quanta.sweep.units import run_sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world_nc(tmp_path_factory):
    """Make a file of curves of a world that is known, with seeds enough for an answer."""
    folder = tmp_path_factory.mktemp("worlds")

    def make(world):
        path = folder / world / f"{world}.nc"
        if not path.exists():
            save_curves(simulate(world, n_seeds=8), path)
        return path

    return make


@pytest.fixture
def ideal_nc(world_nc):
    """A file of curves in which the hypothesis holds."""
    return world_nc("ideal")


@pytest.fixture(scope="module")
def trained(tiny_study, tmp_path_factory):
    """A run directory with two alphas and two n_train, to be read only."""
    study = tiny_study.model_copy(update={"alpha": (0.2, "uniform"), "n_train": (10, "online")})
    directory = RunDirectory.create(tmp_path_factory.mktemp("trained") / "run", study)
    run_sweep(directory)
    return directory.path


@pytest.fixture
def several(trained, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(trained, tmp_path / "several")


@pytest.fixture
def drawn(monkeypatch):
    """Let one file stand for all figures, which take long and are tested elsewhere; it says what of."""

    def save_figures(statistics, folder, *, format, description):
        path = Path(folder) / f"figure.{format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"alpha {statistics.base.alpha:g}, tau {statistics.tau}")
        return [path]

    monkeypatch.setattr(analysis, "save_figures", save_figures)


def files(folder):
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestSimulate:
    @pytest.mark.parametrize("world", WORLDS)
    def test_writes_curves_that_can_be_analyzed(self, run, world, tmp_path):
        path = tmp_path / "new" / f"{world}.nc"
        result = run("simulate", world, "--out", path)
        assert (result.stdout, result.stderr) == (f"{path}\n", "")
        xr.testing.assert_identical(load(path), simulate(world, n_seeds=5))
        analyzed = run("analyze", path).stdout
        assert analyzed.startswith(f"simulated-{world}: ")
        assert "K = 64" in analyzed

    def test_options(self, run, tmp_path):
        path = tmp_path / "world.nc"
        options = {"alpha": 0.7, "n_subtasks": 9, "n_seeds": 2, "steps": 300, "scatter": 0.1, "seed": 5}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        run("simulate", "domino", "--out", path, *flags)
        xr.testing.assert_identical(load(path), simulate("domino", **options))

    def test_an_option_from_the_environment(self, run, tmp_path):
        run("simulate", "ideal", "--out", tmp_path / "world.nc", env={"QUANTA_SIMULATE_N_SEEDS": "1"})
        assert load(tmp_path / "world.nc").sizes["seed"] == 1

    def test_the_same_command_writes_the_same_curves_over_what_was_there(self, run, tmp_path):
        path = tmp_path / "world.nc"
        path.write_text("old")
        run("simulate", "ideal", "--out", path, "--n-seeds", 1)
        before = load(path)
        run("simulate", "ideal", "--out", path, "--n-seeds", 1)
        xr.testing.assert_identical(load(path), before)
        assert list(tmp_path.iterdir()) == [path]

    def test_list(self, run):
        lines = run("simulate", "--list").stdout.splitlines()
        found = dict(line.split(maxsplit=1) for line in lines)
        assert found == {name: world.meaning for name, world in WORLDS.items()}

    def test_help_says_what_the_worlds_are(self, run):
        text = " ".join(run("simulate", "--help").stdout.split())
        assert text.startswith("Usage: quanta simulate [OPTIONS] WORLD")
        for name, world in WORLDS.items():
            assert f" {name} {world.meaning} " in f"{text} "
        for shown in ("[default: 0.4]", "0<x<=4", "2<=x<=10000", "1<=x<=1000]", "0<=x<=3", "x>=0"):
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
            (("ideal", "--alpha", "nan"), "nan is not in the range 0<x<=4"),
            (("ideal", "--n-subtasks", 1), "1 is not in the range 2<=x<=10000"),
            (("ideal", "--n-seeds", 0), "0 is not in the range 1<=x<=1000"),
            (("ideal", "--steps", 0), "0 is not in the range 1<=x<=1000000000"),
            (("ideal", "--scatter", -1), "-1.0 is not in the range 0<=x<=3"),
            (("ideal", "--scatter", "nan"), "nan is not in the range 0<=x<=3"),
            (("ideal", "--seed", -1), "-1 is not in the range x>=0"),
        ],
    )
    def test_values_out_of_range(self, fail, arguments, message, tmp_path):
        assert message in fail("simulate", *arguments, "--out", tmp_path / "world.nc", exit_code=2)
        assert not list(tmp_path.iterdir())

    def test_no_file(self, fail):
        assert "Missing option '--out'" in fail("simulate", "ideal", exit_code=2)

    def test_a_folder(self, fail, tmp_path):
        assert "is a directory" in fail("simulate", "ideal", "--out", tmp_path, exit_code=2)

    def test_a_folder_that_is_a_file(self, fail, tmp_path):
        (tmp_path / "file").touch()
        assert "file" in fail("simulate", "ideal", "--out", tmp_path / "file" / "world.nc", exit_code=1)


AXES = "alpha, n_subtasks, n_bits, batch_size, learning_rate, n_train"


class TestAt:
    """Which slice."""

    @pytest.mark.parametrize(
        ("choice", "found", "folder"),
        [
            (("alpha=0.2",), (0.2, [10, "online"]), "alpha=0.2"),
            (("alpha=2e-1", "n_train=1_0"), (0.2, [10]), "alpha=0.2_n_train=10"),  # as TOML takes numbers
            (
                (" alpha = 0.2 ", "n_train=online", "n_subtasks=4"),
                (0.2, ["online"]),
                "alpha=0.2_n_train=online",
            ),
            (("n_subtasks=4", "alpha=uniform"), ("uniform", [10, "online"]), "alpha=uniform"),
            (("K=4", "alpha=uniform", "D=10"), ("uniform", [10]), "alpha=uniform_n_train=10"),
            (("alpha=0.2", "batch_size=16"), (0.2, [10, "online"]), "alpha=0.2"),
            (
                ("n_train='online'", 'alpha="uniform"'),
                ("uniform", ["online"]),
                "alpha=uniform_n_train=online",
            ),
            (("alpha=-1", "n_train=inf"), ("uniform", ["online"]), "alpha=uniform_n_train=online"),
        ],
    )
    def test_takes_what_a_study_takes(self, run, parse_json, several, choice, found, folder):
        options = [part for value in choice for part in ("--at", value)]
        verdict = parse_json(run("analyze", several, *options, "--json").stdout)
        assert (verdict["settings"]["alpha"], verdict["settings"]["n_train"]) == found
        assert json.loads((several / "analysis" / folder / "verdict.json").read_text()) == verdict
        assert {path.parent for path in several.rglob("*.csv")} == {several / "analysis" / folder}

    def test_in_the_environment(self, run, several):
        run("analyze", several, env={"QUANTA_ANALYZE_AT": "alpha=0.2 n_train=10"})
        assert os.listdir(several / "analysis") == ["alpha=0.2_n_train=10"]

    @pytest.mark.parametrize("command", ["analyze", "figures"])
    @pytest.mark.parametrize(
        ("choice", "says"),
        [
            (("n_train=9",), "--at n_train must be one of 10, online, not 9"),
            (("n_bits=7",), "--at n_bits must be one of 6, not 7"),
            (("alpha=3",), "--at alpha must be one of uniform, 0.2, not 3.0"),
            (("alpha=0.2", "n_train=1000000"), "--at n_train must be one of 10, online, not 1000000"),
            (("alpha=0.2", "n_subtasks=5"), "--at n_subtasks must be one of 4, not 5"),
            (("alpha=0.2", "alpha=0.2"), "--at must choose a value of each axis once"),
            (("alpha",), f"'alpha' is not AXIS=VALUE, where AXIS is one of {AXES}."),
            (("width=4",), f"'width=4' is not AXIS=VALUE, where AXIS is one of {AXES}."),
            (("alpha=online",), "alpha must be a number or uniform, not 'online'."),
            (("alpha=true",), "alpha must be a number or uniform, not 'true'."),
            (("n_train=uniform",), "n_train must be a number or online, not 'uniform'."),
            (("n_subtasks=[4]",), "n_subtasks must be a number, not '[4]'."),
            (("alpha=",), "alpha must be a number or uniform, not ''."),
        ],
    )
    @pytest.mark.usefixtures("drawn")
    def test_refuses(self, fail, several, command, choice, says):
        options = [part for value in choice for part in ("--at", value)]
        assert fail(command, several, *options, exit_code=2).endswith(says)
        assert not (several / "analysis").exists()
        assert not (several / "figures").exists()

    def test_what_is_not_known_is_nan(self, run, parse_json, tmp_path):
        path = tmp_path / "unknown.nc"
        save_curves(simulate("ideal", n_seeds=1).assign_coords(alpha=[np.nan]), path)
        assert parse_json(run("analyze", path, "--json", "--at", "alpha=nan").stdout)["outcome"]

    @pytest.mark.parametrize("command", ["analyze", "figures"])
    @pytest.mark.usefixtures("drawn")
    def test_its_old_names_are_heard_for_one_version(self, run, several, command):
        kind = "analysis" if command == "analyze" else "figures"
        old = run(command, several, "--alpha", -1, "--n-train", "inf")
        assert old.stderr == (
            "note: --alpha will go; --at alpha=uniform says the same\n"
            "note: --n-train will go; --at n_train=online says the same\n"
        )
        assert os.listdir(several / kind) == ["alpha=uniform_n_train=online"]
        before = files(several)
        assert run(command, several, "--at", "alpha=uniform", "--at", "n_train=online").stderr == ""
        assert files(several) == before
        assert "--alpha" not in run(command, "--help").stdout


class TestAnalyze:
    def test_json_of_a_run_directory(self, run, parse_json, copied):
        result = run("analyze", copied, "--json")
        verdict = parse_json(result.stdout)
        assert result.stderr == ""
        assert (verdict["schema"], verdict["study"], verdict["outcome"]) == (2, "tiny", "inconclusive")

    def test_json_of_a_file(self, run, parse_json, ideal_nc):
        verdict = parse_json(run("analyze", ideal_nc, "--json").stdout)
        assert verdict["outcome"] == "supported"

    def test_text(self, run, ideal_nc):
        result = run("analyze", ideal_nc)
        assert result.stderr == ""
        assert result.stdout.splitlines()[0] == "simulated-ideal: count SUPPORTED, growth SUPPORTED"
        assert "\x1b" not in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_details_come_after_the_text(self, run, ideal_nc, tmp_path):
        short, long = (
            run("analyze", ideal_nc, "--out", tmp_path, *options).stdout for options in ((), ("--details",))
        )
        assert long.startswith(short)
        details = " ".join(long[len(short) :].split())
        questions = json.loads((tmp_path / "verdict.json").read_text())["questions"]
        for axes in (question["axes"] for question in questions.values()):
            for claim in (claim for claims in axes.values() for claim in claims):
                assert " ".join(claim["why"].split()) in details

    def test_settings_are_heard(self, run, parse_json, ideal_nc):
        settings = {"tau": 0.3, "confidence": 0.5, "seed": 7}
        options = [f"--{name}={value}" for name, value in settings.items()]
        found = parse_json(run("analyze", ideal_nc, "--json", *options).stdout)["settings"]
        assert {name: found[name] for name in settings} == settings

    @pytest.mark.parametrize(
        ("world", "options", "exit_code"),
        [
            ("ideal", ("--strict",), 0),
            ("ideal", ("--strict-count", "--json"), 0),
            ("domino", ("--strict",), 4),  # in which the count does not grow as the hypothesis says
            ("domino", ("--strict", "--strict-count", "--json"), 4),
            ("domino", ("--strict-count",), 0),
            ("spectral", ("--strict-count",), 4),
            ("spectral", (), 0),
        ],
    )
    def test_strict(self, run, world_nc, world, options, exit_code):
        assert run("analyze", world_nc(world), *options, exit_code=exit_code).stdout

    def test_missing_units_are_named(self, run, copied):
        unit = next((copied / "units").glob("*seed=1*"))
        shutil.rmtree(unit)
        result = run("analyze", copied, "--json")
        assert result.stderr == (
            f"note: units that are not done: 1; the seeds they belong to are left out: {unit.name}\n"
        )

    def test_what_another_slice_lacks_is_in_nobodys_way(self, run, fail, several):
        for unit in (several / "units").glob("alpha=uniform_*"):
            shutil.rmtree(unit)
        assert run("analyze", several, "--at", "alpha=0.2").stderr == ""
        line = fail("analyze", several, "--at", "alpha=uniform", exit_code=1)
        assert "0 of 6 units are done and no seed is complete" in line

    def test_nothing_done_yet(self, fail, copied):
        shutil.rmtree(copied / "units")
        assert "0 of 3 units are done and no seed is complete" in fail("analyze", copied, exit_code=1)
        assert not (copied / "analysis").exists()

    def test_a_damaged_file(self, fail, ideal_nc, tmp_path):
        data = ideal_nc.read_bytes()
        (tmp_path / "cut.nc").write_bytes(data[: len(data) // 2])
        line = fail("analyze", tmp_path / "cut.nc", exit_code=1)
        assert "cut.nc: not a readable netCDF file" in line

    def test_a_missing_path(self, fail):
        assert "'missing' does not exist" in fail("analyze", "missing", exit_code=2)

    def test_a_folder_of_something_else(self, fail, tmp_path):
        assert "not a run directory" in fail("analyze", tmp_path, exit_code=1)

    @pytest.mark.parametrize(
        "options",
        [
            ("--tau", 0),
            ("--tau", 1),
            ("--tau", "nan"),
            ("--confidence", 1),
            ("--confidence", "nan"),
            ("--seed", -1),
        ],
    )
    def test_values_out_of_range(self, fail, ideal_nc, options):
        line = fail("analyze", ideal_nc, *options, exit_code=2)
        assert f"'{options[0]}'" in line
        assert re.search(rf": {options[1]}(\.0)? is not in the range [0x]", line)

    def test_json_is_one_object(self, fail, ideal_nc):
        line = fail("analyze", ideal_nc, "--json", "--details", exit_code=2)
        assert line == "Error: --json and --details exclude each other"


class TestTables:
    """What `analyze` keeps."""

    def test_of_a_run_directory(self, run, parse_json, copied):
        result = run("analyze", copied, "--json")
        kept = copied / "analysis"
        assert {Path(name).suffix for name in files(kept) if name != "verdict.json"} == {".csv"}
        assert json.loads((kept / "verdict.json").read_text()) == parse_json(result.stdout)
        networks = list(csv.DictReader((kept / "networks.csv").read_text().splitlines()))
        assert [(row["seed"], row["width"]) for row in networks] == [(s, w) for s in "012" for w in "24"]
        n_parameters = load(copied)["n_parameters"].values.tolist()
        assert [int(row["n_parameters"]) for row in networks] == 3 * n_parameters

    def test_of_a_file_are_kept_where_it_is_asked(self, run, ideal_nc, tmp_path):
        run("analyze", ideal_nc)
        assert list(ideal_nc.parent.iterdir()) == [ideal_nc]
        run("analyze", ideal_nc, "--out", tmp_path / "out")
        assert {"verdict.json", "networks.csv"} <= set(files(tmp_path / "out"))
        assert list(ideal_nc.parent.iterdir()) == [ideal_nc]

    def test_out_of_a_run_directory(self, run, copied, tmp_path):
        run("analyze", copied, "--out", tmp_path / "out")
        assert "verdict.json" in files(tmp_path / "out")
        assert not (copied / "analysis").exists()

    def test_of_one_slice_are_not_written_over_by_another(self, run, several):
        run("analyze", several, "--at", "alpha=0.2")
        folder = several / "analysis" / "alpha=0.2"
        before = {name: (folder / name).read_bytes() for name in files(folder)}
        run("analyze", several, "--at", "alpha=uniform")
        assert {name: (folder / name).read_bytes() for name in files(folder)} == before
        assert sorted(os.listdir(several / "analysis")) == [folder.name, "alpha=uniform"]

    @pytest.mark.parametrize(("options", "exit_code"), [((), 0), (("--json",), 0), (("--strict",), 4)])
    def test_are_kept_where_nobody_reads_the_text(self, copied, options, exit_code):
        command = [sys.executable, "-m", "quanta", "analyze", str(copied), *options]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(timeout=120) == exit_code
        assert "networks.csv" in files(copied / "analysis")

    @pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
    def test_are_kept_where_the_text_cannot_be_printed_whole(self, copied, encoding):
        done = subprocess.run(
            [sys.executable, "-m", "quanta", "analyze", str(copied)],
            cwd=ROOT,
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        )
        assert done.stdout.startswith(b"tiny: count INCONCLUSIVE")
        assert done.stderr == b""
        assert "networks.csv" in files(copied / "analysis")

    @pytest.fixture
    def refused(self, monkeypatch):
        """Let no folder be made, for a reason."""

        def use(number):
            def refuse(path, *arguments, **options):
                raise OSError(number, os.strerror(number), str(path))

            monkeypatch.setattr(Path, "mkdir", refuse)

        return use

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
    def test_that_may_not_be_written_are_no_failure(self, run, copied, refused, number):
        refused(number)
        result = run("analyze", copied)
        assert result.stdout.startswith("tiny: count INCONCLUSIVE")
        assert result.stderr == (
            f"note: the results are not kept, for {copied / 'analysis'} cannot be written "
            f"({os.strerror(number)}); --out names another folder\n"
        )
        # Where they were asked for, they are.
        assert "there" in run("analyze", copied, "--out", copied / "there", exit_code=1).stderr

    def test_that_find_the_disk_full_cost_no_answer(self, run, copied, refused):
        refused(errno.ENOSPC)
        assert os.strerror(errno.ENOSPC) in run("analyze", copied).stderr
        result = run("analyze", copied, "--out", copied / "there", exit_code=1)
        assert result.stdout.startswith("tiny: count INCONCLUSIVE")
        assert os.strerror(errno.ENOSPC) in result.stderr
        run("analyze", copied, "--out", copied / "there", "--strict", exit_code=4)

    def test_of_another_setting_are_kept_beside(self, run, copied):
        for options in ((), ("--tau", 0.2), ("--confidence", 0.995), ("--tau", 0.2, "--seed", 1)):
            run("analyze", copied, *options)
        folders = ["", "/confidence=0.995", "/tau=0.2", "/tau=0.2_seed=1"]
        found = {str(file.parent) for file in (copied / "analysis").rglob("verdict.json")}
        assert found == {f"{copied}/analysis{folder}" for folder in folders}

    def test_of_something_else_are_not_replaced(self, run, fail, ideal_nc, tmp_path):
        paths = [tmp_path / folder / "a.nc" for folder in ("x", "y")]
        for path in paths:
            path.parent.mkdir()
            shutil.copy(ideal_nc, path)
        out = ("--out", tmp_path / "out")
        run("analyze", paths[0], *out)
        run("analyze", paths[0], *out)
        kept = json.loads((tmp_path / "out" / "verdict.json").read_text())
        assert kept["path"] == str(paths[0])
        assert kept["slice"] == {"alpha": 0.4, "n_subtasks": 64}
        assert f"has those of path {paths[0]}, not {paths[1]}" in fail("analyze", paths[1], *out, exit_code=1)
        assert "has those of tau 0.1, not 0.2" in fail("analyze", paths[0], *out, "--tau", 0.2, exit_code=1)
        assert json.loads((tmp_path / "out" / "verdict.json").read_text()) == kept


class TestFigures:
    @pytest.mark.usefixtures("drawn")
    def test_of_something_else_are_not_replaced(self, run, fail, ideal_nc, tmp_path):
        path = shutil.copy(ideal_nc, tmp_path / "a.nc")
        run("figures", path)
        run("figures", path, "--tau", 0.2)
        assert (tmp_path / "figures/a/tau=0.2/figure.png").read_text() == "alpha 0.4, tau 0.2"
        assert (tmp_path / "figures/a/figure.png").read_text() == "alpha 0.4, tau 0.1"
        run("figures", path, "--out", tmp_path / "out")
        for other in ((ideal_nc,), (path, "--tau", 0.2)):
            assert "has those of" in fail("figures", *other, "--out", tmp_path / "out", exit_code=1)

    def test_are_those_of_a_run_directory(self, run, copied):
        result = run("figures", copied)
        paths = result.stdout.splitlines()
        assert result.stderr == ""
        assert sorted(paths) == sorted(str(path) for path in (copied / "figures").glob("*.png"))
        assert str(copied / "figures" / "learning_curves.png") in paths
        assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in paths)

    @pytest.mark.usefixtures("drawn")
    def test_settings_are_heard(self, run, several, tmp_path):
        choice = ("--at", "alpha=0.2", "--at", "n_train=10", "--out", tmp_path / "out", "--tau", 0.3)
        result = run("figures", several, *choice, env={"QUANTA_FIGURES_FORMAT": "pdf"})
        assert result.stdout == f"{tmp_path / 'out' / 'figure.pdf'}\n"
        assert (tmp_path / "out" / "figure.pdf").read_text() == "alpha 0.2, tau 0.3"
        assert not (several / "figures").exists()

    @pytest.mark.usefixtures("drawn")
    def test_of_one_slice_are_not_drawn_over_by_another(self, run, several):
        for alpha in ("0.2", "uniform"):
            run("figures", several, "--at", f"alpha={alpha}")
        assert files(several / "figures") == [
            f"alpha={alpha}/{name}" for alpha in ("0.2", "uniform") for name in ("figure.png", "figures.json")
        ]

    @pytest.mark.usefixtures("drawn")
    def test_of_two_files_in_a_folder(self, run, ideal_nc, tmp_path):
        for name in ("one.nc", "two.hdf5"):
            run("figures", shutil.copy(ideal_nc, tmp_path / name))
        names = [f"{of}/{name}" for of in ("one", "two.hdf5") for name in ("figure.png", "figures.json")]
        assert files(tmp_path / "figures") == names

    @pytest.mark.usefixtures("drawn")
    def test_of_several_slices_in_a_file(self, run, tmp_path):
        path = tmp_path / "two.nc"
        save_curves(combine([simulate("ideal", alpha=alpha, n_seeds=1) for alpha in (0.2, 0.4)]), path)
        run("figures", path, "--at", "alpha=0.4")
        assert files(tmp_path / "figures") == [
            f"two/alpha=0.4/{name}" for name in ("figure.png", "figures.json")
        ]

    def test_no_such_format(self, fail, copied):
        line = fail("figures", copied, "--format", "gif", exit_code=2)
        assert "'gif' is not one of 'png', 'svg', 'pdf'" in line

    @pytest.mark.usefixtures("drawn")
    def test_a_folder_that_cannot_be_made(self, fail, copied, tmp_path):
        (tmp_path / "file").touch()
        assert "file" in fail("figures", copied, "--out", tmp_path / "file" / "figures", exit_code=1)
