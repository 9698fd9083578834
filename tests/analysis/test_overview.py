"""All slices of a study at once, from the command line."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from quanta.analysis import simulate
from quanta.curves.combine import combine
from quanta.curves.dataset import save_curves
from quanta.store.run_directory import RunDirectory
from quanta.study.spec import StudySpec
from quanta.sweep.units import run_sweep

STUDY = {
    "name": "several",
    "seed": [0, 1],
    "alpha": [0.2, "uniform"],
    "task": {"n_subtasks": [4, 5], "n_bits": 6, "k": 1},
    "population": {"widths": [2, 4, 8]},
    "training": {"steps": 60, "batch_size": 64, "learning_rate": 0.1},
    "evaluation": {"samples_per_subtask": 8, "n_evaluations": 8},
}
PLACES = [(alpha, n_subtasks) for alpha in (0.2, "uniform") for n_subtasks in (4, 5)]
FOLDERS = [f"alpha={alpha}_n_subtasks={n_subtasks}" for alpha, n_subtasks in PLACES]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run directory with four slices, to be read only."""
    run = RunDirectory.create(tmp_path_factory.mktemp("trained") / "run", StudySpec.parse(STUDY))
    assert not run_sweep(run).failed
    return run.path


@pytest.fixture
def several(trained, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(trained, tmp_path / "several")


@pytest.fixture(scope="module")
def two_alphas(tmp_path_factory):
    """A file of curves at two alphas."""
    path = tmp_path_factory.mktemp("file") / "two.nc"
    worlds = [simulate("ideal", alpha=alpha, n_subtasks=16, n_seeds=2) for alpha in (0.2, 0.4)]
    save_curves(combine(worlds), path)
    return path


def test_json_and_files(run, parse_json, several):
    result = run("analyze", several, "--json")
    record = parse_json(result.stdout)
    assert result.stderr == ""
    assert (record["schema"], record["study"], record["varied"]) == (1, "several", ["alpha", "n_subtasks"])
    conditions = [{"alpha": alpha, "n_subtasks": n_subtasks} for alpha, n_subtasks in PLACES]
    assert [row["condition"] for row in record["rows"]] == conditions
    assert [one["slice"] for one in record["slices"]] == conditions
    for row, one in zip(record["rows"], record["slices"], strict=True):
        assert row["outcomes"] == {name: q["outcome"] for name, q in one["questions"].items()}
    analysis = several / "analysis"
    assert json.loads((analysis / "conditions.json").read_text()) == record
    assert sorted(path.name for path in analysis.iterdir()) == sorted(
        [*FOLDERS, "columns.csv", "conditions.csv", "conditions.json"]
    )
    table, columns = (pd.read_csv(analysis / f"{name}.csv") for name in ("conditions", "columns"))
    assert set(table.columns) <= set(columns["column"])
    assert table["n_subtasks"].tolist() == [n_subtasks for _, n_subtasks in PLACES]
    # Each slice is kept as if it had been asked for alone.
    place = ("--at", "alpha=uniform", "--at", "K=5")
    alone = parse_json(run("analyze", several, "--json", *place, "--out", several / "alone").stdout)
    assert alone == record["slices"][3]
    for file in (several / "alone").iterdir():
        assert (analysis / FOLDERS[3] / file.name).read_bytes() == file.read_bytes()


def test_text(run, several):
    lines = run("analyze", several).stdout.splitlines()
    assert lines[0] == "several: exponents in 4 slices"
    assert max(map(len, lines)) <= 100
    rows = [line.split()[:2] for line in lines if line.strip().startswith(("0.2", "uniform"))]
    assert rows[:4] == [[str(alpha), str(n_subtasks)] for alpha, n_subtasks in PLACES]


def test_some_of_the_conditions_are_chosen(run, parse_json, several):
    record = parse_json(run("analyze", several, "--json", "--at", "K=4", "--tau", 0.2).stdout)
    assert [row["condition"]["alpha"] for row in record["rows"]] == [0.2, "uniform"]
    assert record["varied"] == ["alpha"]
    assert {one["settings"]["tau"] for one in record["slices"]} == {record["tau"]} == {0.2}
    assert sorted(path.name for path in (several / "analysis").iterdir()) == [
        "alpha=0.2_n_subtasks=4_tau=0.2",
        "alpha=uniform_n_subtasks=4_tau=0.2",
        "tau=0.2",
    ]


def test_into_a_folder_of_ones_own(run, fail, several, tmp_path):
    run("analyze", several, "--out", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == set(FOLDERS)
    line = fail("analyze", several, "--tau", 0.2, "--out", tmp_path / "out", exit_code=1)
    assert "--out must be empty or hold results of the same" in line


def test_slices_without_a_complete_seed_are_left_out(run, fail, parse_json, several):
    units = RunDirectory(several).study.units()
    for unit in units:
        if (unit.alpha, unit.task.n_subtasks) == ("uniform", 5):
            shutil.rmtree(several / "units" / unit.id)
    result = run("analyze", several, "--json")
    assert len(parse_json(result.stdout)["rows"]) == 3
    assert result.stderr == "note: slices without a complete seed are left out: alpha=uniform, n_subtasks=5\n"
    shutil.rmtree(several / "units")
    assert "0 of 8 units are done and no seed is complete" in fail("analyze", several, exit_code=1)


def test_strict_asks_every_slice(run, several):
    assert run("analyze", several, "--strict", exit_code=4).stdout


def test_details_are_of_one(fail, several):
    line = fail("analyze", several, "--details", exit_code=2)
    assert line == "Error: --details is for one slice: --at chooses one"


def test_figure(run, several, tmp_path):
    result = run("figures", several, "--format", "svg")
    path = several / "figures" / "exponents_by_condition.svg"
    assert result.stdout == f"{path}\n"
    assert result.stderr.startswith("note: of 4 slices, drawn together; --at chooses one")
    assert b"one after another" in path.read_bytes()
    assert json.loads((several / "figures" / "figures.json").read_text())["tau"] == 0.1


def test_a_file(run, fail, parse_json, two_alphas):
    record = parse_json(run("analyze", two_alphas, "--json").stdout)
    assert [row["condition"] for row in record["rows"]] == [
        {"alpha": alpha, "n_subtasks": 16} for alpha in (0.2, 0.4)
    ]
    assert list(two_alphas.parent.iterdir()) == [two_alphas]
    line = fail("analyze", two_alphas, "--at", "n_bits=32", exit_code=2)
    assert line == "Error: --at n_bits is for run directories: curves in a file do not say it"
    errors = [record["errors"]["alpha_N"][name] for name in ("finite", "infinite")]
    assert np.isfinite(errors).all()
