"""The command, on networks that have learned their subtasks and on those that have not."""

import csv
import errno
import json
import os
import shutil
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
import torch

from quanta.analysis.verdict.columns import DISCOVERY
from quanta.store.run_directory import RunDirectory, load_population
from quanta.store.weights import save_weights
from quanta.study.spec import StudySpec
from quanta.sweep.units import run_sweep

FIGURES = ["contingency", "rank_frequency", "similarity"]
TABLES = {"calibration", "columns", "exponents", "recovered", "scores", "summary", "sweep"}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run directory of two seeds whose wider networks learn all of four easy subtasks; to be read only."""
    study = StudySpec.parse(
        {
            "name": "easy",
            "seed": [0, 1],
            "task": {"n_subtasks": 4, "n_bits": 6, "k": 1},
            "population": {"widths": [1, 24]},
            "training": {"steps": 300, "batch_size": 64, "learning_rate": 0.03},
            "evaluation": {"samples_per_subtask": 8, "n_evaluations": 5},
        }
    )
    run = RunDirectory.create(tmp_path_factory.mktemp("learned") / "run", study)
    run_sweep(run)
    return run.path


@pytest.fixture
def here_learned(learned, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(learned, tmp_path / "learned")


def test_what_cannot_be_kept_is_printed_still(run, here_learned, monkeypatch):
    def refuse(path, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    few = ("--samples", 60, "--affinity", "cos4")
    result = run("discover", here_learned, *few)
    assert result.stdout.startswith("easy: quanta of 2 networks of width 24, 60 samples each")
    assert result.stderr.startswith("note: the results are not kept, for ")
    assert "--out names another folder" in result.stderr
    asked = run("discover", here_learned, *few, "--out", here_learned / "there", exit_code=1)
    assert asked.stdout == result.stdout


def test_prints_scores_beside_their_nulls(run, here_learned):
    result = run("discover", here_learned, "--samples", 60)
    assert result.stdout.startswith("easy: quanta of 2 networks of width 24, 60 samples each")
    for said in ("Clusters by angular", "Clusters by cos4", "at equal frequencies", "gradients at step 0"):
        assert said in result.stdout
    assert result.stderr == ""


def test_writes_tables_that_say_what_they_are_and_figures(run, here_learned):
    run("discover", here_learned, "--samples", 200, "--affinity", "cos4")
    folder = here_learned / "discovery" / "samples=200_affinity=cos4"
    assert {path.stem for path in folder.glob("*.csv")} == TABLES
    assert sorted(path.stem for path in folder.glob("*.png")) == [f"{name}_cos4" for name in FIGURES]
    with open(folder / "columns.csv", encoding="utf-8", newline="") as file:
        told = {(row["table"], row["column"]) for row in csv.DictReader(file)}
    assert told == {(table, column) for table, columns in DISCOVERY.items() for column in columns}
    for name in TABLES - {"columns"}:
        assert all((name, column) in told for column in pd.read_csv(folder / f"{name}.csv"))
    scores = pd.read_csv(folder / "scores.csv").set_index(["seed", "of"])
    for seed in (0, 1):
        assert scores.loc[(seed, "gradients"), "ari"] > 0.25
        assert scores.loc[(seed, "shuffled"), "ari"] < 0.1


def test_json_is_what_is_kept(run, here_learned, parse_json):
    record = parse_json(run("discover", here_learned, "--samples", 60, "--json").stdout)
    kept = json.loads((here_learned / "discovery" / "samples=60" / "discovery.json").read_text())
    assert kept == record
    assert record["schema"] == 1
    assert (record["study"], record["width"], record["affinity"]) == ("easy", 24, "angular+cos4")
    assert record["learned"] == {"0": [1, 2, 3, 4], "1": [1, 2, 3, 4]}
    assert {row["of"] for row in record["summary"]} >= {"gradients", "equal", "shuffled", "untrained"}
    assert {row["n_seeds"] for row in record["recovered"]} == {2}


def test_is_the_same_again(run, here_learned, tmp_path):
    for name in ("a", "b"):
        run("discover", here_learned, "--samples", 60, "--affinity", "cos4", "--out", tmp_path / name)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_each_setting_has_a_folder_of_its_own(run, here_learned, fail):
    few = ("--samples", 40, "--affinity", "cos4")
    run("discover", here_learned, *few, "--embedding", "--seed", 3, "--width", 24)
    [folder] = (here_learned / "discovery").iterdir()
    assert folder.name == "seed=3_samples=40_embedding=True_width=24_affinity=cos4"
    message = fail("discover", here_learned, *few, "--out", folder, exit_code=1)
    assert "--out must be empty or hold results of the same" in message
    assert "not 0" in message


class TestRefuses:
    def test_networks_with_nothing_learned(self, fail, copied):
        message = fail("discover", copied, "--width", 2, exit_code=1)
        assert "no network in which quanta can be found: width 2, seed 0" in message
        assert "must have learned 2 subtasks or more" in message
        assert not (copied / "discovery").exists()

    def test_narrow_ones_are_left_out_and_named(self, run, here_learned):
        units = RunDirectory(here_learned).study.units()
        self.spoil(here_learned, units[0])
        result = run("discover", here_learned, "--samples", 40, "--affinity", "cos4")
        assert "quanta of 1 network of width 24" in result.stdout
        assert "note: left out: width 24, seed 0: the network must have learned" in result.stderr

    @staticmethod
    def spoil(path, unit):
        """Put the weights of no training in place of a unit's, as somebody might who mixes up files."""
        directory = RunDirectory(path)
        folder = directory.folder(unit)
        population = load_population(folder)
        with torch.no_grad():
            for parameter in population.parameters():
                parameter.zero_()
        save_weights(population, folder / "weights.safetensors", unit)
        manifest = directory.manifest(unit)
        described = type(manifest).describe(
            unit,
            folder,
            device=torch.device("cpu"),
            started=datetime.fromisoformat(manifest.started),
            seconds=1.0,
            compiled_for="none",
        )
        (folder / "manifest.json").write_text(described.model_dump_json(indent=2, by_alias=True))

    def test_weights_of_another_task(self, fail, here_learned, learned):
        units = RunDirectory(learned).study.units()
        for unit, other in zip(units, reversed(units), strict=True):
            folder, source = (
                RunDirectory(path).folder(u) for path, u in ((here_learned, unit), (learned, other))
            )
            shutil.copy(source / "weights.safetensors", folder / "weights.safetensors")
        # The study is there, but no unit is as it was written.
        assert "none of the 2 units that are asked for is done" in fail("discover", here_learned, exit_code=1)

    @pytest.mark.parametrize("samples", [3, 8])
    def test_fewer_samples_than_clusters(self, fail, here_learned, samples):
        message = fail("discover", here_learned, "--samples", samples, exit_code=1)
        assert f"samples must be more than the 8 clusters that are tried, not {samples}" in message

    def test_what_there_is_not(self, fail, here_learned, tmp_path):
        message = fail("discover", here_learned, "--width", 7, exit_code=2)
        assert "--width must be one of 1, 24, not 7" in message
        assert "--at alpha must be one of 0.4, not 0.5" in fail(
            "discover", here_learned, "--at", "alpha=0.5", exit_code=2
        )
        assert "not a run directory" in fail("discover", tmp_path, exit_code=1)
        twice = ("--at", "alpha=0.4", "--at", "alpha=0.4")
        assert "once" in fail("discover", here_learned, *twice, exit_code=2)

    def test_a_link_in_place_of_its_folder(self, fail, here_learned, tmp_path):
        (here_learned / "discovery").symlink_to(tmp_path, target_is_directory=True)
        assert "expected a folder, found a link" in fail("discover", here_learned, exit_code=1)
