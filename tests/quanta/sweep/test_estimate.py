import pytest
import torch

from quanta.store.run_directory import RunDirectory
from quanta.study.cost import count_flops
from quanta.study.size import disk_needed
from quanta.study.spec import StudySpec
from quanta.sweep import estimate as module
from quanta.sweep.estimate import Timing, estimate
from quanta.sweep.units import run_sweep
from quanta.training.population import count_parameters

STUDY = {
    "name": "several",
    "alpha": [0.2, "uniform"],
    "n_train": [10, 20, 40, "online"],
    "seed": [0, 1],
    "task": {"n_subtasks": [4, 5], "n_bits": 6, "k": 1},
    "population": {"widths": [2, 4]},
    "training": {"steps": 100, "batch_size": 16, "learning_rate": [0.1, 0.01]},
    "evaluation": {"samples_per_subtask": 8, "n_evaluations": 5},
}


@pytest.fixture
def timed(monkeypatch):
    """Let times depend on K and on where data come from, in powers of ten; the units that were timed."""
    found = []

    def time_unit(unit, device):
        found.append(unit)
        scale = {4: 1, 5: 10}[unit.task.n_subtasks] * {"online": 1}.get(unit.n_train, 100)
        return Timing(setup=1000.0, step=scale, evaluation=0.25)

    monkeypatch.setattr(module, "time_unit", time_unit)
    return found


def test_known_answer(timed):
    study = StudySpec.parse(STUDY)
    found = estimate("several", study.units(), n_threads=1)
    assert [one.condition for one in found.slices] == [
        {"alpha": alpha, "n_subtasks": n_subtasks, "learning_rate": rate}
        for alpha in (0.2, "uniform")
        for n_subtasks in (4, 5)
        for rate in (0.1, 0.01)
    ]
    # 5 evaluations; of each seed three units with a training set, and one without.
    small = 8 * (1000 + 5 * 0.25) + 100 * (2 * 1 + 6 * 100)
    large = 8 * (1000 + 5 * 0.25) + 100 * (2 * 10 + 6 * 1000)
    assert [one.seconds for one in found.slices] == 2 * [small, small, large, large]
    assert [one.step_seconds for one in found.slices] == 2 * [100, 100, 1000, 1000]
    assert {one.n_units for one in found.slices} == {8}
    sums = [sum(count_parameters(width, n_subtasks, 6) for width in (2, 4)) for n_subtasks in (4, 5)]
    assert [one.n_parameters for one in found.slices] == 2 * [sums[0], sums[0], sums[1], sums[1]]
    assert found.parameters == (count_parameters(2, 4, 6), count_parameters(4, 5, 6))
    record = found.to_dict()
    assert (record["n_units"], record["seconds"]) == (64, 4 * (small + large))
    assert record["flops"] == sum(map(count_flops, study.units()))
    assert record["memory"] == max(one.memory for one in found.slices)


def test_each_size_is_timed_once_and_on_a_training_set_that_fills_a_batch(timed):
    told = []
    units = StudySpec.parse(STUDY).units()
    estimate("several", units, on_timed=told.append)
    assert [(unit.task.n_subtasks, unit.n_train) for unit in timed] == [
        (4, 20),
        (4, "online"),
        (5, 20),
        (5, "online"),
    ]
    assert sum(told) == len(units)
    assert set(timed) <= set(units)


def test_of_training_sets_smaller_than_a_batch_the_largest_is_timed(timed):
    estimate("small", StudySpec.parse(STUDY | {"n_train": [10, 12]}).units())
    assert {unit.n_train for unit in timed} == {12}


def test_the_least_of_several_times_counts(monkeypatch):
    # Seconds at which the clock is read: three rounds of two steps, one of which was held up.
    clock = iter([0.0, 0.2, 0.8, 1.1])
    monkeypatch.setattr(module, "_now", lambda device: next(clock))
    assert module._fastest(lambda: 2, torch.device("cpu")) == pytest.approx(0.1)


def test_what_is_on_disk_is_no_more_than_was_said(tmp_path):
    study = StudySpec.parse(
        STUDY
        | {
            "alpha": 0.2,
            "n_train": "online",
            "task": {"n_subtasks": 300, "n_bits": 30, "k": 3},
            "population": {"widths": [20, 40]},
            "training": {"steps": 100, "batch_size": 4},
            "evaluation": {"samples_per_subtask": 2, "n_evaluations": 101, "spacing": "linear"},
        }
    )
    run = RunDirectory.create(tmp_path / "run", study)
    run_sweep(run)
    files = [file for file in run.path.rglob("*") if file.suffix in (".nc", ".safetensors")]
    assert len(files) == 4
    size = sum(file.stat().st_size for file in files)
    said = sum(disk_needed(u.task, u.population, u.training, u.evaluation, u.n_train) for u in study.units())
    assert said / 3 < size < said


class TestDryRun:
    pytestmark = pytest.mark.usefixtures("here")

    def test_says_the_same_in_json_and_leaves_nothing(self, run, parse_json, tiny_toml, tiny_study, here):
        found = parse_json(run("train", tiny_toml, "--dry-run", "--json").stdout)
        assert (found["schema"], found["study"], found["n_units"]) == (1, "tiny", 3)
        assert found["flops"] == sum(map(count_flops, tiny_study.units()))
        [one] = found["slices"]
        assert one["seconds"] == found["seconds"] > 20 * 3 * one["step_seconds"] > 0
        assert list(here.iterdir()) == []

    def test_text(self, run, tiny_toml, timed, here):
        options = ("--set", "task.n_subtasks=[4, 5]", "--threads", 1)
        lines = run("train", tiny_toml, "--dry-run", *options).stdout.splitlines()
        said = "tiny: 6 units of 2 widths 2 to 4, 28 to 58 parameters a network, 20 steps each; about 111 min"
        assert " ".join(lines).startswith(f"{said} here (cpu, 1 thread) ")
        rows = [line.split() for line in lines if line.startswith(("alpha", "all"))]
        assert [row[-2:] for row in rows] == [["51", "min"], ["60", "min"], ["111", "min"]]
        assert list(here.iterdir()) == []

    def test_a_shard(self, run, parse_json, tiny_toml, timed):
        found = run("train", tiny_toml, "--dry-run", "--json", "--shard", "1/2").stdout
        assert parse_json(found)["n_units"] == 2

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (("--json",), "--json is for --dry-run"),
            (("--dry-run", "--workers", 2), "--dry-run times this process; it is not for --workers"),
            (("--dry-run", "--shard", "4/4"), "--shard: there are fewer units than parts"),
        ],
    )
    def test_refuses(self, fail, tiny_toml, options, says):
        assert says in fail("train", tiny_toml, *options, exit_code=2)
